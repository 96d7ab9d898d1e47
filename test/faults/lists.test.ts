import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, type Scope, TestClock } from "effect"
import { Aio, ServiceId, StatusCode } from "effect-aio"
import { Simulator, layer as simulatorLayer } from "effect-aio/Simulator"
import * as Methods from "../../src/grpc/Methods.js"
import type { AioError } from "../../src/schemas/AioError.js"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import * as Metrics from "../../src/telemetry/Metrics.js"
import { busyClock } from "../support/busyClock.js"
import { given } from "../support/discoveryWorld.js"
import { encodeGet, encodeList } from "../support/listWire.js"
import { read as readMetric } from "../support/metrics.js"
import { aService } from "../support/scriptedRegistry.js"
import { grpcServer } from "../support/wireServers.js"

const quiet = Logger.remove(Logger.defaultLogger)

const service = (name: string, overrides: object = {}) => ({
  id: "9007199254740993",
  project: "shop",
  name,
  created_at: "1735689600",
  updated_at: "1735689600",
  ...overrides
})

const instance = (instance_key: string, overrides: object = {}) => ({
  id: "9223372036854775807",
  service_id: "9007199254740993",
  instance_key,
  env: "test",
  host: "10.0.0.1",
  endpoint: "10.0.0.1:8080",
  meta_json: '{"zone":"a"}',
  ttl_seconds: "60",
  last_heartbeat_at: "1735689660",
  created_at: "1735689600",
  endpoints_json: '[{"host":"10.0.0.1","network":"internal","priority":1}]',
  http_port: "8080",
  grpc_port: "9090",
  updated_at: "1735689600",
  ...overrides
})

/** A registry that answers with these bytes, and a client of it. */
const answering = (answers: { list: Buffer; readonly get?: Buffer }, options: Pick<Aio.Options, "tuning"> = {}) =>
  Effect.gen(function* () {
    const { address } = yield* grpcServer({
      unary: {
        [Methods.registry.listServices.path]: (_, reply) => reply(null, answers.list),
        [Methods.registry.getServiceByID.path]: (_, reply) => reply(null, answers.get ?? Buffer.alloc(0))
      }
    })
    return yield* Aio.make({ address, env: "test", auth: "disabled", ...options })
  })

const skips = (message: string, field: string) =>
  Effect.map(readMetric(Metrics.decodeSkips, { message, field }), ({ count }) => Number(count))

const live = <A>(sentence: string, body: Effect.Effect<A, AioError, Scope.Scope>, millis = 20_000) =>
  it.scopedLive(sentence, () => Effect.provide(body, quiet), millis)

