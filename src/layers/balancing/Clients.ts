/** One client for each instance of a service, made for its first call and closed when the instance has left. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Hash from "effect/Hash"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Background from "../../internal/background.js"
import type { Instance } from "../../schemas/Instance.js"
import type { Target } from "../../services/Discovery.js"

export interface Clients<in T, C, E> {
  /** The client of this target, while the scope is open. One that failed to be made is made again the next time. */
  readonly get: (target: T) => Effect.Effect<C, E, Scope.Scope>
  /** Closes the clients of the instances that are not listed, once their calls have ended. */
  readonly retain: (isListed: (instanceKey: string) => boolean) => void
}

/**
 * The key of a client: an object for each stay of an instance, not its key. `RcMap` (effect 3.22.4) knows its entries by key
 * alone: if an instance left during a call and returned under the same key, the end of that call would count for a later
 * one, and the old client would never close.
 */
class Tenancy<T extends Target> implements Equal.Equal {
  /** Has `RcMap` taken it in? */
  isOpen = false

  constructor(readonly target: T) {}

  // Equal to none but itself: Effect 4 compares objects by their members.
  [Equal.symbol](that: unknown): boolean {
    return this === that
  }

  [Hash.symbol](): number {
    return Hash.random(this)
  }
}

/** Would a client of `a` call another instance or address than `b`? */
const isElsewhere = (a: Target, b: Target): boolean =>
  a.instance !== b.instance &&
  (a.instance.id !== b.instance.id || a.httpUrl !== b.httpUrl || a.grpcAddress !== b.grpcAddress)

/**
 * Closing the scope closes all clients. `make` runs in a fiber of its own: interrupting the caller that asked first leaves
 * the others waiting for the same client.
 */
export const make = <T extends Target, C, E, R>(
  makeClient: (instance: Instance, target: T) => Effect.Effect<C, E, R | Scope.Scope>
): Effect.Effect<Clients<T, C, E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const tenancies = new Map<string, Tenancy<T>>()

    const end = (tenancy: Tenancy<T>): void => {
      const key = tenancy.target.instance.instanceKey
      if (tenancies.get(key) === tenancy) tenancies.delete(key)
      // Each in a fiber of its own: a client that is slow to close holds up no other. Once begun, it closes.
      fork(Effect.uninterruptible(RcMap.invalidate(clients, tenancy)))
    }

    const clients = yield* RcMap.make({
      lookup: (tenancy: Tenancy<T>) => {
        tenancy.isOpen = true
        return Effect.onExit(
          Effect.suspend(() => makeClient(tenancy.target.instance, tenancy.target)),
          // The map would hand out the failure for ever.
          (exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.sync(() => end(tenancy)))
        )
      },
      // Kept while idle: it ends when its instance leaves.
      idleTimeToLive: Duration.infinity
    })

    // Made after the map, and so closed before it.
    const fork = yield* Background.makeUnsafeFork

    const tenancyOf = (target: T): Tenancy<T> => {
      const key = target.instance.instanceKey
      const held = tenancies.get(key)
      if (held !== undefined) {
        if (!isElsewhere(held.target, target)) return held
        end(held)
      }
      const tenancy = new Tenancy(target)
      tenancies.set(key, tenancy)
      return tenancy
    }

    return {
      get: (target) =>
        Effect.suspend(() => {
          const tenancy = tenancyOf(target)
          const client = RcMap.get(clients, tenancy)
          // `RcMap` adds an entry in several steps. A fiber at the end of its time slice would yield between two of them, and
          // another one would make a second client, which never closes. After `yieldNow` the slice is new.
          return tenancy.isOpen ? client : Effect.zipRight(Effect.yieldNow(), client)
        }),
      retain: (isListed) => {
        for (const [key, tenancy] of tenancies) if (!isListed(key)) end(tenancy)
      }
    }
  })
