/**
 * When a token is used, renewed and waited for.
 *
 * Times are monotonic milliseconds. The server's clock and ours need not agree: only the length of the token's life is taken
 * from the server.
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Schema from "effect/Schema"
import * as Schemas from "../../internal/schemas.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"

export interface TokenLife {
  readonly token: AccessToken
  /** From here on a renewal runs in the background. */
  readonly refreshAt: number
  /** From here on callers wait for the renewal. */
  readonly waitAt: number
  readonly expiresAt: number
}

export type Decision = "Use" | "RenewInBackground" | "Wait"

export type Options = Pick<
  TokenPolicy.TokenSettings,
  "refreshWindowMillis" | "refreshWindowFraction" | "refreshSpread" | "graceMillis" | "graceFraction"
>

/**
 * The life of a token that was asked for at `sentAt` and lives `lifetimeMillis`: counted from the request, since the token
 * cannot be older. `random` (0 to 1) spreads the renewals of a fleet over the window (U[0.8, 1] of it by default).
 */
export const make = (
  token: AccessToken,
  life: { readonly sentAt: number; readonly lifetimeMillis: number },
  random: number,
  options: Options
): TokenLife => {
  const { lifetimeMillis, sentAt } = life
  const window = Math.min(options.refreshWindowMillis, lifetimeMillis * options.refreshWindowFraction)
  const grace = Math.min(options.graceMillis, lifetimeMillis * options.graceFraction)
  const expiresAt = sentAt + lifetimeMillis
  return {
    token,
    refreshAt: expiresAt - window * (1 - options.refreshSpread * (1 - random)),
    waitAt: expiresAt - grace,
    expiresAt
  }
}

export const decide = (life: TokenLife | undefined, now: number): Decision =>
  life === undefined || now >= life.waitAt ? "Wait" : now >= life.refreshAt ? "RenewInBackground" : "Use"

/** Not expired: it can be renewed, and is used until another one is there. */
export const isAlive = (life: TokenLife | undefined, now: number): life is TokenLife =>
  life !== undefined && now < life.expiresAt

/**
 * How long to wait before a refused token is tried once more: a replica whose clock is behind the issuer's refuses it (`nbf`)
 * and accepts it a moment later. `undefined` if the token is too old for that to be the reason.
 */
export const secondTryMillis = (
  token: AccessToken,
  now: number,
  options: Pick<TokenPolicy.TokenSettings, "youngAgeMillis" | "youngDelayMillis">
): number | undefined => (now - token.acquiredAt < options.youngAgeMillis ? options.youngDelayMillis : undefined)

/**
 * The longest life of a token that is believed: ten years. A longer one was written in milliseconds, not seconds, and would
 * be used until a server refuses it.
 */
export const LONGEST_LIFE_MILLIS = 10 * 365 * 24 * 60 * 60 * 1_000

const Claims = Schemas.json(
  Schemas.where(Schema.Struct({ exp: Schema.Number, iat: Schema.Number }), ({ exp, iat }) => exp > iat)
)
const decodeClaims = Schemas.decoder(Claims)

/**
 * What a token says of its own life, in milliseconds: its length, and the server's time of issue. `undefined` if the token is
 * no JWT, or one without `exp` and `iat`.
 */
export const claims = (
  token: string
): { readonly lifetimeMillis: number; readonly issuedAtMillis: number } | undefined => {
  const payload = token.split(".")[1]
  if (payload === undefined) return undefined
  const decoded = Either.flatMap(Encoding.decodeBase64UrlString(payload), decodeClaims)
  return Either.isRight(decoded)
    ? { lifetimeMillis: (decoded.right.exp - decoded.right.iat) * 1_000, issuedAtMillis: decoded.right.iat * 1_000 }
    : undefined
}
