/**
 * `Auth` against a real registry: authenticates once, renews before the token expires.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as MetricLabel from "effect/MetricLabel"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AcquisitionBrake from "../core/AcquisitionBrake.js"
import * as TokenLife from "../core/TokenLife.js"
import { Connection } from "../grpc/Connection.js"
import * as Deadline from "../grpc/Deadline.js"
import * as Methods from "../grpc/Methods.js"
import * as Monotonic from "../internal/monotonic.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import { AioConfigError, AioCredentialsRejected, AioRpcError, AioWireError } from "../schemas/AioError.js"
import type * as Messages from "../schemas/Messages.js"
import * as StatusCode from "../schemas/StatusCode.js"
import * as Wire from "../schemas/Wire.js"
import { Auth, type AuthError } from "../services/Auth.js"
import * as Metrics from "../telemetry/Metrics.js"

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

interface Credentials {
  readonly clientKey: string
  readonly clientSecret: Redacted.Redacted
}

const required = (field: string, value: string): Effect.Effect<void, AioConfigError> =>
  value.length > 0
    ? Effect.void
    : Effect.fail(
        new AioConfigError({ field, problem: "is empty", expected: "the value that the control plane issued" })
      )

const readCredentials = (options: Options): Effect.Effect<Credentials, AioConfigError> =>
  Effect.gen(function* () {
    const clientKey = Effect.isEffect(options.clientKey) ? yield* options.clientKey : options.clientKey
    const clientSecret = Effect.isEffect(options.clientSecret) ? yield* options.clientSecret : options.clientSecret
    yield* required("clientKey", clientKey)
    yield* required("clientSecret", Redacted.value(clientSecret))
    return { clientKey, clientSecret }
  })

const isSame = (one: Credentials, other: Credentials): boolean =>
  one.clientKey === other.clientKey && Redacted.value(one.clientSecret) === Redacted.value(other.clientSecret)

type Kind = "authenticate" | "renew"

const labels = (kind: Kind) => ({
  success: [MetricLabel.make("kind", kind), MetricLabel.make("result", "success")],
  failure: [MetricLabel.make("kind", kind), MetricLabel.make("result", "failure")]
})
const refreshLabels = { authenticate: labels("authenticate"), renew: labels("renew") }

const counted = <A, E>(kind: Kind, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.onExit(effect, (exit) =>
    Effect.sync(() =>
      Metrics.tokenRefreshes.unsafeUpdate(1, refreshLabels[kind][Exit.isSuccess(exit) ? "success" : "failure"])
    )
  )

/** The rpcs: what a token is acquired by, and how its life is read. Holds no state. */
const makeAcquisition = (options: Options, connection: Connection.Service) => {
  const deadlineMillis = Duration.toMillis(options.acquireDeadline ?? defaults.acquireDeadline)
  let generation = 0

  const read = (
    protoMessage: "AuthenticateClientResponse" | "RenewTokenResponse",
    response: Messages.TokenResponse,
    sentAt: number
  ): Effect.Effect<TokenLife.TokenLife, AioWireError> =>
    Effect.gen(function* () {
      const decoded = yield* Wire.decodeToken(protoMessage, response)
      const wallNow = yield* Clock.currentTimeMillis
      const claims = TokenLife.claims(Redacted.value(decoded.value))
      const lifetimeMillis = claims?.lifetimeMillis ?? decoded.expiresAt - wallNow
      const isTooLong = lifetimeMillis > TokenLife.LONGEST_LIFE_MILLIS
      if (!(lifetimeMillis > 0) || isTooLong) {
        return yield* new AioWireError({
          protoMessage,
          field: claims === undefined ? "expires_at" : "access_token.exp",
          actual: String(claims === undefined ? decoded.expiresAt / 1_000 : lifetimeMillis / 1_000),
          problem: isTooLong
            ? "the token would live for more than ten years; expected seconds, and these look like milliseconds"
            : "the token has expired already, by our clock, and says nothing else of its life"
        })
      }
      if (claims !== undefined) {
        Metrics.clockSkewSeconds.unsafeUpdate((claims.issuedAtMillis - wallNow) / 1_000, [])
      }
      const token: AccessToken = {
        value: decoded.value,
        expiresAt: decoded.expiresAt,
        acquiredAt: sentAt,
        generation: ++generation
      }
      return TokenLife.make(token, { sentAt, lifetimeMillis }, yield* Random.next)
    })

  const call = <Request>(
    kind: Kind,
    method: Methods.Method<Request, Messages.TokenResponse>,
    request: Request,
    token: Redacted.Redacted | undefined
  ) =>
    Effect.clockWith((clock) => {
      const sentAt = Monotonic.unsafeNow(clock)
      return Effect.flatMap(
        connection.unary(method, request, { deadline: Deadline.after(deadlineMillis), token, root: true }),
        (response) => read(kind === "renew" ? "RenewTokenResponse" : "AuthenticateClientResponse", response, sentAt)
      )
    }).pipe((effect) => counted(kind, effect))

  const authenticate = ({ clientKey, clientSecret }: Credentials): Effect.Effect<TokenLife.TokenLife, AuthError> =>
    Effect.catchIf(
      call(
        "authenticate",
        Methods.auth.authenticateClient,
        { client_key: clientKey, client_secret: Redacted.value(clientSecret) },
        undefined
      ),
      (error): error is AioRpcError => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
      ({ code, details }) => Effect.fail(new AioCredentialsRejected({ code, details }))
    )

  const renew = (token: AccessToken): Effect.Effect<TokenLife.TokenLife, AioRpcError | AioWireError> =>
    call("renew", Methods.auth.renewToken, {}, token.value)

  return { authenticate, renew }
}

