import * as Http from "node:http"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer } from "effect"
import * as Balancing from "../../src/core/balancing/Balancing.js"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as HealthCheck from "../../src/layers/HealthCheck.js"
import * as Address from "../../src/schemas/Address.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { Discovery, type Target } from "../../src/services/Discovery.js"
import { orders } from "../support/discoveryWorld.js"
import { anInstance, aService, scriptedRegistry } from "../support/scriptedRegistry.js"
import { deadPort, grpcServer, tcpServer } from "../support/wireServers.js"

/** An HTTP server on loopback that answers after `delayMillis`, and can be killed. */
const httpServer = (delayMillis = 0, statusOf: (path: string) => number = () => 200) =>
  Effect.acquireRelease(
    Effect.async<{ readonly port: number; readonly kill: Effect.Effect<void> }>((resume) => {
      const server = Http.createServer((request, response) => {
        setTimeout(() => response.writeHead(statusOf(request.url ?? "")).end("hello"), delayMillis)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = address !== null && typeof address === "object" ? address.port : 0
        const kill = Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
        resume(Effect.succeed({ port, kill }))
      })
    }),
    ({ kill }) => kill
  )

const on = (key: string, port: number, overrides: Partial<Instance> = {}): Instance =>
  anInstance(key, { host: "127.0.0.1", endpoint: "", httpPort: port, ...overrides })

const discoveryOf = (instances: ReadonlyArray<Instance>, options: Partial<DiscoveryCached.Options> = {}) =>
  Effect.gen(function* () {
    const registry = scriptedRegistry()
    registry.answers(aService("orders", instances))
    const context = yield* Layer.build(
      Layer.provide(DiscoveryCached.layer({ env: "test", ...options }), registry.layer)
    )
    return Context.get(context, Discovery)
  })

const get = ({ httpUrl }: Target) =>
  Effect.flatMap(HttpClient.get(httpUrl ?? ""), (response) => response.text).pipe(Effect.provide(FetchHttpClient.layer))

const elapsed = Effect.sync(() => performance.now())

describe("three servers", () => {
  for (const balancing of [Balancing.roundRobin, Balancing.peakEwma]) {
    it.scopedLive(
      `one is killed and one hangs: with ${balancing.name}, not one use fails after the first second`,
      () =>
        Effect.gen(function* () {
          const [a, b, hanging] = yield* Effect.all([httpServer(), httpServer(), httpServer(60_000)])
          const instances = [on("a", a.port), on("b", b.port), on("hanging", hanging.port)]
          const discovery = yield* discoveryOf(instances, { balancing })
          const options = { idempotent: true, timeout: "1 second" } as const
          const began = yield* elapsed
          const failed: Array<number> = []
          let answered = 0
          const call = Effect.exit(discovery.use(orders, (_, target) => get(target), options)).pipe(
            Effect.zip(elapsed),
            Effect.map(([exit, at]) => {
              if (Exit.isSuccess(exit)) answered++
              else failed.push(at - began)
            })
          )
          const caller: Effect.Effect<void> = Effect.flatMap(elapsed, (now) =>
            now - began > 5_000 ? Effect.void : Effect.zipRight(Effect.zipRight(call, Effect.sleep("5 millis")), caller)
          )
          const running = yield* Effect.fork(
            Effect.all(
              Array.from({ length: 4 }, () => caller),
              { concurrency: 4 }
            )
          )
          yield* Effect.sleep("300 millis")
          yield* a.kill
          yield* Fiber.join(running)
          assert.isAbove(answered, 10)
          assert.deepStrictEqual(
            failed.filter((at) => at > 1_000),
            []
          )
          // The one that hangs is not ejected beside it: two of three would be out. It is tried, and failed over from.
          const { instances: explained } = yield* discovery.explain(orders)
          assert.notInclude(
            explained.filter(({ isChosen }) => isChosen).map(({ instance }) => instance.instanceKey),
            "a"
          )
        }),
      30_000
    )
  }
})

