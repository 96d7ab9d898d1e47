/** `Discovery.client`: calls with one client for each instance. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Members from "../../core/balancing/Members.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { Instance } from "../../schemas/Instance.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { Discovery } from "../../services/Discovery.js"
import type { Balancers } from "./Balancers.js"
import * as Clients from "./Clients.js"
import * as Failover from "./Failover.js"
import type * as ServiceBalancer from "./ServiceBalancer.js"

const closed = new AioRpcError({
  method: "Discovery/client",
  code: StatusCode.CANCELLED,
  details: "the scope of this client has been closed"
})

export const client =
  (balancers: Balancers): Discovery.Service["client"] =>
  (ref, makeClient, options = {}) =>
    Effect.gen(function* () {
      const clients = yield* Clients.make(makeClient)
      let followed: ServiceBalancer.ServiceBalancer | undefined
      let isClosed = false

      // The balancer of a service tells which instances are left; after it is dropped, the next call finds another one.
      const retain = (members: Members.Members | undefined): void =>
        clients.retain((key) => members !== undefined && Members.find(members, key) !== undefined)
      const listener = (instances: ReadonlyArray<Instance> | undefined): void =>
        retain(instances === undefined ? undefined : followed?.balancer.members)
      const follow = (service: ServiceBalancer.ServiceBalancer): void => {
        if (service === followed) return
        followed?.listeners.delete(listener)
        followed = service
        service.listeners.add(listener)
        retain(service.balancer.members)
      }

      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          isClosed = true
          followed?.listeners.delete(listener)
        })
      )
      // Closing the clients interrupts callers that wait for one in the making. Their fibers go on, with this error.
      const orClosed = <E2>(cause: Cause.Cause<E2>): Effect.Effect<never, E2 | AioRpcError> =>
        isClosed && Cause.isInterruptedOnly(cause) ? Effect.fail(closed) : Effect.failCause(cause)
      const locateOpen = Effect.suspend(() =>
        isClosed
          ? Effect.fail(closed)
          : Effect.tap(balancers.locate(ref), (service) => Effect.sync(() => follow(service)))
      )

      return {
        use: (f, more) =>
          Effect.catchAllCause(
            Failover.failover(
              balancers,
              locateOpen,
              (pick) => {
                let isSent = false
                return {
                  // A scope for the use of the client alone: `f` has its caller's.
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
              { ...more, ...options }
            ),
            orClosed
          )
      }
    })
