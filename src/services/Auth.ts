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
 * Gives the token that every other call carries, and renews it before it expires. All callers that ask at once cause one
 * call.
 *
 * Provided by `AuthClient` (a real registry) and `AuthMemory` (tests). A fake of your own needs these two methods.
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
     * The current token. At once while it is fresh, also while a renewal runs in the background; waits only if there is
     * none, or if its last seconds have begun. Interrupting a wait disturbs no other caller.
     */
    readonly token: Effect.Effect<AccessToken, RegistryError>
    /**
     * Drops the token if it is still the one given (the generation decides), so that the next call acquires another. A
     * token that was already replaced stays.
     */
    readonly invalidate: (token: AccessToken) => Effect.Effect<void>
  }
}
