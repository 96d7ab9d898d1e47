import { assert, describe, it } from "@effect/vitest"
import { type Duration, Effect, Fiber, Layer, Queue, Redacted, Stream } from "effect"
import {
  type AioConfigError,
  Auth,
  type HeartbeatAck,
  isNotFound,
  type NewInstance,
  Registry,
  ServiceId,
  type ServiceWithInstances
} from "effect-aio"

/** One way of keeping `Auth` and `Registry`: a layer, and how time is made to pass for it. */
export interface Subject {
  readonly name: string
  readonly layer: Layer.Layer<Auth | Registry, AioConfigError>
  readonly elapse: (duration: Duration.DurationInput) => Effect.Effect<void>
  /** Whether the layer needs real time. */
  readonly live: boolean
}

const instance = (serviceId: ServiceId, changes: Partial<NewInstance> = {}): NewInstance => ({
  serviceId,
  instanceKey: "a",
  env: "dev",
  host: "10.0.0.1",
  httpPort: 8080,
  ...changes
})

const orders = Effect.flatMap(Registry, (registry) =>
  Effect.map(registry.ensureService({ project: "shop", name: "orders" }), ({ service }) => service)
)

const keysOf = (services: ReadonlyArray<ServiceWithInstances>) =>
  services.flatMap(({ instances }) => instances.map(({ instanceKey }) => instanceKey)).sort()

const heartbeat = Effect.fnUntraced(function* (...keys: ReadonlyArray<{ serviceId: ServiceId; instanceKey: string }>) {
  const registry = yield* Registry
  return [...(yield* Stream.runCollect(registry.heartbeats(Stream.fromIterable(keys))))]
})

/** What every `Auth` promises, whatever keeps it. */
const auth = (test: Test) => {
  test("gives the same token until it is invalidated", () =>
    Effect.gen(function* () {
      const auth = yield* Auth
      const first = yield* auth.token
      assert.isAbove(Redacted.value(first.value).length, 0)
      assert.strictEqual((yield* auth.token).generation, first.generation)
      yield* auth.invalidate(first)
      assert.isAbove((yield* auth.token).generation, first.generation)
    }))

  test("leaves a token alone that has replaced the one invalidated", () =>
    Effect.gen(function* () {
      const auth = yield* Auth
      const old = yield* auth.token
      yield* auth.invalidate(old)
      const present = yield* auth.token
      yield* auth.invalidate(old)
      assert.strictEqual((yield* auth.token).generation, present.generation)
    }))

  test("never shows a token", () =>
    Effect.gen(function* () {
      const token = yield* Effect.flatMap(Auth, ({ token }) => token)
      assert.notInclude(`${JSON.stringify(token)}${String(token.value)}`, Redacted.value(token.value))
    }))
}

const services = (test: Test) => {
  test("creates a service once, and returns an existing one unchanged", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const spec = { replicas: 3, nested: { b: [1, 2], a: "<&>" } }
      const first = yield* registry.ensureService({ project: "shop", name: "orders", owner: "team-a", spec })
      const second = yield* registry.ensureService({ project: "shop", name: "orders", owner: "team-b" })
      assert.deepStrictEqual([first.created, second.created], [true, false])
      assert.deepStrictEqual(second.service, first.service)
      assert.deepStrictEqual(second.service.spec, spec)
    }))

  test("lists services newest first, those without instances as well, filtered by project and env", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const first = yield* orders
      yield* registry.ensureService({ project: "shop", name: "payments" })
      yield* registry.ensureService({ project: "bank", name: "ledger" })
      yield* registry.registerInstance(instance(first.id))
      yield* registry.registerInstance(instance(first.id, { instanceKey: "b", env: "prod" }))
      const names = (yield* registry.listServices({ project: "shop" })).map(({ service }) => service.name)
      assert.deepStrictEqual(names, ["payments", "orders"])
      assert.strictEqual((yield* registry.listServices()).length, 3)
      assert.deepStrictEqual(keysOf(yield* registry.listServices({ project: "shop", env: "prod" })), ["b"])
      assert.deepStrictEqual(keysOf([yield* registry.getService(first.id)]), ["a", "b"])
    }))

  test("answers NOT_FOUND for a service that it does not know", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const unknown = ServiceId.make("9007199254740993")
      const got = yield* Effect.flip(registry.getService(unknown))
      const registered = yield* Effect.flip(registry.registerInstance(instance(unknown)))
      assert.isTrue(isNotFound(got) && isNotFound(registered))
      assert.notInclude(got.message, "\n")
    }))
}