describe("HealthCheck", () => {
  const ask = (check: HealthCheck.HealthCheck, instance: Instance) =>
    Effect.exit(
      check(instance, {
        instance,
        network: undefined,
        httpUrl: Address.httpUrl(instance),
        grpcAddress: Address.grpcAddress(instance)
      })
    )
  const passes = (check: HealthCheck.HealthCheck, instance: Instance) =>
    Effect.map(ask(check, instance), Exit.isSuccess)

  it.scopedLive("tcp: a listener, none, and no address", () =>
    Effect.gen(function* () {
      let closed = 0
      const { port } = yield* tcpServer((socket) => void socket.on("close", () => closed++))
      const check = HealthCheck.tcp()
      assert.isTrue(yield* passes(check, on("a", port)))
      assert.isTrue(yield* passes(check, anInstance("a", { endpoint: `127.0.0.1:${port}` })))
      assert.isTrue(yield* passes(check, on("a", 1, { grpcPort: port })))
      assert.isFalse(yield* passes(check, on("a", yield* deadPort)))
      assert.isFalse(yield* passes(check, anInstance("a", { endpoint: "" })))
      yield* Effect.repeat(Effect.sleep("10 millis"), { while: () => closed < 3 })
    })
  )

  it.scopedLive("http: a status of 2xx, and none else", () =>
    Effect.gen(function* () {
      const { port } = yield* httpServer(0, (path) => (path === "/health" ? 204 : path === "/ill" ? 503 : 302))
      assert.isTrue(yield* passes(HealthCheck.http(), on("a", port)))
      assert.isFalse(yield* passes(HealthCheck.http({ path: "/ill" }), on("a", port)))
      assert.isFalse(yield* passes(HealthCheck.http(), on("a", yield* deadPort)))
      assert.isFalse(yield* passes(HealthCheck.http(), anInstance("a", { endpoint: "", grpcPort: port })))
      const client = HttpClient.mapRequest(
        yield* Effect.provide(HttpClient.HttpClient, FetchHttpClient.layer),
        HttpClientRequest.appendUrl("")
      )
      assert.isTrue(yield* passes(HealthCheck.http({ client }), on("a", port)))
    })
  )

  it.scopedLive("grpc: SERVING, and none else", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const statuses: Readonly<Record<string, ReadonlyArray<number>>> = {
        "": [8, 1],
        "shop.Orders": [8, 2],
        unknown: [],
        future: [8, 99]
      }
      const { port } = yield* grpcServer({
        unary: {
          "/grpc.health.v1.Health/Check": ({ request }, reply) => {
            const service = request.subarray(2).toString()
            asked.push(service)
            reply(null, Buffer.from(statuses[service] ?? []))
          }
        }
      })
      const { port: other } = yield* grpcServer({ unary: { "/other.Service/Call": () => {} } })
      const at = (port: number) => anInstance("a", { endpoint: "", host: "127.0.0.1", grpcPort: port })
      assert.isTrue(yield* passes(HealthCheck.grpc(), at(port)))
      for (const service of ["shop.Orders", "unknown", "future"]) {
        assert.isFalse(yield* passes(HealthCheck.grpc({ service }), at(port)), service)
      }
      assert.deepStrictEqual(asked, ["", "shop.Orders", "unknown", "future"])
      const exit = yield* ask(HealthCheck.grpc({ service: "shop.Orders" }), at(port))
      assert.include(String(exit), "NOT_SERVING")
      assert.isFalse(yield* passes(HealthCheck.grpc(), at(other)))
      assert.isFalse(yield* passes(HealthCheck.grpc(), at(yield* deadPort)))
      assert.isFalse(yield* passes(HealthCheck.grpc(), on("a", port)))
    })
  )

  it.scopedLive(
    "sends no calls to an unhealthy instance, over real connections",
    () =>
      Effect.gen(function* () {
        const [well, ill] = yield* Effect.all([httpServer(), httpServer(0, () => 503)])
        const instances = [on("ill", ill.port), on("well", well.port)]
        const discovery = yield* discoveryOf(instances, {
          health: { check: HealthCheck.http(), interval: "1 second", unhealthyAfter: 1 }
        })
        const chosen = Effect.map(Effect.zipRight(discovery.pick(orders), discovery.explain(orders)), (explanation) =>
          explanation.instances.filter(({ isChosen }) => isChosen).map(({ instance }) => instance.instanceKey)
        )
        yield* Effect.repeat(Effect.delay(chosen, "20 millis"), { until: (keys) => keys.length === 1 })
        assert.deepStrictEqual(yield* chosen, ["well"])
      }),
    30_000
  )
})