type Acquisition = ReturnType<typeof makeAcquisition>

/** A failure that cost the server something. What never reached it (a refused connection) may be tried as before. */
const burdensServer = (error: AuthError): boolean =>
  error._tag === "AioRpcError" &&
  (error.code === StatusCode.StatusCode.DEADLINE_EXCEEDED ||
    error.code === StatusCode.StatusCode.INTERNAL ||
    (error.code === StatusCode.StatusCode.UNAVAILABLE && !error.details.startsWith("No connection established")))

/** What is remembered of failures, so that neither a wrong secret nor a dying registry is asked again and again. */
const makeProtection = (options: Options, { authenticate }: Acquisition, clock: Clock.Clock) => {
  let brake = AcquisitionBrake.released
  let failure: AuthError | undefined
  let rejection: { readonly of: Credentials; readonly error: AuthError; readonly until: number } | undefined
  let rejections = 0
  const now = () => Monotonic.unsafeNow(clock)

  const strike: Effect.Effect<void> = Effect.map(Random.next, (random) => {
    brake = AcquisitionBrake.struck(brake, now(), random)
  })

  const reject = (of: Credentials, error: AioCredentialsRejected): Effect.Effect<void> =>
    Effect.suspend(() => {
      rejections = rejection !== undefined && isSame(rejection.of, of) ? rejections + 1 : 1
      rejection = { of, error, until: now() + AcquisitionBrake.rejectionMillis(rejections) }
      return Effect.logWarning(error.message)
    })

  return {
    strike,
    accepted: (): void => {
      if (brake.strikes > 0) brake = AcquisitionBrake.released
    },
    /** Fails at once with what is remembered against these credentials, which are read anew for this. */
    credentials: Effect.flatMap(readCredentials(options), (credentials) =>
      rejection !== undefined && now() < rejection.until && isSame(rejection.of, credentials)
        ? Effect.fail(rejection.error)
        : Effect.succeed(credentials)
    ),
    /** Waits out the pause after refusals; fails at once with the last failure in the pause after failures. */
    pause: Effect.suspend(() => {
      const left = brake.notBefore - now()
      if (left <= 0) return Effect.void
      return failure === undefined ? Effect.sleep(Duration.millis(Math.ceil(left))) : Effect.fail(failure)
    }),
    authenticate: (credentials: Credentials): Effect.Effect<TokenLife.TokenLife, AuthError> =>
      authenticate(credentials).pipe(
        Effect.tap(() =>
          Effect.sync(() => {
            failure = undefined
            rejection = undefined
          })
        ),
        Effect.tapError((error) => {
          if (error._tag === "AioCredentialsRejected") return reject(credentials, error)
          failure = burdensServer(error) ? error : undefined
          return failure === undefined ? Effect.void : strike
        })
      )
  }
}

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
    // Values are checked now; an effect may fail now and succeed later.
    if (!Effect.isEffect(options.clientKey) && !Effect.isEffect(options.clientSecret)) yield* readCredentials(options)
    const connection = yield* Connection
    const scope = yield* Effect.scope
    const acquisition = makeAcquisition(options, connection)
    const protection = makeProtection(options, acquisition, yield* Effect.clock)

    // The fresh token is a plain field, read without a lock; JavaScript runs each step below to its end.
    let life: TokenLife.TokenLife | undefined
    let droppedGeneration = 0
    let inFlight: Deferred.Deferred<AccessToken, AuthError> | undefined
    let renewing = false

    // Unbounded would do too: a subscriber that is behind wants the newest token, not all of them.
    const replaced = yield* PubSub.sliding<AccessToken>(1)
    yield* Effect.addFinalizer(() => PubSub.shutdown(replaced))

    const authenticate = (credentials: Credentials): Effect.Effect<TokenLife.TokenLife, AuthError> =>
      Effect.zipRight(protection.pause, protection.authenticate(credentials)).pipe(
        // Caused by a refusal: if this token is refused as well, the next acquisition waits.
        Effect.tap(() => (droppedGeneration > 0 ? protection.strike : Effect.void))
      )

    // Authenticating costs the server a password hash (86 ms of its CPU), renewing a signature: only an answer that says
    // that renewing cannot help leads to the former, never a server that could not be asked.
    const renewOrAuthenticate = Effect.clockWith((clock) =>
      Effect.flatMap(protection.credentials, (credentials) =>
        TokenLife.isRenewable(life, Monotonic.unsafeNow(clock))
          ? Effect.catchIf(
              acquisition.renew(life.token),
              (error) => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
              () => authenticate(credentials)
            )
          : authenticate(credentials)
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

    // Owned by the layer, not by its first caller. The child starts uninterruptible, so that its last step always runs: a
    // fiber that is interrupted before it starts would leave the deferred open, and its waiters waiting.
    const flight: Effect.Effect<AccessToken, AuthError> = Effect.suspend(() => {
      if (inFlight !== undefined) return Deferred.await(inFlight)
      const deferred = Deferred.unsafeMake<AccessToken, AuthError>(FiberId.none)
      inFlight = deferred
      return Effect.interruptible(acquireAnother).pipe(
        Effect.exit,
        Effect.flatMap((exit) => {
          inFlight = undefined
          if (Exit.isSuccess(exit)) {
            life = exit.value
            replaced.unsafeOffer(life.token)
          }
          return Deferred.done(
            deferred,
            Exit.isInterrupted(exit) ? Exit.fail(closed) : Exit.map(exit, (acquired) => acquired.token)
          )
        }),
        Effect.forkIn(scope),
        Effect.uninterruptible,
        Effect.zipRight(Deferred.await(deferred))
      )
    })

    const renewUntilReplaced = (generation: number, failures: number): Effect.Effect<void> =>
      Effect.matchEffect(flight, {
        onSuccess: () => Effect.void,
        onFailure: (error) =>
          Effect.gen(function* () {
            yield* Effect.logDebug("the token could not be renewed yet", error.message)
            yield* Effect.sleep(Duration.millis(TokenLife.retryDelayMillis(failures, yield* Random.next)))
            const clock = yield* Effect.clock
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

    const clock = yield* Effect.clock
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
        if (token.generation > droppedGeneration) protection.accepted()
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
