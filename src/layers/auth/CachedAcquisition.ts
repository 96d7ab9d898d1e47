/** The shell of `core/auth/TokenAcquirer`: does what it decides, once for all callers. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as TokenAcquirer from "../../core/auth/TokenAcquirer.js"
import type * as TokenLife from "../../core/auth/TokenLife.js"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import * as Background from "../../internal/background.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as SingleFlight from "../../internal/singleFlight.js"
import * as Waits from "../../internal/waits.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import { AioRpcError, type RegistryError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Annotations from "../../telemetry/Annotations.js"
import type { TokenAcquisition } from "./TokenAcquisition.js"
import type { TokenCell } from "./TokenCell.js"

const closed = new AioRpcError({
  method: "ClientAuthService/RenewToken",
  code: StatusCode.CANCELLED,
  details: "the Auth layer was closed while a token was being acquired"
})

type Request = Fibers.Running<TokenLife.TokenLife, RegistryError>

const kindOf = (error: RegistryError): TokenAcquirer.AuthenticationFailed["kind"] => {
  if (error._tag === "AioCredentialsRejected") return "Rejected"
  if (error._tag !== "AioRpcError") return "Burdened"
  if (!ServerStatus.wasSent(error)) return "Harmless"
  return error.code === StatusCode.DEADLINE_EXCEEDED ? "TimedOut" : "Burdened"
}

/**
 * Acquires the next token. One acquisition at a time: all who ask meanwhile wait for the same one, and an interruption ends
 * the waiting alone.
 */
export const make = (
  { acquireDeadlineMillis, authenticate, readCredentials, renew }: TokenAcquisition,
  cell: TokenCell
): Effect.Effect<Effect.Effect<AccessToken, RegistryError>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const drive = (event: TokenAcquirer.Event): Effect.Effect<AccessToken, RegistryError> =>
      Effect.suspend(() => perform(cell.unsafeStep(event)))

    const perform = (action: TokenAcquirer.Action | undefined): Effect.Effect<AccessToken, RegistryError> => {
      switch (action?._tag) {
        case "ReadCredentials":
          return Effect.matchEffect(readCredentials, {
            onSuccess: (credentials) => drive({ _tag: "CredentialsRead", credentials }),
            onFailure: (error) => drive({ _tag: "CredentialsUnread", error })
          })
        case "Renew":
          return Effect.matchEffect(renew(action.token, action.millis), {
            onSuccess: (life) => drive({ _tag: "Renewed", life }),
            onFailure: (error) => drive({ _tag: "RenewalFailed", error })
          })
        case "WaitFor":
          return Effect.delay(drive({ _tag: "PauseOver" }), action.millis)
        case "Authenticate":
          return send(action.credentials)
        case "Answer":
          return Effect.succeed(action.token)
        case "FailWith":
          return Effect.fail(action.error)
        default:
          return Effect.dieMessage("a token is being acquired already")
      }
    }

    // The authentication that timed out first of those that are still listened to.
    let late: Request | undefined

    const keep = (request: Request): void => {
      late = request
      request.addObserver((exit) => {
        late = undefined
        if (Exit.isSuccess(exit)) cell.unsafeStep({ _tag: "AuthenticatedLate", life: exit.value })
      })
    }

    // A registry goes on hashing for a caller that has left. So the request that timed out first is not taken back: its
    // acquisition has failed, and its token serves the next caller.
    const request = (of: TokenAcquirer.Credentials) =>
      Effect.gen(function* () {
        const { overdue, send } = authenticate(of)
        const own = yield* Effect.forkIn(Effect.interruptible(send), scope)
        const earlier = late === undefined ? Effect.never : Effect.catchAll(Fiber.join(late), () => Effect.never)
        return yield* Effect.raceFirst(Fiber.join(own), earlier).pipe(
          Effect.timeoutFail({
            duration: acquireDeadlineMillis,
            onTimeout: () => {
              const error = overdue()
              if (late === undefined && ServerStatus.wasSent(error)) keep(own)
              else Fibers.unsafeInterrupt(own)
              return error
            }
          }),
          Effect.tap(() =>
            Effect.sync(() => {
              Fibers.unsafeInterrupt(own)
              if (late !== undefined) Fibers.unsafeInterrupt(late)
            })
          )
        )
      })

    const send = (of: TokenAcquirer.Credentials) =>
      Effect.matchEffect(request(of), {
        onSuccess: (life) => Effect.flatMap(Random.next, (random) => drive({ _tag: "Authenticated", life, random })),
        onFailure: (error) =>
          Effect.flatMap(Random.next, (random) => {
            const kind = kindOf(error)
            const next = drive({ _tag: "AuthenticationFailed", kind, of, error, random })
            return kind === "Rejected" ? Effect.zipRight(Logs.warning(error.message), next) : next
          })
      })

    // Token refresh is a cached `Effect.cachedWithTTL`, in the variant that can also forget: one acquisition a second at most,
    // whose answer, failure or not, is kept for that second. Around it, and why:
    // - `pace` decides by the monotonic clock whether to ask the cache, which counts by the wall clock: set back by a day,
    //   that would give one answer for a day;
    // - a single flight runs it in a fiber of this layer. The cache alone begins again for the next caller when one is
    //   interrupted: three callers with short timeouts make three runs;
    // - how long a token lives is for the core. The cache has one TTL for all, counted from the begin of the call, and
    //   giving a value takes a lock: 14 µs, against a plain field (see `CachedAuth`).
    const [remembered, forget] = yield* Effect.cachedInvalidateWithTTL(
      drive({ _tag: "TokenWanted" }),
      TokenAcquirer.INTERVAL_MILLIS
    )
    const run = Effect.suspend(() => {
      const millis = TokenAcquirer.pace(cell.unsafeState(), cell.unsafeNow())
      if (millis === undefined) return remembered
      const next = Effect.zipRight(forget, remembered)
      return millis === 0 ? next : Effect.delay(next, millis)
    })
    const broken = Effect.sync(() => cell.unsafeStep({ _tag: "Broken" }))
    // Of no caller's trace: many callers wait for one run.
    const detach = yield* Background.makeDetach
    return SingleFlight.make({ scope, closed, run: detach(Effect.onExit(run, () => broken)) })
  })

