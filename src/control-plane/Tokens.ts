/** Access tokens: JWTs signed with HS256, as the real control plane issues them. */
import * as Crypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Jose from "jose"
import * as Schemas from "../internal/schemas.js"
import type * as Messages from "../wire/Messages.js"
import type { Client } from "./Clients.js"

export interface Tokens {
  readonly issue: (client: Client) => Effect.Effect<Messages.AuthenticateClientResponse>
  /** The id of the client that the token was issued to; none where it is not valid now. No leeway. */
  readonly verify: (token: string) => Effect.Effect<Option.Option<number>>
  /** From now on every token that was signed with another secret is refused. Default: a generated one. */
  readonly rotate: (secret?: Redacted.Redacted) => Effect.Effect<void>
}

// A token that names no client is valid; renewing it finds no client.
const Claims = Schema.Struct({ clientId: Schemas.orDefault(Schema.Number, 0) })
const decodeClaims = Schema.decodeUnknownOption(Claims)

const bytes = (secret: Redacted.Redacted | undefined): Uint8Array =>
  secret === undefined ? Crypto.randomBytes(32) : new TextEncoder().encode(Redacted.value(secret))

/** Tokens last 24 hours by default, cut to whole seconds, and are signed with a generated secret. */
export const make = (
  ttl: Duration.DurationInput = Duration.hours(24),
  signingSecret?: Redacted.Redacted
): Effect.Effect<Tokens> =>
  Effect.sync(() => {
    const ttlSeconds = Math.max(1, Math.floor(Duration.toSeconds(ttl)))
    let key = bytes(signingSecret)
    return {
      issue: Effect.fnUntraced(function* (client) {
        const iat = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
        const exp = iat + ttlSeconds
        const claims = { iss: "xiaozhizhang", sub: "client", exp, nbf: iat, iat }
        const jwt = new Jose.SignJWT({ ...claims, clientId: client.id, clientKey: client.clientKey, status: 1 })
        const token = yield* Effect.promise(() => jwt.setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(key))
        return { access_token: token, expires_at: String(exp), token_type: "Bearer" }
      }),
      verify: Effect.fnUntraced(function* (token) {
        const currentDate = new Date(yield* Clock.currentTimeMillis)
        const algorithms = ["HS256", "HS384", "HS512"]
        const verified = yield* Effect.option(
          Effect.tryPromise(() => Jose.jwtVerify(token, key, { algorithms, currentDate }))
        )
        return Option.map(
          Option.flatMap(verified, ({ payload }) => decodeClaims(payload)),
          ({ clientId }) => clientId
        )
      }),
      rotate: (secret) =>
        Effect.sync(() => {
          key = bytes(secret)
        })
    }
  })
