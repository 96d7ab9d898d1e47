import { Array as Arr, Effect, Hash, Layer, PubSub, Stream } from "effect"
import * as LeasePort from "../../src/layers/lease/LeasePort.js"
import * as ViewPort from "../../src/layers/view/ViewPort.js"
import { AioRpcError } from "../../src/schemas/AioError.js"
import { InstanceId, type LeaseKey, ServiceId } from "../../src/schemas/Ids.js"
import type { Instance } from "../../src/schemas/Instance.js"
import type { ServiceWithInstances } from "../../src/schemas/Service.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { Registry, type RegistryError, type ServiceFilter } from "../../src/services/Registry.js"

export const anInstance = (instanceKey: string, overrides: Partial<Instance> = {}): Instance => ({
  id: InstanceId.make("1"),
  serviceId: ServiceId.make("1"),
  instanceKey,
  env: "test",
  host: "10.0.0.1",
  endpoint: "10.0.0.1:8080",
  endpoints: [],
  meta: {},
  ttlSeconds: 60,
  lastHeartbeatAt: 0,
  createdAt: 0,
  updatedAt: 0,
  ...overrides
})

/** A service of project "shop", with instances of these keys (or these records). */
export const aService = (
  name: string,
  instances: ReadonlyArray<string | Instance>,
  overrides: Partial<ServiceWithInstances["service"]> = {}
): ServiceWithInstances => ({
  service: {
    id: idOf(name),
    project: "shop",
    name,
    owner: "",
    description: "",
    spec: {},
    createdAt: 0,
    updatedAt: 0,
    ...overrides
  },
  instances: instances.map((instance) => (typeof instance === "string" ? anInstance(instance) : instance))
})

export const unavailable = new AioRpcError({
  method: "RegistryService/ListServices",
  code: StatusCode.UNAVAILABLE,
  details: "scripted"
})

const notFound = new AioRpcError({
  method: "RegistryService/GetServiceByID",
  code: StatusCode.NOT_FOUND,
  details: "scripted"
})

/** Each name its own: what a list answers and what a single service answers must not be mixed up. */
export const idOf = (name: string) => ServiceId.make(String(1 + Math.abs(Hash.string(name))))

type Reply = Effect.Effect<ReadonlyArray<ServiceWithInstances>, RegistryError>

/** A registry that lists what it is told to list, in the way it is told, and does nothing else. */
export const scriptedRegistry = () => {
  const calls: Array<ServiceFilter | { readonly id: ServiceId }> = []
  let interrupted = 0
  let reply: Reply = Effect.succeed([])
  const deregistered = Effect.runSync(PubSub.unbounded<LeaseKey>())
  const perId = new Map<ServiceId, Reply>()
  const answering = (call: ServiceFilter | { readonly id: ServiceId }, special?: Reply) =>
    Effect.suspend(() => {
      calls.push(call)
      return special ?? reply
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => interrupted++)))
  const unscripted = Effect.dieMessage("not scripted")
  const registry: Registry.Service = {
    listServices: (filter = {}) => answering(filter),
    ensureService: () => unscripted,
    getService: (id) =>
      answering({ id }, perId.get(id)).pipe(
        Effect.flatMap((services) =>
          Effect.mapError(
            Arr.findFirst(services, ({ service }) => service.id === id),
            () => notFound
          )
        )
      ),
    registerInstance: () => unscripted,
    deregisterInstance: () => unscripted,
    heartbeats: () => Stream.die("not scripted")
  }
  return {
    layer: Layer.succeed(
      Registry,
      LeasePort.attach(ViewPort.attach(registry, { deregistrations: Stream.fromPubSub(deregistered) }), {
        reconnects: Stream.never,
        localHost: unscripted
      })
    ),
    /** Lists and single services, in the order in which they were asked for. */
    calls: (): ReadonlyArray<ServiceFilter | { readonly id: ServiceId }> => calls,
    lists: () => calls.filter((call) => !("id" in call)).length,
    deregisters: (key: LeaseKey) => PubSub.publish(deregistered, key),
    interrupted: () => interrupted,
    replies: (next: Reply) => {
      reply = next
    },
    /** How a single service is answered, from now on. */
    repliesTo: (id: ServiceId, next: Reply) => {
      perId.set(id, next)
    },
    answers: (...services: ReadonlyArray<ServiceWithInstances>) => {
      reply = Effect.succeed(services)
    },
    fails: (error: RegistryError = unavailable) => {
      reply = Effect.fail(error)
    },
    hangs: () => {
      reply = Effect.never
    }
  }
}