const instances = (test: Test) => {
  test("gives an instance back as it was registered", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const endpoints = [{ host: "10.1.0.1", network: "internal", priority: 1 }]
      const meta = { zone: "a", weight: 10, deep: { list: [1, null, "é"] } }
      const lease = yield* registry.registerInstance(
        instance(id, { endpoints, meta, grpcPort: 9090, ttl: "90 seconds" })
      )
      assert.deepStrictEqual(lease.key, { serviceId: id, instanceKey: "a" })
      const [found] = (yield* registry.getService(id)).instances
      assert.deepInclude<object>({ ...found }, { ...instance(id), endpoints, meta, grpcPort: 9090, ttlSeconds: 90 })
      assert.strictEqual((found?.lastHeartbeatAt ?? 0) + 90_000, lease.expiresAt)
    }))

  test("replaces the record of a key, and keeps its id", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      yield* registry.registerInstance(instance(id, { meta: { version: 1 } }))
      const [before] = (yield* registry.getService(id)).instances
      yield* registry.registerInstance(instance(id, { host: "10.0.0.2" }))
      const [after, ...others] = (yield* registry.getService(id)).instances
      assert.deepStrictEqual(others, [])
      assert.deepInclude<object>(
        { ...after },
        { id: before?.id, host: "10.0.0.2", endpoint: "10.0.0.2:8080", meta: {} }
      )
    }))

  test("takes a deregistered instance off the lists, twice and unknown ones without complaint", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const { key } = yield* registry.registerInstance(instance(id))
      yield* registry.deregisterInstance(key)
      yield* registry.deregisterInstance(key)
      yield* registry.deregisterInstance({ serviceId: ServiceId.make("99"), instanceKey: "nope" })
      assert.deepStrictEqual(keysOf(yield* registry.listServices()), [])
    }))

  test("refuses what the server would, before anything is sent, naming the field", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const refused = yield* Effect.forEach(
        [
          registry.ensureService({ project: "", name: "x" }),
          registry.ensureService({ project: "p", name: "n".repeat(65) }),
          registry.registerInstance(instance(id, { env: "" })),
          registry.registerInstance({ serviceId: id, instanceKey: "a", env: "dev", host: "h" }),
          registry.registerInstance(instance(id, { ttl: "2 seconds" })),
          registry.registerInstance(instance(id, { httpPort: 70_000 })),
          registry.deregisterInstance({ serviceId: id, instanceKey: "" }),
          Stream.runDrain(registry.heartbeats(Stream.make({ serviceId: id, instanceKey: "" })))
        ],
        (call) => Effect.flip(call)
      )
      const fields = refused.map((error) => (error._tag === "AioConfigError" ? error.field : error.message))
      assert.deepStrictEqual(fields, [
        "service.project",
        "service.name",
        "instance.env",
        "instance.endpoint",
        "instance.ttl",
        "instance.httpPort",
        "key.instanceKey",
        "key.instanceKey"
      ])
    }))
}

const heartbeats = (test: Test, elapse: Subject["elapse"]) => {
  test("answers heartbeats in their order, of several services, 0 for a lease that does not exist", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const { service } = yield* registry.ensureService({ project: "shop", name: "payments" })
      yield* registry.registerInstance(instance(id))
      yield* registry.registerInstance(instance(service.id, { instanceKey: "b", ttl: "30 seconds" }))
      const a = { serviceId: id, instanceKey: "a" }
      const b = { serviceId: service.id, instanceKey: "b" }
      const unknown = { serviceId: id, instanceKey: "b" }
      const acks = yield* heartbeat(a, b, unknown, a)
      assert.deepStrictEqual(
        acks.map(({ expiresAt, key }) => [key, expiresAt > 0]),
        [
          [a, true],
          [b, true],
          [unknown, false],
          [a, true]
        ]
      )
      for (const { receivedAt, sentAt } of acks) assert.isAtLeast(receivedAt, sentAt)
    }))

  test("ends when the heartbeats end, also without any", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* heartbeat(), [])
    }))

  test("fails with the heartbeats' own error", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const error = yield* Effect.flip(Stream.runDrain(registry.heartbeats(Stream.fail("mine" as const))))
      assert.strictEqual(error, "mine")
    }))

  test("answers each heartbeat while the stream stays open", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const { key } = yield* registry.registerInstance(instance(id))
      const heartbeats = yield* Queue.unbounded<typeof key>()
      const acks = yield* Queue.unbounded<HeartbeatAck>()
      const stream = yield* registry.heartbeats(Stream.fromQueue(heartbeats)).pipe(
        Stream.runForEach((ack) => Queue.offer(acks, ack)),
        Effect.fork
      )
      for (const _ of [1, 2, 3]) {
        yield* Queue.offer(heartbeats, key)
        assert.deepStrictEqual((yield* Queue.take(acks)).key, key)
      }
      yield* Fiber.interrupt(stream)
    }))

  test("lists an instance for its ttl after its last heartbeat, and again after a later one", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const { key } = yield* registry.registerInstance(instance(id, { ttl: "3 seconds" }))
      yield* elapse("2 seconds")
      yield* heartbeat(key)
      yield* elapse("2 seconds")
      assert.deepStrictEqual(keysOf(yield* registry.listServices()), ["a"])
      yield* elapse("2 seconds")
      assert.deepStrictEqual(keysOf(yield* registry.listServices()), [])
      yield* heartbeat(key)
      assert.deepStrictEqual(keysOf(yield* registry.listServices()), ["a"])
    }))

  test("never renews a key that was deregistered, though registering it succeeds", () =>
    Effect.gen(function* () {
      const registry = yield* Registry
      const { id } = yield* orders
      const { key } = yield* registry.registerInstance(instance(id))
      yield* registry.deregisterInstance(key)
      yield* registry.registerInstance(instance(id))
      assert.deepStrictEqual(keysOf(yield* registry.listServices()), ["a"])
      const [ack] = yield* heartbeat(key)
      assert.strictEqual(ack?.expiresAt, 0)
    }))
}

type Test = (name: string, run: () => Effect.Effect<unknown, unknown, Auth | Registry>) => void

/** What `Auth` and `Registry` promise. Every test has a registry of its own. */
export const suite = ({ elapse, layer, live, name }: Subject): void => {
  describe(name, () => {
    const run = live ? it.scopedLive : it.scoped
    const test: Test = (title, body) => run(title, () => Effect.provide(body(), Layer.fresh(layer)))
    describe("Auth", () => auth(test))
    describe("Registry: services", () => services(test))
    describe("Registry: instances", () => instances(test))
    describe("Registry: heartbeats", () => heartbeats(test, elapse))
  })
}
