/**
 * The access token, always fresh.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { AccessToken } from "../schemas/AccessToken.js"
import type { RegistryError } from "../schemas/AioError.js"

/**
 * Gives the token that every other call carries, and renews it before it expires. However many callers ask at once, the
 * registry is asked once.
 *
 * Kept by `AuthClient` (a real registry) and `AuthMemory` (tests).
 *
 * @since 0.1.0
 * @category tags
 */
export class Auth extends Context.Tag("effect-aio/Auth")<Auth, Auth.Service>() {}

/**
 * @since 0.1.0
 */
export declare namespace Auth {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    /**
     * The present token. At once while it is fresh, also while a renewal runs in the background; waits only where there
     * is none, or where its last seconds have begun. Interrupting a wait disturbs no other caller.
     */
    readonly token: Effect.Effect<AccessToken, RegistryError>
    /**
     * Drops the token if it is still the one given (the generation decides), so that the next call acquires another. A
     * token that was already replaced stays.
     */
    readonly invalidate: (token: AccessToken) => Effect.Effect<void>
  }
}