describe("an answer of the registry that is not as it should be", () => {
  live(
    'scenario 7: `meta_json: "{"`, `endpoints_json: "x"`, negative ports, a missing service, ids above 2^53, unknown fields: the bad instance or only its bad field is skipped and counted, the rest is served',
    Effect.gen(function* () {
      const counted = Effect.all([
        skips("Instance", "meta_json"),
        skips("Instance", "endpoints_json"),
        skips("Instance", "http_port"),
        skips("Instance", "grpc_port"),
        skips("Instance", "instance_key"),
        skips("Service", "(message)")
      ])
      const before = yield* counted
      const unknown = Buffer.from([0x7a, 0x03, 0x08, 0x01, 0x0a, 0x78, 0x05])
      const list = encodeList({
        services: [
          {
            service: service("orders"),
            instances: [
              instance("a-good"),
              instance("b-meta", { meta_json: "{" }),
              instance("c-endpoints", { endpoints_json: "x" }),
              instance("d-ports", { http_port: "-1", grpc_port: "65536" }),
              instance(""),
              instance("e-good")
            ]
          },
          { instances: [instance("nobody's")] }
        ]
      })
      const aio = yield* answering({ list: Buffer.concat([unknown, list, unknown]) })
      const { instances } = yield* aio.discovery.resolve({ project: "shop", name: "orders" })
      assert.deepStrictEqual(
        instances.map(({ endpoints, grpcPort, httpPort, instanceKey, meta }) => [
          instanceKey,
          endpoints.length,
          httpPort,
          grpcPort,
          Object.keys(meta).length
        ]),
        [
          ["a-good", 1, 8080, 9090, 1],
          ["b-meta", 1, 8080, 9090, 0],
          ["c-endpoints", 0, 8080, 9090, 1],
          ["d-ports", 1, undefined, undefined, 1],
          ["e-good", 1, 8080, 9090, 1]
        ]
      )
      assert.deepStrictEqual([instances[0]?.id, instances[0]?.serviceId], ["9223372036854775807", "9007199254740993"])
      const after = yield* counted
      assert.deepStrictEqual(
        after.map((count, i) => count - (before[i] ?? 0)),
        [1, 1, 1, 1, 1, 1]
      )
    })
  )

  live(
    "a key that comes twice in one list counts once, and instances of other envs are not given",
    Effect.gen(function* () {
      const aio = yield* answering({
        list: encodeList({
          services: [
            {
              service: service("orders"),
              instances: [
                instance("twice", { host: "10.0.0.1", updated_at: "1735689601" }),
                instance("elsewhere", { env: "prod" }),
                instance("twice", { host: "10.0.0.2", updated_at: "1735689602" }),
                instance("once")
              ]
            }
          ]
        })
      })
      const { instances } = yield* aio.discovery.resolve({ project: "shop", name: "orders" })
      assert.deepStrictEqual(
        instances.map(({ host, instanceKey }) => [instanceKey, host]),
        [
          ["once", "10.0.0.1"],
          ["twice", "10.0.0.2"]
        ]
      )
    })
  )

  live(
    "bytes that are cut off, or none of a list at all, are an AioWireError for the list and for the single service",
    Effect.gen(function* () {
      const list = encodeList({ services: [{ service: service("orders"), instances: [instance("a")] }] })
      const get = encodeGet({ service: { service: service("orders") } })
      for (const spoil of [(bytes: Buffer) => bytes.subarray(0, -3), () => Buffer.from("no protobuf")]) {
        const aio = yield* answering({ list: spoil(list), get: spoil(get) })
        const calls = [
          aio.registry.listServices(),
          Effect.map(aio.registry.getService(ServiceId.make("7")), (one) => [one])
        ]
        for (const error of yield* Effect.forEach(calls, Effect.flip).pipe(Effect.orDie)) {
          assert.deepStrictEqual([error._tag, "field" in error && error.field], ["AioWireError", "(bytes)"])
        }
      }
    })
  )

  live(
    "garbage in place of the next list leaves what is known in service",
    Effect.gen(function* () {
      const answers = { list: encodeList({ services: [{ service: service("orders"), instances: [instance("a")] }] }) }
      const aio = yield* answering(answers)
      const orders = { project: "shop", name: "orders" }
      yield* aio.discovery.resolve(orders)
      answers.list = Buffer.from("no protobuf")
      yield* Effect.sleep("1100 millis")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(aio.discovery.refresh(orders))))
      const { instances } = yield* aio.discovery.resolve(orders)
      assert.lengthOf(instances, 1)
    })
  )

  live(
    "a list beyond the receive limit fails with a sentence that says what to set, and is not asked for again and again",
    Effect.gen(function* () {
      const list = encodeList({ services: [{ service: service("orders"), instances: [instance("a")] }] })
      let asked = 0
      const answers = {
        get list() {
          asked++
          return list
        }
      }
      const aio = yield* answering(answers, { tuning: { transport: { maxReceiveBytes: 100 } } })
      const error = yield* Effect.orDie(Effect.flip(aio.registry.listServices()))
      assert.strictEqual(error._tag === "AioRpcError" && error.code, StatusCode.StatusCode.RESOURCE_EXHAUSTED)
      assert.include(error.message, `the answer has ${list.length} bytes, and 100 are accepted: set maxReceiveBytes`)
      assert.strictEqual(asked, 1)
    })
  )
})

/** Even a small list is cut into slices. */
const slowMachine = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => Effect.withClock(effect, busyClock(1).clock))

const large = (name: string) =>
  encodeList({
    services: Array.from({ length: 20 }, (_, index) => ({
      service: service(`${name}-${index}`),
      instances: Array.from({ length: 100 }, (_, key) => instance(`${name}-${key}`))
    }))
  })

