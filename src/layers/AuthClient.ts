/**
 * `Auth` against a real registry: authenticates once, renews before the token expires.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TokenLife from "../core/TokenLife.js"
import { Connection } from "../grpc/Connection.js"
import * as Monotonic from "../internal/monotonic.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import { type AioConfigError, AioRpcError } from "../schemas/AioError.js"
import * as StatusCode from "../schemas/StatusCode.js"
import * as TokenPolicy from "../schemas/TokenPolicy.js"
import { Auth, type AuthError } from "../services/Auth.js"
import * as Metrics from "../telemetry/Metrics.js"
import * as AcquisitionGuard from "./auth/AcquisitionGuard.js"
import * as TokenAcquisition from "./auth/TokenAcquisition.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientKey: string | Effect.Effect<string, AioConfigError>
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientSecret: Redacted.Redacted | Effect.Effect<Redacted.Redacted, AioConfigError>
  /** When the token is renewed, and what happens when it cannot be. */
  readonly token?: TokenPolicy.TokenPolicy | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = TokenPolicy.defaults

const TELL_INTERVAL = Duration.seconds(30)

const closed = new AioRpcError({
  method: "ClientAuthService/RenewToken",
  code: StatusCode.StatusCode.CANCELLED,
  details: "the Auth layer was closed while a token was being acquired"
})

