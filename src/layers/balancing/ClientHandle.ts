/** The handle of `Discovery.client`: calls with one client an instance. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { AioRpcError } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { Client, DiscoveryError, Target } from "../../services/Discovery.js"
import * as Clients from "./Clients.js"
import * as Failover from "./Failover.js"
import type * as ServiceBalancer from "./ServiceBalancer.js"

const closed = new AioRpcError({
  method: "Discovery/client",
  code: StatusCode.CANCELLED,
  details: "the scope of this client has been closed"
})

export const make = <C, E, R>(
  means: Failover.Means,
  locate: Effect.Effect<ServiceBalancer.ServiceBalancer, DiscoveryError>,
  makeClient: (instance: Instance, target: Target) => Effect.Effect<C, E, R | Scope.Scope>
): Effect.Effect<Client<C, E>, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const clients = yield* Clients.make(makeClient)
    let followed: ServiceBalancer.ServiceBalancer | undefined
    let isClosed = false

    // What a service leaves of its instances is told by its choice, and that is another one once it was dropped.
    const listener = (instances: ReadonlyArray<Instance> | undefined): void => clients.retain(instances ?? [])
    const follow = (choice: ServiceBalancer.ServiceBalancer): void => {
      if (choice === followed) return
      followed?.listeners.delete(listener)
      followed = choice
      choice.listeners.add(listener)
      listener(choice.balancer.members.listing.instances)
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        isClosed = true
        followed?.listeners.delete(listener)
      })
    )
    // Closing the clients interrupts whoever waits for one that is being made. That is not the end of the caller's fiber.
    const orClosed = <E2>(cause: Cause.Cause<E2>): Effect.Effect<never, E2 | AioRpcError> =>
      isClosed && Cause.isInterruptedOnly(cause) ? Effect.fail(closed) : Effect.failCause(cause)
    const locateOpen = Effect.suspend(() =>
      isClosed ? Effect.fail(closed) : Effect.tap(locate, (choice) => Effect.sync(() => follow(choice)))
    )

    return {
      use: (f, options) =>
        Effect.catchAllCause(
          Failover.failover(
            means,
            locateOpen,
            (pick) => {
              let isSent = false
              return {
                // A scope for the client's use alone: one that `f` needs is its caller's.
                run: Effect.acquireUseRelease(
                  Scope.make(),
                  (scope) =>
                    Effect.flatMap(Scope.extend(clients.get(pick), scope), (client) => {
                      isSent = true
                      return f(client, pick.instance)
                    }),
                  Scope.close
                ),
                isSent: () => isSent
              }
            },
            options
          ),
          orClosed
        )
    }
  })
