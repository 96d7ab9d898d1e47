/** One client for each instance of a service, made when it is first needed and closed when the instance has left. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Background from "../../internal/background.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Target } from "../../services/Discovery.js"

export interface Clients<C, E> {
  /** The client of this target, for as long as the scope is open. One that could not be made is made anew the next time. */
  readonly get: (target: Target) => Effect.Effect<C, E, Scope.Scope>
  /** Lets go of the clients of instances that are not among these, once nobody uses them any more. */
  readonly retain: (instances: ReadonlyArray<Instance>) => void
}

/**
 * What a client is kept under: an object for each time that an instance is met, and not its key. `RcMap` (effect 3.22.4)
 * knows its entries by key alone: if an instance left while it was called and came back under the same key, the end of
 * those calls would be taken for the end of later ones, and the old client would never be closed.
 */
interface Tenancy {
  readonly target: Target
  /** Has `RcMap` taken it in? */
  isOpen: boolean
}

/** Would a client of `a` call somebody else than `b`? */
const isElsewhere = (a: Target, b: Target): boolean =>
  a.instance !== b.instance &&
  (a.instance.id !== b.instance.id || a.httpUrl !== b.httpUrl || a.grpcAddress !== b.grpcAddress)

/**
 * Closing the scope closes all clients. `make` runs in a fiber of its own: whoever asked for a client first may be
 * interrupted, and disturbs nobody who waits for it as well.
 */
export const make = <C, E, R>(
  makeClient: (instance: Instance, target: Target) => Effect.Effect<C, E, R | Scope.Scope>
): Effect.Effect<Clients<C, E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const tenancies = new Map<string, Tenancy>()

    const end = (tenancy: Tenancy): void => {
      const key = tenancy.target.instance.instanceKey
      if (tenancies.get(key) === tenancy) tenancies.delete(key)
      // Each in a fiber of its own: a client that is slow to close holds up no other. Once begun, it closes.
      fork(Effect.uninterruptible(RcMap.invalidate(clients, tenancy)))
    }

    const clients = yield* RcMap.make({
      lookup: (tenancy: Tenancy) => {
        tenancy.isOpen = true
        return Effect.onExit(
          Effect.suspend(() => makeClient(tenancy.target.instance, tenancy.target)),
          // The map would hand out the failure for ever.
          (exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.sync(() => end(tenancy)))
        )
      },
      // Kept while nobody uses it: it is the leaving of the instance that ends it.
      idleTimeToLive: Duration.infinity
    })

    // Made after the map, and so closed before it.
    const fork = yield* Background.makeUnsafeFork

    const tenancyOf = (target: Target): Tenancy => {
      const key = target.instance.instanceKey
      const held = tenancies.get(key)
      if (held !== undefined) {
        if (!isElsewhere(held.target, target)) return held
        end(held)
      }
      const tenancy: Tenancy = { target, isOpen: false }
      tenancies.set(key, tenancy)
      return tenancy
    }

    return {
      get: (target) =>
        Effect.suspend(() => {
          const tenancy = tenancyOf(target)
          const client = RcMap.get(clients, tenancy)
          // `RcMap` takes an entry in in many steps: a fiber that has used up its share would be made to yield between two
          // of them, and another one would make a second client, of which one is never closed. Who yields has a new share.
          return tenancy.isOpen ? client : Effect.zipRight(Effect.yieldNow(), client)
        }),
      retain: (instances) => {
        const present = new Set(instances.map(({ instanceKey }) => instanceKey))
        for (const [key, tenancy] of tenancies) if (!present.has(key)) end(tenancy)
      }
    }
  })