describe("a list that is being sliced", () => {
  live(
    "is whole as it was sent, whatever is listed meanwhile",
    Effect.gen(function* () {
      const answers = { list: large("old") }
      const aio = yield* answering(answers)
      const first = yield* Effect.fork(slowMachine(aio.registry.listServices()))
      answers.list = large("new")
      const second = yield* Effect.fork(slowMachine(aio.registry.listServices()))
      const third = yield* Effect.fork(slowMachine(aio.registry.listServices()))
      for (const services of yield* Effect.all([Fiber.join(first), Fiber.join(second), Fiber.join(third)])) {
        assert.lengthOf(services, 20)
        const names = new Set(
          services.flatMap(({ instances }) => instances.map(({ instanceKey }) => instanceKey.slice(0, 3)))
        )
        assert.strictEqual(names.size, 1)
        assert.isTrue(services.every(({ instances }) => instances.length === 100))
      }
    })
  )

  live(
    "is let go of when its caller is interrupted, at once",
    Effect.gen(function* () {
      const aio = yield* answering({ list: large("old") })
      // So slow a machine that every step is a slice.
      const { clock, looks } = busyClock(10)
      const fiber = yield* Effect.fork(Effect.withClock(aio.registry.listServices(), clock))
      // Some way into the list, which takes more than a hundred looks at the clock.
      yield* Effect.async<void>((resume) => {
        const look = () => (looks() > 40 ? resume(Effect.void) : void setImmediate(look))
        look()
      })
      const exit = yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isInterrupted(exit))
      const then = looks()
      yield* Effect.sleep("20 millis")
      assert.strictEqual(looks(), then)
    })
  )
})

const SERVICES = 5_000

/** A control plane that has 5,000 services from the start: registering them over the wire would take a minute. */
const crowded = (instancesEach: number) =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      const store = yield* RegistryStore.makeMemory()
      for (let index = 0; index < SERVICES; index++) {
        const { service } = yield* store.ensureService({ project: "shop", name: `service-${index}`, owner: "team-a" })
        for (let one = 0; one < instancesEach; one++) {
          const host = `10.${index >> 8}.${index & 255}.${one}`
          yield* store.registerInstance({
            service_id: service?.id ?? "",
            instance_key: `service-${index}-7f9c4d-${one}-1735689600-k3x9`,
            env: "test",
            host,
            endpoint: `${host}:8080`,
            endpoints_json: `[{"host":"${host}","network":"internal","priority":1}]`,
            meta_json: `{"commit":"0123456789abcdef0123456789abcdef01234567","version":"1.4.${index}","zone":"eu-1a"}`,
            ttl_seconds: "3600",
            http_port: "8080",
            grpc_port: "9090"
          })
        }
      }
      return simulatorLayer({ store })
    }).pipe(Effect.orDie)
  )

describe("scenario 21: 5,000 services", () => {
  it.scopedLive.each([3, 10])(
    "with %d instances each: one list, no RESOURCE_EXHAUSTED, however many services are resolved",
    (instancesEach) =>
      Effect.gen(function* () {
        const { address, control, credentials } = yield* Simulator
        const aio = yield* Aio.make({ address, ...credentials, env: "test" })
        let found = 0
        for (let index = 0; index < SERVICES; index++) {
          const { instances } = yield* aio.discovery.resolve({ project: "shop", name: `service-${index}` })
          found += instances.length
        }
        assert.strictEqual(found, SERVICES * instancesEach)
        const calls = yield* control.calls
        assert.lengthOf(
          calls.filter(({ method }) => method === "listServices"),
          1
        )
        assert.lengthOf(
          calls.filter(({ method }) => method === "getService"),
          0
        )
      }).pipe(Effect.provide(crowded(instancesEach)), Effect.provide(quiet)),
    60_000
  )

  given("are refreshed by one list per 30 seconds, however many of them are resolved", ({ discovery, registry }) =>
    Effect.gen(function* () {
      const names = Array.from({ length: SERVICES }, (_, index) => `service-${index}`)
      registry.answers(...names.map((name) => aService(name, ["a", "b", "c"])))
      for (let minute = 0; minute < 4; minute++) {
        for (const name of names) yield* discovery.resolve({ project: "shop", name })
        yield* TestClock.adjust("30 seconds")
      }
      assert.isAtLeast(registry.lists(), 4)
      assert.isAtMost(registry.lists(), 5)
      assert.strictEqual(registry.calls().length, registry.lists())
    })
  )
})
