/** Where Effect 3 and Effect 4 differ under one name, and a user would feel it. These tests run on both lines. */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Deferred, Effect, Exit, Fiber, Option, Redacted, TestClock } from "effect"
import * as Slices from "../../src/internal/slices.js"
import * as Aio from "../../src/layers/Aio.js"
import * as BalancingOptions from "../../src/layers/balancing/BalancingOptions.js"
import * as Clients from "../../src/layers/balancing/Clients.js"
import * as HealthChecker from "../../src/layers/balancing/HealthChecker.js"
import * as ServiceBalancer from "../../src/layers/balancing/ServiceBalancer.js"
import { RegistryMemory } from "../../src/layers/RegistryMemory.js"
import { AioConfigError, AioLeaseStopped, AioNoInstances, AioRpcError } from "../../src/schemas/AioError.js"
import { Auth } from "../../src/services/Auth.js"
import { Discovery } from "../../src/services/Discovery.js"
import * as DiscoveryWorld from "../support/discoveryWorld.js"
import { orders, registerSelf, test, unavailable } from "../support/leaseWorld.js"
import { aService } from "../support/scriptedRegistry.js"

/** All that other fibers have to do without time passing. */
const settled = Effect.forEach(Array.from({ length: 20 }), () => Slices.turn, { discard: true })

const errors = {
  AioConfigError: new AioConfigError({ field: "ttl", problem: "is 0", expected: "10 to 300 seconds" }),
  AioRpcError: new AioRpcError({ method: "m", code: 14, details: "away" }),
  AioNoInstances: new AioNoInstances({ project: "p", serviceName: "orders", env: "test" }),
  AioLeaseStopped: new AioLeaseStopped({ serviceName: "orders", instanceKey: "a", reason: "its layer was closed" })
}

describe("errors", () => {
  for (const [name, error] of Object.entries(errors)) {
    it(`${name} says its name, its message and where it was made`, () => {
      assert.strictEqual(error.name, name)
      assert.strictEqual(String(error), `${name}: ${error.message}`)
      assert.include(error.stack, `${name}: ${error.message}`)
      const shown = inspect(error)
      assert.include(shown, `${name}: ${error.message}`)
      assert.include(shown, "Lines.test.ts")
    })
  }
})

describe("health checks", () => {
  it.live("end when their service is dropped, however many lists they are behind", () =>
    Effect.gen(function* () {
      const service = serviceBalancer()
      const fiber = yield* Effect.fork(HealthChecker.run(service, healthSettings))
      yield* settled
      // The first wakes them, the second waits, the last ends them.
      for (const listener of service.listeners) {
        listener([])
        listener([])
        listener(undefined)
      }
      yield* settled
      const ended = yield* Fiber.poll(fiber)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Option.isSome(ended))
    })
  )
})

describe("client", () => {
  it.live("is kept where one of a former stay of the same instance fails to be made", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const fail = yield* Deferred.make<never, "no client">()
        let made = 0
        const clients = yield* Clients.make(() =>
          Effect.suspend(() => (++made === 1 ? Deferred.await(fail) : Effect.succeed(made)))
        )
        // An object of its own each time, with the same in it.
        const client = Effect.scoped(Effect.suspend(() => clients.get(target())))
        const former = yield* Effect.fork(Effect.exit(client))
        yield* settled
        clients.retain(() => false)
        yield* settled
        assert.strictEqual(yield* client, 2)
        yield* Deferred.fail(fail, "no client")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(former)))
        yield* settled
        assert.strictEqual(yield* client, 2)
        assert.strictEqual(made, 2)
      })
    )
  )
})

describe("a strategy", () => {
  it("may be a class with a static make", () => {
    const Mine = Object.assign(function Mine() {}, { make: () => ServiceBalancer.make })
    assert.strictEqual(String(BalancingOptions.settings({ balancing: Mine as never })._tag), right)
  })
})

/** `Right`, which is `Success` on Effect 4. */
const right = String(BalancingOptions.settings({})._tag)

const healthSettings = {} as HealthChecker.Settings

