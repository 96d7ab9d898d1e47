/** Access tokens: JWTs signed with HS256, as the real control plane issues them. */
import * as Crypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Schemas from "../internal/schemas.js"
import { parseJson } from "../schemas/Json.js"
import type * as Messages from "../wire/Messages.js"
import type { Client } from "./Clients.js"

export interface Tokens {
  readonly issue: (client: Client) => Effect.Effect<Messages.AuthenticateClientResponse>
  /** The id of the client that the token was issued to; none where it is not valid now. No leeway. */
  readonly verify: (token: string) => Effect.Effect<Option.Option<number>>
  /** From now on every token that was signed with another secret is refused. Default: a generated one. */
  readonly rotate: (secret?: Redacted.Redacted) => Effect.Effect<void>
}

// A token that names no client is valid; renewing it finds no client. Without `exp` it does not expire.
const Claims = Schema.Struct({
  clientId: Schemas.orDefault(Schema.Number, 0),
  exp: Schemas.orDefault(Schema.Number, Number.POSITIVE_INFINITY),
  nbf: Schemas.orDefault(Schema.Number, Number.NEGATIVE_INFINITY)
})
type Claims = typeof Claims.Type
const decodeClaims = Schema.decodeUnknownOption(Claims)

const Header = Schema.Struct({ alg: Schema.Literal("HS256", "HS384", "HS512"), crit: Schema.optional(Schema.Never) })
const decodeHeader = Schema.decodeUnknownOption(Header)

const bytes = (secret: Redacted.Redacted | undefined): Uint8Array =>
  secret === undefined ? Crypto.randomBytes(32) : new TextEncoder().encode(Redacted.value(secret))

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url")

const decode = (part: string): unknown => parseJson(Buffer.from(part, "base64url").toString())

// On this thread: what finishes on the thread pool would wait for the secrets that are hashed there.
const sign = (alg: typeof Header.Type.alg, signed: string, key: Uint8Array): string =>
  Crypto.createHmac(`sha${alg.slice(2)}`, key)
    .update(signed)
    .digest("base64url")

const isEqual = (a: Buffer, b: Buffer): boolean => a.length === b.length && Crypto.timingSafeEqual(a, b)

/** What a token claims, where its signature is right. */
const claimsOf = (token: string, key: Uint8Array): Option.Option<Claims> => {
  const [head = "", body = "", signature = "", ...rest] = token.split(".", 4)
  // Most that is no token ends here: to parse what is no JSON takes longer than all the rest.
  const header = signature === "" || rest.length > 0 ? Option.none() : decodeHeader(decode(head))
  return Option.flatMap(header, ({ alg }) =>
    isEqual(Buffer.from(signature), Buffer.from(sign(alg, `${head}.${body}`, key)))
      ? decodeClaims(decode(body))
      : Option.none()
  )
}

// A service has one token at a time, and a fleet has thousands of them.
const REMEMBERED = 10_000

/** Tokens last 24 hours by default, cut to whole seconds, and are signed with a generated secret. */
export const make = (
  ttl: Duration.DurationInput = Duration.hours(24),
  signingSecret?: Redacted.Redacted
): Effect.Effect<Tokens> =>
  Effect.sync(() => {
    const ttlSeconds = Math.max(1, Math.floor(Duration.toSeconds(ttl)))
    let key = bytes(signingSecret)
    // Verified before, oldest first.
    const verified = new Map<string, Claims>()

    const verify = (token: string): Option.Option<Claims> => {
      const known = verified.get(token)
      if (known !== undefined) return Option.some(known)
      const claims = claimsOf(token, key)
      if (Option.isSome(claims)) {
        const [oldest] = verified.size < REMEMBERED ? [] : verified.keys()
        if (oldest !== undefined) verified.delete(oldest)
        verified.set(token, claims.value)
      }
      return claims
    }

    return {
      issue: Effect.fnUntraced(function* (client) {
        const iat = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
        const exp = iat + ttlSeconds
        const claims = { iss: "xiaozhizhang", sub: "client", exp, nbf: iat, iat }
        const body = encode({ ...claims, clientId: client.id, clientKey: client.clientKey, status: 1 })
        const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${body}`
        const token = `${signed}.${sign("HS256", signed, key)}`
        return { access_token: token, expires_at: String(exp), token_type: "Bearer" }
      }),
      verify: (token) =>
        Effect.map(Clock.currentTimeMillis, (millis) => {
          const now = Math.floor(millis / 1_000)
          const claims = Option.filter(verify(token), ({ exp, nbf }) => {
            if (now >= exp) verified.delete(token)
            return nbf <= now && now < exp
          })
          return Option.map(claims, ({ clientId }) => clientId)
        }),
      rotate: (secret) =>
        Effect.sync(() => {
          key = bytes(secret)
          verified.clear()
        })
    }
  })
