/** What the rest of this library asks of `Auth` beyond its public promise. */
import * as Stream from "effect/Stream"
import { makePorts } from "../../internal/ports.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { Auth } from "../../services/Auth.js"

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

const ports = /*#__PURE__*/ makePorts<Auth.Service, TokenPort>("effect-aio/Auth/port")

/** The public service, with its port inside. */
export const attach = (port: TokenPort): Auth.Service =>
  ports.attach({ token: port.token, invalidate: port.invalidate }, port)

const bare: Omit<TokenPort, keyof Auth.Service> = {
  unsafeFresh: () => undefined,
  changes: Stream.never,
  unsafeSecondTry: () => undefined,
  unsafeAccepted: () => {}
}

/** A fake without one does with its public methods; a wrapper of ours is asked for its own `token` if it has one. */
export const of = (auth: Auth.Service): TokenPort => {
  const port = ports.of(auth)
  if (port === undefined) return { ...bare, token: auth.token, invalidate: (token) => auth.invalidate(token) }
  if (auth.token === port.token && auth.invalidate === port.invalidate) return port
  return {
    ...port,
    token: auth.token,
    invalidate: (token) => auth.invalidate(token),
    unsafeFresh: auth.token === port.token ? port.unsafeFresh : bare.unsafeFresh
  }
}
