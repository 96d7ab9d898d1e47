/** Being ready only when the registry has answered. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { type AioConfigError, AioRpcError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { RegistryError } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Schedules from "../schedules.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Startup {
  /** What must have been answered for: whole projects, or single services. That a service does not exist is an answer, too. */
  readonly services: ReadonlyArray<StartupRef>
  /** How long that may take. Default 30 seconds; 1 second to 1 day. */
  readonly timeout?: Duration.DurationInput | undefined
  /**
   * And then? `fail`: the layer fails with the registry's last error. `continue`: a warning, and the layer is built as it would
   * have been without this. Default `fail`.
   */
  readonly otherwise?: "fail" | "continue" | undefined
}

/**
 * A project, or a service of it, in an env: the layer's own unless given.
 *
 * @since 0.1.0
 * @category models
 */
export interface StartupRef {
  readonly project: string
  readonly name?: string | undefined
  readonly env?: string | undefined
}

export interface Settings {
  readonly services: ReadonlyArray<StartupRef>
  readonly timeoutMillis: number
  readonly otherwise: "fail" | "continue"
}

const defaults = { timeout: Duration.seconds(30), otherwise: "fail" } as const

export const settings = (startup: Startup | undefined): Either.Either<Settings | undefined, AioConfigError> =>
  startup === undefined
    ? Either.right(undefined)
    : Either.all({
        services: Either.all(
          startup.services.map((ref, i) =>
            Either.map(
              Either.all([
                Limits.text(`startup.services[${i}].project`, ref.project, {
                  max: Limits.maxLength.project,
                  required: true
                }),
                Limits.text(`startup.services[${i}].name`, ref.name ?? "", {
                  max: Limits.maxLength.name,
                  required: false
                }),
                Limits.text(`startup.services[${i}].env`, ref.env ?? "", { max: Limits.maxLength.env, required: false })
              ]),
              () => ref
            )
          )
        ),
        timeoutMillis: Limits.durationMillis("startup.timeout", startup.timeout ?? defaults.timeout, 1_000),
        otherwise: Either.right(startup.otherwise ?? defaults.otherwise)
      })

// Attempts of a fleet that starts together; discovery itself asks once a second at most.
const schedule = Schedules.ofBackoff({ base: 1_000, factor: 2, cap: 10_000, jitter: [0.8, 1.2] })

const isWorthTrying = ({ _tag }: RegistryError): boolean =>
  _tag !== "AioConfigError" && _tag !== "AioCredentialsRejected"

/** Waits for the first answers. Can be interrupted. */
export const wait = (
  first: (ref: StartupRef) => Effect.Effect<void, RegistryError>,
  { otherwise, services, timeoutMillis }: Settings
): Effect.Effect<void, RegistryError> =>
  Effect.suspend(() => {
    const limit = Duration.millis(timeoutMillis)
    let last: RegistryError = new AioRpcError({
      method: "RegistryService/ListServices",
      code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
      details: `no answer within ${Duration.format(limit)}`
    })
    const answered = Effect.forEach(services, first, { concurrency: "unbounded", discard: true }).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          last = error
        })
      ),
      Effect.retry({ schedule, while: isWorthTrying }),
      Effect.timeoutOption(limit),
      Effect.flatMap((ended) => (Option.isSome(ended) ? Effect.void : Effect.fail(last)))
    )
    return otherwise === "fail"
      ? answered
      : Effect.catchAll(answered, (error) =>
          Effect.logWarning(`discovery begins without the registry's answer: ${error.message}`)
        )
  }).pipe(Annotations.from("DiscoveryCached"))
