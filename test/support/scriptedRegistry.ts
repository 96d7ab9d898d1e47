import { Effect, Layer, Stream } from "effect"
import { AioRpcError } from "../../src/schemas/AioError.js"
import { InstanceId, ServiceId } from "../../src/schemas/Ids.js"
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
    id: ServiceId.make("1"),
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

type Reply = Effect.Effect<ReadonlyArray<ServiceWithInstances>, RegistryError>

/** A registry that lists what it is told to list, in the way it is told, and does nothing else. */
export const scriptedRegistry = () => {
  const calls: Array<ServiceFilter> = []
  let interrupted = 0
  let reply: Reply = Effect.succeed([])
  const unscripted = Effect.dieMessage("not scripted")
  const registry: Registry.Service = {
    listServices: (filter = {}) =>
      Effect.suspend(() => {
        calls.push(filter)
        return reply
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => interrupted++))),
    ensureService: () => unscripted,
    getService: () => unscripted,
    registerInstance: () => unscripted,
    deregisterInstance: () => unscripted,
    heartbeats: () => Stream.die("not scripted"),
    reconnects: Stream.never
  }
  return {
    layer: Layer.succeed(Registry, registry),
    calls: (): ReadonlyArray<ServiceFilter> => calls,
    interrupted: () => interrupted,
    replies: (next: Reply) => {
      reply = next
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
