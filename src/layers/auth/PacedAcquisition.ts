/** The next token: renewed or authenticated for, and not too often. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as TokenLife from "../../core/auth/TokenLife.js"
import * as Monotonic from "../../internal/monotonic.js"
import type { RegistryError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type * as FailureMemory from "./FailureMemory.js"
import type { TokenAcquisition } from "./TokenAcquisition.js"
import type { TokenCell } from "./TokenCell.js"

export interface Parts {
  readonly acquisition: TokenAcquisition
  readonly guard: ReturnType<typeof FailureMemory.make>
  readonly held: TokenCell
}

// Authenticating costs the server a password hash (86 ms of its CPU), renewing a signature: only an answer that says that
// renewing cannot help leads to the former, never a server that could not be asked.
const renewOrAuthenticate = ({
  acquisition,
  guard,
  held
}: Parts): Effect.Effect<TokenLife.TokenLife, RegistryError> => {
  const authenticate = Effect.suspend(() => {
    const isAfterRefusal = held.unsafeIsNewestDropped()
    return Effect.tap(guard.authenticate, () => (isAfterRefusal ? guard.strike : Effect.void))
  })
  const acquire = Effect.suspend(() => {
    const alive = held.unsafeAlive()
    return alive === undefined
      ? authenticate
      : Effect.catchIf(
          acquisition.renew(alive.token),
          (error) => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
          () => authenticate
        )
  })
  return Effect.zipRight(guard.checkRejection, acquire)
}

/**
 * Acquires a token that has not been dropped; at most once in `intervalMillis`, and a failure is everybody's for as long.
 * For one fiber at a time.
 *
 * `cachedWithTTL` (here with the means to forget) would not do for callers: it keeps failures and defects, starts again when
 * its first caller is interrupted, and has one TTL for all tokens. Run by the service's own fiber only, those habits are
 * what is wanted.
 */
export const make = (
  parts: Parts,
  clock: Clock.Clock,
  intervalMillis: number
): Effect.Effect<Effect.Effect<TokenLife.TokenLife, RegistryError>> =>
  Effect.gen(function* () {
    let askedAt = Number.NEGATIVE_INFINITY
    const acquire = renewOrAuthenticate(parts)
    const ask = Effect.suspend(() => {
      askedAt = Monotonic.unsafeNow(clock)
      return acquire
    })
    const interval = Duration.millis(intervalMillis)
    const [remembered, forget] = yield* Effect.cachedInvalidateWithTTL(ask, interval)
    // It counts by the wall clock: when that is set back by a day, its answer would be the same for a day.
    const paced = Effect.suspend(() =>
      Monotonic.unsafeNow(clock) - askedAt < intervalMillis ? remembered : Effect.zipRight(forget, remembered)
    )
    // A token that was dropped meanwhile is what the cache gives again: wait for the next.
    const another: Effect.Effect<TokenLife.TokenLife, RegistryError> = Effect.flatMap(paced, (acquired) =>
      parts.held.unsafeIsDropped(acquired.token)
        ? Effect.delay(
            Effect.suspend(() => another),
            interval
          )
        : Effect.succeed(acquired)
    )
    return another
  })
