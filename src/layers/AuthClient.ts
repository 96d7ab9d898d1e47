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
import { Auth, type AuthError } from "../services/Auth.js"
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
  /** How long one authentication or renewal may take. Default 10 seconds. */
  readonly acquireDeadline?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  acquireDeadline: Duration.seconds(10)
} as const

const closed = new AioRpcError({
  method: "ClientAuthService/RenewToken",
  code: StatusCode.StatusCode.CANCELLED,
  details: "the Auth layer was closed while a token was being acquired"
})

/**
 * Fails with `AioConfigError` for an empty key or secret. Asks the server for nothing until the first token is wanted.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Auth.Service, AioConfigError, Connection | Scope.Scope> =>
  Effect.gen(function* () {
    const source: TokenAcquisition.Options = {
      clientKey: options.clientKey,
      clientSecret: options.clientSecret,
      deadline: Duration.decode(options.acquireDeadline ?? defaults.acquireDeadline)
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
        TokenLife.isRenewable(life, Monotonic.unsafeNow(clock))
          ? Effect.catchIf(
              acquisition.renew(life.token),
              (error) => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
              () => authenticate
            )
          : authenticate
      )
    )

    // `cachedWithTTL` alone would not do for callers: it keeps failures and defects, starts again when its first caller is
    // interrupted, and has one TTL for all tokens. Run by the service's own fiber only, those habits are what is wanted:
    // one acquisition a second at most, and a failure remembered for that second.
    const acquire = yield* Effect.cachedWithTTL(renewOrAuthenticate, "1 second")

    // A token that was dropped within its first second is what the cache gives again: wait for the next.
    const acquireAnother: Effect.Effect<TokenLife.TokenLife, AuthError> = Effect.flatMap(acquire, (acquired) =>
      acquired.token.generation <= droppedGeneration
        ? Effect.delay(
            Effect.suspend(() => acquireAnother),
            "1 second"
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

    const renewUntilReplaced = (generation: number, failures: number): Effect.Effect<void> =>
      Effect.matchCauseEffect(flight, {
        onSuccess: () => Effect.void,
        onFailure: (cause) =>
          Effect.gen(function* () {
            yield* Effect.logDebug("the token could not be renewed yet", cause)
            yield* Effect.sleep(Duration.millis(TokenLife.retryDelayMillis(failures, yield* Random.next)))
            // Past its life there is nothing left to renew in the background: the next caller acquires.
            if (life?.token.generation === generation && TokenLife.isRenewable(life, Monotonic.unsafeNow(clock))) {
              yield* renewUntilReplaced(generation, failures + 1)
            }
          })
      })

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
        return fresh === undefined ? flight : Effect.succeed(fresh)
      }),
      changes: Stream.fromPubSub(replaced),
      invalidate: (token) =>
        Effect.sync(() => {
          droppedGeneration = Math.max(droppedGeneration, token.generation)
          if (life !== undefined && life.token.generation <= token.generation) life = undefined
        }),
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
    unsafeAccepted: () => {}
  }
})