/**
 * Fails with `AioConfigError` for an empty key or secret, and for a policy that makes no sense. Asks the server for nothing
 * until the first token is wanted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Auth.Service, AioConfigError, Connection | Scope.Scope> =>
  Effect.gen(function* () {
    const policy = yield* TokenPolicy.check(options.token)
    // Read with the layer's ConfigProvider, not that of whoever happens to be the first to want a token.
    const provider = yield* Effect.configProviderWith(Effect.succeed)
    const { clientKey, clientSecret } = options
    const source: TokenAcquisition.Options = {
      clientKey: Effect.isEffect(clientKey) ? Effect.withConfigProvider(clientKey, provider) : clientKey,
      clientSecret: Effect.isEffect(clientSecret) ? Effect.withConfigProvider(clientSecret, provider) : clientSecret,
      policy
    }
    // Values are checked now; an effect may fail now and succeed later.
    if (!Effect.isEffect(source.clientKey) && !Effect.isEffect(source.clientSecret)) {
      yield* TokenAcquisition.readCredentials(source)
    }
    const clock = yield* Effect.clock
    const scope = yield* Effect.scope
    const acquisition = TokenAcquisition.make(source, yield* Connection)
    const guard = AcquisitionGuard.make(source, acquisition, clock)

    // The fresh token is a plain field, read without a lock; JavaScript runs each step below to its end.
    let life: TokenLife.TokenLife | undefined
    let lastGeneration = 0
    let droppedGeneration = 0
    let inFlight: Deferred.Deferred<AccessToken, AuthError> | undefined
    let renewing = false

    const held = Effect.unsafeMakeLatch(false)

    // Metrics are read by whoever reads them: how much is left is told again and again while there is a token.
    const tellSecondsLeft = () => {
      const left = Math.max(0, (life?.expiresAt ?? 0) - Monotonic.unsafeNow(clock))
      if (left === 0) held.unsafeClose()
      Metrics.tokenSecondsLeft.unsafeUpdate(left / 1_000, [])
    }

    // A subscriber that is behind wants the newest token, not all of them.
    const replaced = yield* PubSub.sliding<AccessToken>(1)
    yield* Effect.addFinalizer(() => PubSub.shutdown(replaced))

    const authenticate = Effect.suspend(() => {
      const isAfterRefusal = lastGeneration > 0 && droppedGeneration >= lastGeneration
      return Effect.tap(guard.authenticate, () => (isAfterRefusal ? guard.strike : Effect.void))
    })

    // Authenticating costs the server a password hash (86 ms of its CPU), renewing a signature: only an answer that says
    // that renewing cannot help leads to the former, never a server that could not be asked.
    const renewOrAuthenticate = Effect.zipRight(
      guard.checkRejection,
      Effect.suspend(() =>
        TokenLife.isAlive(life, Monotonic.unsafeNow(clock))
          ? Effect.catchIf(
              acquisition.renew(life.token),
              (error) => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
              () => authenticate
            )
          : authenticate
      )
    )

    // `cachedWithTTL` (here with the means to forget) alone would not do for callers: it keeps failures and defects, starts again when its first caller is
    // interrupted, and has one TTL for all tokens. Run by the service's own fiber only, those habits are what is wanted:
    // one acquisition in that time at most, and a failure remembered for as long.
    const acquireInterval = Duration.millis(policy.acquireIntervalMillis)
    let askedAt = Number.NEGATIVE_INFINITY
    const ask = Effect.suspend(() => {
      askedAt = Monotonic.unsafeNow(clock)
      return renewOrAuthenticate
    })
    const [remembered, forget] = yield* Effect.cachedInvalidateWithTTL(ask, acquireInterval)
    // It counts by the wall clock: when that is set back by a day, its answer would be the same for a day.
    const acquire = Effect.suspend(() =>
      Monotonic.unsafeNow(clock) - askedAt < policy.acquireIntervalMillis
        ? remembered
        : Effect.zipRight(forget, remembered)
    )

    // A token that was dropped meanwhile is what the cache gives again: wait for the next.
    const acquireAnother: Effect.Effect<TokenLife.TokenLife, AuthError> = Effect.flatMap(acquire, (acquired) =>
      acquired.token.generation <= droppedGeneration
        ? Effect.delay(
            Effect.suspend(() => acquireAnother),
            acquireInterval
          )
        : Effect.succeed(acquired)
    )

    // Owned by the layer, not by its first caller. All of it but the waiting is uninterruptible: an interruption between
    // the assignment and the fork, or before the child's first step, would leave the deferred open, and everybody waiting.
    const flight: Effect.Effect<AccessToken, AuthError> = Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        if (inFlight !== undefined) return restore(Deferred.await(inFlight))
        const deferred = Deferred.unsafeMake<AccessToken, AuthError>(FiberId.none)
        inFlight = deferred
        return Effect.interruptible(acquireAnother).pipe(
          Effect.exit,
          Effect.flatMap((exit) => {
            inFlight = undefined
            if (Exit.isSuccess(exit)) {
              life = exit.value
              lastGeneration = life.token.generation
              replaced.unsafeOffer(life.token)
              held.unsafeOpen()
              tellSecondsLeft()
            }
            return Deferred.done(
              deferred,
              Exit.isInterrupted(exit) ? Exit.fail(closed) : Exit.map(exit, (acquired) => acquired.token)
            )
          }),
          Effect.forkIn(scope),
          Effect.zipRight(restore(Deferred.await(deferred)))
        )
      })
    )

    // The token is not given up before its end because another one is not to be had.
    const waited: Effect.Effect<AccessToken, AuthError> = Effect.catchAll(flight, (error) =>
      TokenLife.isAlive(life, Monotonic.unsafeNow(clock)) ? Effect.succeed(life.token) : Effect.fail(error)
    )

    const renewUntilReplaced = (generation: number, failures: number): Effect.Effect<void> =>
      Effect.matchCauseEffect(flight, {
        onSuccess: () => Effect.void,
        onFailure: (cause) =>
          Effect.gen(function* () {
            yield* Effect.logDebug("the token could not be renewed yet", cause)
            yield* Effect.sleep(Duration.millis(TokenLife.retryDelayMillis(policy, failures, yield* Random.next)))
            // Past its life there is nothing left to renew in the background: the next caller acquires.
            if (life?.token.generation === generation && TokenLife.isAlive(life, Monotonic.unsafeNow(clock))) {
              yield* renewUntilReplaced(generation, failures + 1)
            }
          })
      })

    yield* held.await.pipe(
      Effect.zipRight(Effect.sleep(TELL_INTERVAL)),
      Effect.zipRight(Effect.sync(tellSecondsLeft)),
      Effect.forever,
      Effect.interruptible,
      Effect.forkIn(scope)
    )

    // The service's own fiber: callers only say that it is time, and go on with the token they have.
    const wanted = Effect.unsafeMakeLatch(false)
    yield* wanted.await.pipe(
      Effect.zipRight(
        Effect.suspend(() => (life === undefined ? Effect.void : renewUntilReplaced(life.token.generation, 0)))
      ),
      Effect.catchAllCause((cause) => Effect.logWarning("renewing the token failed unexpectedly", cause)),
      Effect.zipRight(
        Effect.sync(() => {
          wanted.unsafeClose()
          renewing = false
        })
      ),
      Effect.forever,
      Effect.annotateLogs({ package: "effect-aio", module: "AuthClient" }),
      Effect.interruptible,
      Effect.forkIn(scope)
    )

    const unsafeFresh = (): AccessToken | undefined => {
      if (life === undefined) return undefined
      const decision = TokenLife.decide(life, Monotonic.unsafeNow(clock))
      if (decision === "Wait") return undefined
      if (decision === "RenewInBackground" && !renewing) {
        renewing = true
        wanted.unsafeOpen()
      }
      return life.token
    }

    return {
      unsafeFresh,
      token: Effect.suspend(() => {
        const fresh = unsafeFresh()
        return fresh === undefined ? waited : Effect.succeed(fresh)
      }),
      changes: Stream.fromPubSub(replaced),
      invalidate: (token) =>
        Effect.sync(() => {
          droppedGeneration = Math.max(droppedGeneration, token.generation)
          if (life !== undefined && life.token.generation <= token.generation) life = undefined
        }),
      unsafeSecondTry: (token) => TokenLife.secondTryMillis(token, Monotonic.unsafeNow(clock), policy),
      unsafeAccepted: (token) => {
        if (token.generation > droppedGeneration) guard.accepted()
      }
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Auth, AioConfigError, Connection> =>
  Layer.scoped(Auth, make(options))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<Auth, AioConfigError | ConfigError.ConfigError, Connection> =>
  Layer.scoped(Auth, Effect.flatMap(Config.unwrap(config), make))

/**
 * For a registry that runs without authentication: the token is empty, and no header is sent.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDisabled: Layer.Layer<Auth> = Layer.sync(Auth, () => {
  const token: AccessToken = {
    value: Redacted.make(""),
    expiresAt: Number.POSITIVE_INFINITY,
    acquiredAt: Number.NEGATIVE_INFINITY,
    generation: 0
  }
  return {
    token: Effect.succeed(token),
    unsafeFresh: () => token,
    changes: Stream.never,
    invalidate: () => Effect.void,
    unsafeSecondTry: () => undefined,
    unsafeAccepted: () => {}
  }
})
