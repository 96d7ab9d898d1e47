import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Stream, TestClock } from "effect"
import {
  Auth,
  AuthClient,
  AuthMemory,
  Discovery,
  DiscoveryCached,
  Heartbeat,
  HeartbeatStream,
  Registry,
  RegistryMemory
} from "effect-aio"
import * as TokenPort from "../../src/layers/auth/TokenPort.js"
import * as LeasePort from "../../src/layers/lease/LeasePort.js"
import type { AccessToken } from "../../src/schemas/AccessToken.js"

const token: AccessToken = { value: Redacted.make("own"), expiresAt: 0, acquiredAt: 0, generation: 1 }

describe("an Auth of the user's own", () => {
  it.effect("needs the public methods alone", () =>
    Effect.gen(function* () {
      const dropped: Array<AccessToken> = []
      const port = TokenPort.of({
        token: Effect.succeed(token),
        invalidate: (refused) => Effect.sync(() => dropped.push(refused))
      })
      assert.isUndefined(port.unsafeFresh())
      assert.isUndefined(port.unsafeSecondTry(token))
      port.unsafeAccepted(token)
      yield* port.invalidate(token)
      assert.deepStrictEqual(dropped, [token])
      assert.strictEqual(yield* port.token, token)
    })
  )

  it.effect("is asked for its own token when it wraps one of ours", () =>
    Effect.gen(function* () {
      const ours = yield* Auth
      assert.isDefined(TokenPort.of(ours).unsafeFresh())
      const wrapper = TokenPort.of({ ...ours, token: Effect.succeed(token) })
      assert.isUndefined(wrapper.unsafeFresh())
      assert.strictEqual(yield* wrapper.token, token)
    }).pipe(Effect.provide(AuthClient.layerDisabled))
  )

  it.effect("may use `this` when it wraps one of ours", () =>
    Effect.gen(function* () {
      const wrapper = {
        ...(yield* Auth),
        refused: 0,
        invalidate() {
          this.refused++
          return Effect.void
        }
      }
      yield* TokenPort.of(wrapper).invalidate(token)
      assert.strictEqual(wrapper.refused, 1)
    }).pipe(Effect.provide(AuthClient.layerDisabled))
  )
})

describe("a Registry of the user's own", () => {
  it.effect("needs the public methods alone, to find instances and to keep leases", () =>
    Effect.gen(function* () {
      const { registry } = yield* RegistryMemory.make()
      const own: Registry.Service = {
        ensureService: registry.ensureService,
        listServices: registry.listServices,
        getService: registry.getService,
        registerInstance: registry.registerInstance,
        deregisterInstance: registry.deregisterInstance,
        heartbeats: registry.heartbeats
      }
      const world = Layer.merge(HeartbeatStream.layer({ env: "test" }), DiscoveryCached.layer({ env: "test" })).pipe(
        Layer.provide(Layer.merge(Layer.succeed(Registry, own), AuthMemory.layer()))
      )
      yield* Effect.gen(function* () {
        const heartbeat = yield* Heartbeat
        const service = { project: "shop", name: "orders" }
        yield* heartbeat.registerSelf({ service, instance: { host: "10.0.0.1", httpPort: 8080 } })
        yield* TestClock.adjust("3 minutes")
        const { instances } = yield* (yield* Discovery).resolve(service)
        assert.strictEqual(instances.length, 1)
        const registerAtOwnHost = heartbeat.registerSelf({
          service,
          instance: { host: "auto", httpPort: 8080 },
          startup: "fail"
        })
        assert.strictEqual((yield* Effect.flip(registerAtOwnHost))._tag, "AioConfigError")
      }).pipe(Effect.scoped, Effect.provide(world))
    })
  )

  it.effect("keeps the port of one of ours that it wraps", () =>
    Effect.gen(function* () {
      const { registry } = yield* RegistryMemory.make()
      const wrapper = LeasePort.of({ ...registry, heartbeats: () => Stream.empty })
      assert.strictEqual(yield* wrapper.localHost, "127.0.0.1")
    })
  )
})
