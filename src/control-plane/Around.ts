/** What may be put around the rpcs of a control plane and its token check: nothing, unless a simulator fills it. */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { AroundRpc } from "../grpc/server/ServerHost.js"
import type * as Messages from "../wire/Messages.js"

type Rpcs = Messages.ClientAuthService & Messages.RegistryService

/**
 * Around each rpc, by its name on the wire.
 *
 * @since 0.1.0
 * @category models
 */
export type AroundRpcs = <Name extends keyof Rpcs>(rpc: Name) => AroundRpc<Rpcs[Name]["request"]>

/**
 * Around everything that a control plane answers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Around {
  /** What the control plane takes the time to be. Default: Effect's clock. */
  readonly clock?: Clock.Clock | undefined
  /** Default: nothing. */
  readonly rpcs?: AroundRpcs | undefined
  /** Around the check of a client's secret. */
  readonly authenticate: <A, E>(clientKey: string, check: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Around the check of a token, which gives the id of its client; `keyOf` finds the client's key. */
  readonly verify: (
    check: Effect.Effect<Option.Option<number>>,
    keyOf: (clientId: number) => Effect.Effect<Option.Option<string>>
  ) => Effect.Effect<Option.Option<number>>
}

export const identity: Around = { authenticate: (_, check) => check, verify: (check) => check }
