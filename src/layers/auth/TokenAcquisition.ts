/** How a token is acquired: the credentials, and the two rpcs. Holds no state but a count. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as TokenAcquirer from "../../core/auth/TokenAcquirer.js"
import * as TokenLife from "../../core/auth/TokenLife.js"
import type { Connection } from "../../grpc/client/Connection.js"
import * as Deadline from "../../grpc/client/Deadline.js"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import type * as Unary from "../../grpc/client/Unary.js"
import * as Methods from "../../grpc/Methods.js"
import * as Fibers from "../../internal/fibers.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { RegistryError } from "../../schemas/AioError.js"
import { AioConfigError, AioCredentialsRejected, type AioRpcError, AioWireError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type * as Messages from "../../wire/Messages.js"
import * as Wire from "../../wire/Wire.js"

export interface Options {
  readonly clientKey: string | Effect.Effect<string, AioConfigError>
  readonly clientSecret: Redacted.Redacted | Effect.Effect<Redacted.Redacted, AioConfigError>
  readonly policy: TokenPolicy.TokenSettings
}

const required = (field: string, value: string): Effect.Effect<void, AioConfigError> =>
  value.length > 0
    ? Effect.void
    : Effect.fail(
        new AioConfigError({ field, problem: "is empty", expected: "the value that the control plane issued" })
      )

// A thrown error may quote the secret, as those of `JSON.parse` do: only its class is shown.
const readSource = <A>(
  field: "clientKey" | "clientSecret",
  source: A | Effect.Effect<A, AioConfigError>
): Effect.Effect<A, AioConfigError> =>
  Effect.isEffect(source)
    ? Effect.catchAllDefect(source, (defect) =>
        Effect.fail(
          new AioConfigError({
            field,
            problem: `threw a ${Predicate.isError(defect) ? defect.constructor.name : "value"}, not shown since it may hold a secret`,
            expected: "a source of credentials that fails with AioConfigError"
          })
        )
      )
    : Effect.succeed(source)

const readNow = (options: Options): Effect.Effect<TokenAcquirer.Credentials, AioConfigError> =>
  Effect.gen(function* () {
    const clientKey = yield* readSource("clientKey", options.clientKey)
    const clientSecret = yield* readSource("clientSecret", options.clientSecret)
    yield* required("clientKey", clientKey)
    yield* required("clientSecret", Redacted.value(clientSecret))
    return { clientKey, clientSecret }
  })

/**
 * The credentials, read anew if they are effects. Bounded, also for an effect that cannot be interrupted: a mount that hangs
 * must not hang authentication.
 */
export const readCredentials = (options: Options): Effect.Effect<TokenAcquirer.Credentials, AioConfigError> =>
  Effect.isEffect(options.clientKey) || Effect.isEffect(options.clientSecret)
    ? Effect.timeoutFail(Fibers.disconnect(readNow(options)), {
        duration: options.policy.acquireDeadlineMillis,
        onTimeout: () =>
          new AioConfigError({
            field: "clientSecret",
            problem: `could not be read within ${Duration.format(options.policy.acquireDeadlineMillis)}`,
            expected: "a source of credentials that answers"
          })
      })
    : readNow(options)

const isUnavailable = (error: AioRpcError | AioWireError): boolean =>
  error._tag === "AioRpcError" && error.code === StatusCode.StatusCode.UNAVAILABLE

/** One of the two rpcs, on its way to the registry. */
export interface Request {
  readonly send: Effect.Effect<TokenLife.TokenLife, RegistryError>
  /** Once its time is over: the error, and the connection is told that nothing came back. */
  readonly overdue: () => AioRpcError
}

const counted = <A, E>(kind: keyof typeof Labels.tokenRefreshes, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.onExit(effect, (exit) =>
    Effect.sync(() =>
      Metric.unsafeUpdate(
        Metrics.tokenRefreshes,
        1,
        Labels.tokenRefreshes[kind][Exit.isSuccess(exit) ? "success" : "failure"]
      )
    )
  )

/** The two rpcs, which read the life of the token from its claims. */
export const make = (options: Options, connection: Connection.Service) => {
  let generation = 0

  const read = (
    protoMessage: "AuthenticateClientResponse" | "RenewTokenResponse",
    response: Messages.AuthenticateClientResponse,
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
        Metric.unsafeUpdate(Metrics.clockSkew, (claims.issuedAtMillis - wallNow) / 1_000, Labels.none)
      }
      const token: AccessToken = {
        value: decoded.value,
        expiresAt: decoded.expiresAt,
        acquiredAt: sentAt,
        generation: ++generation
      }
      return TokenLife.make(token, { sentAt, lifetimeMillis }, yield* Random.next, options.policy)
    })

  const request = <Message>(
    kind: keyof typeof Labels.tokenRefreshes,
    method: Methods.Method<Message, Messages.AuthenticateClientResponse>,
    message: Message,
    { millis, ...told }: { readonly millis: number } & Pick<Unary.Options, "token" | "secrets">
  ): Request => {
    const route: Unary.Route = {}
    let sentAt = 0
    const attempt = Effect.clockWith((clock) => {
      const now = Monotonic.unsafeNow(clock)
      sentAt = now
      return Effect.flatMap(
        connection.unary(method, message, {
          deadline: Deadline.after(millis),
          ...told,
          route,
          repetition: "costly"
        }),
        (response) => read(kind === "renew" ? "RenewTokenResponse" : "AuthenticateClientResponse", response, now)
      )
    })
    const elsewhere = Effect.catchIf(attempt, isUnavailable, () => attempt)
    return {
      send: counted(kind, connection.addresses === 1 ? attempt : elsewhere),
      overdue: () => {
        const { managed } = route
        const wasSent = managed?.isTrying() !== true
        // May replace the channel: the request goes on over the former one.
        managed?.overdue(sentAt)
        return ServerStatus.overdue(method.name, wasSent, options.policy.acquireDeadlineMillis)
      }
    }
  }

  const authenticate = ({ clientKey, clientSecret }: TokenAcquirer.Credentials): Request => {
    const message = { client_key: clientKey, client_secret: Redacted.value(clientSecret) }
    const millis = options.policy.acquireDeadlineMillis + TokenAcquirer.LATE_MILLIS
    const { overdue, send } = request("authenticate", Methods.auth.authenticateClient, message, {
      millis,
      // Where the two were swapped, the key is the secret.
      secrets: [clientSecret, Redacted.make(clientKey)]
    })
    return {
      send: Effect.catchIf(
        send,
        (error): error is AioRpcError => error._tag === "AioRpcError" && StatusCode.endsRenewal(error.code),
        ({ code, details }) => Effect.fail(new AioCredentialsRejected({ code, details }))
      ),
      overdue
    }
  }

  const renew = ({ value }: AccessToken, millis: number) => {
    const { overdue, send } = request("renew", Methods.auth.renewToken, {}, { millis, token: value })
    return Effect.timeoutFail(send, { duration: millis, onTimeout: overdue })
  }

  const { acquireDeadlineMillis } = options.policy
  return { acquireDeadlineMillis, readCredentials: readCredentials(options), authenticate, renew }
}

export type TokenAcquisition = ReturnType<typeof make>