/**
 * Begins a renewal that no caller waits for, unless one runs: repeated, after the waits of a schedule, until it succeeds or
 * the token is at its end.
 */
export const makeUnsafeRenew = (
  acquire: Effect.Effect<AccessToken, RegistryError>,
  cell: TokenCell
): Effect.Effect<() => void, never, Scope.Scope> => {
  const waits = Waits.make(cell.unsafeState().policy.retry, "tuning.token.retry")
  const perform = (action: TokenAcquirer.Action | undefined): Effect.Effect<void> =>
    action?._tag === "RenewInBackground"
      ? renew
      : action?._tag === "WaitFor"
        ? Effect.delay(step({ _tag: "RetryDue" }), action.millis)
        : Effect.void
  const step = (event: TokenAcquirer.Event) => Effect.suspend(() => perform(cell.unsafeStep(event)))
  const renew = Effect.catchAllCause(Effect.asVoid(acquire), (cause) =>
    Effect.zipRight(
      Logs.debug("the token could not be renewed yet", cause),
      Effect.flatMap(waits.next, (retryInMillis) => step({ _tag: "BackgroundFailed", retryInMillis }))
    )
  )
  const ended = Effect.sync(() => {
    waits.unsafeReset()
    cell.unsafeStep({ _tag: "BackgroundEnded" })
  })
  return Effect.map(Background.makeUnsafeFork, (unsafeFork) => () => {
    if (cell.unsafeState().renewal !== undefined) return
    unsafeFork(
      perform(cell.unsafeStep({ _tag: "RenewalDue" })).pipe(
        Effect.catchAllCause((cause) => Logs.warning("renewing the token failed unexpectedly", cause)),
        Effect.ensuring(ended),
        Annotations.from("AuthClient")
      )
    )
  })
}