const serviceBalancer = (): ServiceBalancer.ServiceBalancer =>
  ({
    project: "shop",
    name: "orders",
    listeners: new Set(),
    isDropped: false,
    picks: 0,
    healthProblems: new Map(),
    balancer: { members: { listing: { instances: [] } } }
  }) as never

const target = () =>
  ({ instance: { instanceKey: "a", id: "1" }, httpUrl: undefined, grpcAddress: "10.0.0.1:1" }) as never

// Inside of `acquireRelease`, and of finalizers, nothing can be interrupted.
describe("where nothing can be interrupted", () => {
  test(
    "the startup timeout holds",
    Effect.gen(function* () {
      const { setFailure } = yield* RegistryMemory
      yield* setFailure(Option.some(unavailable))
      const registered = yield* Effect.fork(
        Effect.exit(Effect.uninterruptible(registerSelf({ ...orders, startup: "fail", startupTimeout: "5 seconds" })))
      )
      yield* TestClock.adjust("30 seconds")
      const ended = yield* Fiber.poll(registered)
      yield* setFailure(Option.none())
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(Option.isSome(ended))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(registered)))
    })
  )

  test(
    "awaitReady gives up",
    Effect.gen(function* () {
      const { setFailure } = yield* RegistryMemory
      const discovery = yield* Discovery
      yield* setFailure(Option.some(unavailable))
      const ready = yield* Effect.fork(
        Effect.exit(Effect.uninterruptible(discovery.awaitReady([orders.service], { timeout: "5 seconds" })))
      )
      yield* TestClock.adjust("30 seconds")
      const ended = yield* Fiber.poll(ready)
      yield* setFailure(Option.none())
      yield* TestClock.adjust("2 minutes")
      assert.isTrue(Option.isSome(ended))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(ready)))
    })
  )

  DiscoveryWorld.given("the timeout of an attempt holds", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", ["a"]))
      const go = yield* Deferred.make<void>()
      const used = yield* Effect.fork(
        Effect.exit(
          Effect.uninterruptible(
            discovery.use(DiscoveryWorld.orders, () => Deferred.await(go), { timeout: "2 seconds" })
          )
        )
      )
      yield* TestClock.adjust("10 seconds")
      const ended = yield* Fiber.poll(used)
      yield* Deferred.succeed(go, undefined)
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(Option.isSome(ended))
      assert.isTrue(Exit.isFailure(yield* Fiber.join(used)))
    })
  )
})

const path = "/test.Test/Refuse"
const asIs = (bytes: Buffer): Buffer => bytes
const methods = {
  Refuse: {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs
  }
} as const

/** Answers `NOT_FOUND`, with a trailer. */
const refusing = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly server: grpc.Server }>((resume) => {
    const server = new grpc.Server()
    server.addService(methods, {
      Refuse: (_call: unknown, reply: grpc.sendUnaryData<Buffer>) => {
        const metadata = new grpc.Metadata()
        metadata.set("x-detail", "why")
        reply({ code: grpc.status.NOT_FOUND, details: "no", metadata })
      }
    })
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_error, port) =>
      resume(Effect.succeed({ port, server }))
    )
  }),
  ({ server }) => Effect.sync(() => server.forceShutdown())
)

const call = (port: number, interceptor: grpc.Interceptor) =>
  Effect.async<grpc.ServiceError | null>((resume) => {
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
      interceptors: [interceptor]
    })
    client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), (error) => {
      client.close()
      resume(Effect.succeed(error))
    })
  })

describe("the interceptor", () => {
  it.scopedLive("gives the server's status and trailers, also where it was made under a span", () =>
    Effect.gen(function* () {
      const { port } = yield* refusing
      const token = { value: Redacted.make("t"), expiresAt: Number.MAX_SAFE_INTEGER, acquiredAt: 0, generation: 1 }
      const made = Effect.provideService(Aio.interceptor, Auth, {
        token: Effect.succeed(token),
        invalidate: () => Effect.void
      })
      for (const interceptor of [yield* made, yield* Effect.withSpan(made, "startup")]) {
        const error = yield* call(port, interceptor)
        assert.strictEqual(error?.code, grpc.status.NOT_FOUND)
        assert.strictEqual(error?.details, "no")
        assert.deepStrictEqual(error?.metadata.get("x-detail"), ["why"])
      }
    })
  )
})
