/** What the rest of this library asks of `Auth` beyond its public promise. */
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { Auth } from "../../services/Auth.js"

const portId: unique symbol = Symbol.for("effect-aio/Auth/port")

export interface TokenPort extends Auth.Service {
  /** The current token, `undefined` if `token` would wait. A call that need not wait pays no timeout for its wait. */
  readonly unsafeFresh: () => AccessToken | undefined
  /** Each token that replaces the current one, from now on: for streams, which were opened with a token. */
  readonly changes: Stream.Stream<AccessToken>
  /**
   * In how many milliseconds a refused token is tried once more before it is dropped, since the clock of the replica that
   * refused it may be behind; `undefined` if that cannot be the reason.
   */
  readonly unsafeSecondTry: (token: AccessToken) => number | undefined
  /** A server accepted the token, which ends the backoff of acquisitions. Follows every call that succeeds. */
  readonly unsafeAccepted: (token: AccessToken) => void
}

interface Ported extends Auth.Service {
  readonly [portId]: TokenPort
}

const isPorted = (auth: Auth.Service): auth is Ported => Predicate.hasProperty(auth, portId)

/** The public service, with its port inside. */
export const attach = (port: TokenPort): Auth.Service => {
  const ported: Ported = { token: port.token, invalidate: port.invalidate, [portId]: port }
  return ported
}

const bare: Omit<TokenPort, keyof Auth.Service> = {
  unsafeFresh: () => undefined,
  changes: Stream.never,
  unsafeSecondTry: () => undefined,
  unsafeAccepted: () => {}
}

/**
 * The port of an `Auth`. It travels inside the service and not under a tag of its own, which would outlive the service when
 * a user replaces it, and would show in the layers' types. A fake without one does with its public methods; a wrapper that
 * spreads ours keeps it, and is asked for its own `token` if it has one.
 */
export const of = (auth: Auth.Service): TokenPort => {
  if (!isPorted(auth)) return { ...bare, token: auth.token, invalidate: (token) => auth.invalidate(token) }
  const port = auth[portId]
  if (auth.token === port.token && auth.invalidate === port.invalidate) return port
  return {
    ...port,
    token: auth.token,
    invalidate: (token) => auth.invalidate(token),
    unsafeFresh: auth.token === port.token ? port.unsafeFresh : bare.unsafeFresh
  }
}
