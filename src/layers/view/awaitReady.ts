/** Waits at start until the registry has answered. */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Logs from "../../internal/logs.js"
import * as Wakes from "../../internal/wakes.js"
import { AioRpcError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { Discovery, ReadyRef } from "../../services/Discovery.js"
import type { RegistryError } from "../../services/Registry.js"
import * as Annotations from "../../telemetry/Annotations.js"

const checkRef = ({ env = "", name = "", project }: ReadyRef, i: number) => {
  const { maxLength } = Limits
  return Either.all([
    Limits.text(`refs[${i}].project`, project, { max: maxLength.project, required: true }),
    Limits.text(`refs[${i}].name`, name, { max: maxLength.name, required: false }),
    Limits.text(`refs[${i}].env`, env, { max: maxLength.env, required: false })
  ])
}

const DEFAULT_TIMEOUT = Duration.seconds(30)

// Attempts of a fleet that starts together; discovery itself asks once a second at most.
const defaultRetry = Schedule.exponential("1 second").pipe(
  Schedule.union(Schedule.spaced("10 seconds")),
  Schedule.jitteredWith({ min: 0.8, max: 1.2 })
)

const isWorthTrying = ({ _tag }: RegistryError): boolean =>
  _tag !== "AioConfigError" && _tag !== "AioCredentialsRejected"

/** All at once, until one fails. Not a concurrent `Effect.forEach`: that of Effect 3.22 loses an interruption at a few steps. */
const all = <A>(values: ReadonlyArray<A>, wait: (value: A) => Effect.Effect<void, RegistryError>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const failed = yield* Deferred.make<void, RegistryError>()
      const fibers = yield* Effect.forEach(values, (value) =>
        Effect.forkScoped(Effect.tapErrorCause(wait(value), (cause) => Deferred.failCause(failed, cause)))
      )
      yield* Effect.raceFirst(Effect.forEach(fibers, Fiber.join, { discard: true }), Wakes.awaiting(failed))
    })
  )

/** Waits for the first answers. Can be interrupted. */
export const awaitReady =
  (first: (ref: ReadyRef) => Effect.Effect<void, RegistryError>): Discovery.Service["awaitReady"] =>
  (refs, options = {}) =>
    Effect.gen(function* () {
      yield* Either.all(refs.map(checkRef))
      const timeout = options.timeout ?? DEFAULT_TIMEOUT
      const limit = Duration.millis(yield* Limits.durationMillis("timeout", timeout, 1_000))
      let last: RegistryError = new AioRpcError({
        method: "RegistryService/ListServices",
        code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
        details: `no answer within ${Duration.format(limit)}`
      })
      const answered = all(refs, first).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            last = error
          })
        ),
        Effect.retry({ schedule: options.retry ?? defaultRetry, while: isWorthTrying }),
        // Within an `acquireRelease` nothing times out unless it is made interruptible.
        Effect.interruptible,
        Effect.timeoutOption(limit),
        Effect.flatMap((ended) => (Option.isSome(ended) ? Effect.void : Effect.fail(last)))
      )
      yield* options.otherwise === "continue"
        ? Effect.catchAll(answered, (error) =>
            Logs.warning(`discovery begins without the registry's answer: ${error.message}`)
          )
        : answered
    }).pipe(Annotations.from("DiscoveryCached"))
