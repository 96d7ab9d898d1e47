import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Option, Redacted, Schedule } from "effect"
import * as Simulator from "effect-aio/Simulator"
import * as RegistryStore from "../../src/store/RegistryStore.js"
import { codeOf, given, rawly } from "./faultsWorld.js"

const millisOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([elapsed]) => Duration.toMillis(elapsed))

describe("Simulator: calls that fail", () => {
  given("fails the next calls as told, of one method if one is named, and no more", ({ control, registry, register }) =>
    Effect.gen(function* () {
      yield* control.failNext({ code: 13, details: "broken\nwith a trace" }, 2, "registerInstance")
      yield* registry.listServices()
      const error = yield* Effect.flip(register("a"))
      assert.include(error.message, "INTERNAL: broken")
      assert.strictEqual(yield* codeOf(register("a")), 13)
      yield* register("a")
      yield* control.failNext({ code: 7 })
      assert.include((yield* Effect.flip(registry.listServices())).message, "PERMISSION_DENIED: ordered by a test")
      yield* registry.listServices()
    })
  )

  given("fails everything while a failure stands, or one method alone", ({ control, registry, register }) =>
    Effect.gen(function* () {
      yield* control.setFailure(Option.some({ code: 13 }))
      assert.strictEqual(yield* codeOf(registry.listServices()), 13)
      assert.strictEqual(yield* codeOf(register("a")), 13)
      yield* control.setFailure(Option.none(), "registerInstance")
      yield* register("a")
      yield* control.setFailure(Option.none())
      yield* control.setFailure(Option.some({ code: 5, details: "gone" }), "listServices")
      assert.strictEqual(yield* codeOf(registry.listServices()), 5)
      yield* register("b")
    })
  )

  given("ends an open stream so with its next heartbeat, and a new one when it opens", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats } = yield* rawly(world)
      const { token } = yield* authenticate
      const stream = yield* heartbeats(token)
      yield* stream.heartbeat(world.key("a"))
      yield* stream.next
      yield* world.control.setFailure(Option.some({ code: 14, details: "away" }))
      yield* stream.heartbeat(world.key("a"))
      assert.deepStrictEqual(yield* stream.status, { code: 14, details: "away" })
      assert.deepStrictEqual(yield* (yield* heartbeats(token)).status, { code: 14, details: "away" })
      yield* world.control.setFailure(Option.none())
      assert.deepStrictEqual(yield* world.heartbeat("a"), [0])
    })
  )

  given("breaks a stream whose heartbeat still waits at once, and leaves later ones alone", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats } = yield* rawly(world)
      const stream = yield* heartbeats((yield* authenticate).token)
      yield* stream.heartbeat(world.key("a"))
      yield* stream.next
      yield* world.control.hang(true, "heartbeats")
      yield* stream.heartbeat(world.key("a"))
      yield* Effect.sleep("50 millis")
      yield* world.control.breakStreams({ code: 10 })
      assert.strictEqual((yield* stream.status).code, 10)
      yield* world.control.hang(false)
      assert.deepStrictEqual(yield* world.heartbeat("a"), [0])
    })
  )
})

describe("Simulator: calls that are late", () => {
  given("answers as late as told, one method alone if one is named", ({ control, registry, register }) =>
    Effect.gen(function* () {
      yield* register("a")
      yield* control.setLatency("300 millis", "listServices")
      assert.isAtLeast(yield* millisOf(registry.listServices()), 299)
      yield* control.setLatency("300 millis")
      assert.isAtLeast(yield* millisOf(register("a")), 299)
      yield* control.setLatency(0)
      yield* control.setLatency("1 minute", "listServices")
      const late = yield* Effect.fork(registry.listServices())
      yield* register("a")
      assert.isTrue(Option.isNone(yield* Fiber.poll(late)))
      yield* control.setLatency(0)
      yield* registry.listServices()
    })
  )

  given("lets the heartbeats of one stream wait for each other", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats } = yield* rawly(world)
      const stream = yield* heartbeats((yield* authenticate).token)
      yield* world.control.setLatency("150 millis")
      const elapsed = yield* millisOf(
        Effect.gen(function* () {
          for (const _ of [1, 2, 3]) yield* stream.heartbeat(world.key("a"))
          for (const _ of [1, 2, 3]) yield* stream.next
        })
      )
      assert.isAtLeast(elapsed, 449)
    })
  )

  given("opens a stream at once, however late its heartbeats are answered", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats } = yield* rawly(world)
      const { token } = yield* authenticate
      yield* world.control.setLatency("1 minute")
      const stream = yield* heartbeats(token)
      yield* stream.heartbeat(world.key("a"))
      // Only what is open can be broken.
      const breaking = Effect.forever(Effect.delay(world.control.breakStreams({ code: 10 }), "20 millis"))
      assert.strictEqual((yield* Effect.raceFirst(stream.status, breaking)).code, 10)
    })
  )

  given("answers nothing while it hangs, and all that still waits afterwards", (world) =>
    Effect.gen(function* () {
      const { control, key, registry } = world
      const { authenticate, heartbeats } = yield* rawly(world)
      const stream = yield* heartbeats((yield* authenticate).token)
      yield* control.hang(true)
      const call = yield* Effect.fork(registry.listServices())
      yield* stream.heartbeat(key("a"))
      yield* Effect.sleep("100 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(call)))
      yield* control.hang(false)
      yield* Fiber.join(call)
      yield* stream.next
    })
  )

  given("lets one method hang, and stops in time though it does", ({ control, registry }) =>
    Effect.gen(function* () {
      yield* control.hang(true, "listServices")
      const hanging = yield* Effect.fork(registry.listServices())
      const { service } = yield* registry.ensureService({ project: "shop", name: "payments" })
      assert.strictEqual(service.name, "payments")
      assert.isTrue(Option.isNone(yield* Fiber.poll(hanging)))
    })
  )
})

describe("Simulator: tokens that are refused", () => {
  given("refuses every token, also to renew it, while told to; a stream that is open goes on", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats, list, renew } = yield* rawly(world)
      const { token } = yield* authenticate
      const stream = yield* heartbeats(token)
      yield* stream.heartbeat(world.key("a"))
      yield* stream.next
      yield* world.control.refuseTokens(true)
      for (const outcome of [yield* list(token), yield* renew(token), yield* (yield* heartbeats(token)).status]) {
        assert.deepStrictEqual([outcome.code, outcome.details], [16, "无效的认证令牌"])
      }
      assert.strictEqual((yield* list("")).details, "缺少认证令牌")
      const fresh = yield* authenticate
      assert.strictEqual(fresh.code, 0)
      assert.strictEqual((yield* list(fresh.token)).code, 16)
      yield* stream.heartbeat(world.key("a"))
      yield* stream.next
      yield* world.control.refuseTokens(false)
      assert.strictEqual((yield* list(token)).code, 0)
    })
  )

  given("lets calls through to the client of this library as soon as tokens are good again", (world) =>
    Effect.gen(function* () {
      yield* world.control.refuseTokens(true)
      assert.strictEqual(yield* codeOf(world.registry.listServices()), 16)
      yield* world.control.refuseTokens(false)
      yield* Effect.retry(
        world.registry.listServices(),
        Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(40))
      )
    })
  )

  given("checks so many secrets a second and no more, in the order they came", (world) =>
    Effect.gen(function* () {
      const { authenticate } = yield* rawly(world)
      yield* world.control.authenticationsPerSecond(5)
      const together = Effect.all(
        Array.from({ length: 6 }, () => authenticate),
        { concurrency: "unbounded" }
      )
      const [elapsed, outcomes] = yield* Effect.timed(together)
      assert.isTrue(outcomes.every(({ code }) => code === 0))
      assert.isAtLeast(Duration.toMillis(elapsed), 1_190)
      yield* world.control.authenticationsPerSecond(0.001)
      const late = yield* Effect.fork(together)
      yield* Effect.sleep("100 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(late)))
      yield* world.control.authenticationsPerSecond(undefined)
      yield* Fiber.join(late)
    })
  )
})

describe("Simulator: a clock of its own", () => {
  given("issues tokens by a clock that is behind or ahead, and says so in expires_at", (world) =>
    Effect.gen(function* () {
      const { authenticate, list } = yield* rawly(world)
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
      yield* world.control.setClockOffset(-3_600_000)
      const behind = yield* authenticate
      assert.closeTo(behind.expiresAt, now + 23 * 3_600, 2)
      yield* world.control.setClockOffset(3_600_000)
      const ahead = yield* authenticate
      assert.closeTo(ahead.expiresAt, now + 25 * 3_600, 2)
      yield* world.control.setClockOffset(0)
      assert.strictEqual((yield* list(behind.token)).code, 0)
      assert.strictEqual((yield* list(ahead.token)).code, 16)
      yield* world.control.setClockOffset(25 * 3_600_000)
      assert.strictEqual((yield* list(behind.token)).code, 16)
    })
  )

  given("counts leases by it, and expires a client by it", (world) =>
    Effect.gen(function* () {
      const { authenticate } = yield* rawly(world)
      yield* world.register("a")
      yield* world.control.setClockOffset(61_000)
      assert.deepStrictEqual(yield* world.listed, [[]])
      const [expiresAt = 0] = yield* world.heartbeat("a")
      assert.closeTo(expiresAt, (yield* Clock.currentTimeMillis) + 121_000, 2_000)
      assert.deepStrictEqual(yield* world.listed, [["a"]])
      yield* world.control.expireClient("ck")
      assert.strictEqual((yield* authenticate).code, 16)
      yield* world.control.setClockOffset(0)
      assert.strictEqual((yield* authenticate).code, 0)
    })
  )

  it.scopedLive("one of two replicas whose clock is 2 s behind refuses the fresh tokens of the other", () =>
    Effect.gen(function* () {
      const options: Simulator.Options = {
        clients: [{ clientKey: "ck", clientSecret: Redacted.make("cs") }],
        signingSecret: Redacted.make("one for both"),
        store: yield* RegistryStore.makeMemory()
      }
      const [one, other] = [yield* Simulator.make(options), yield* Simulator.make(options)]
      yield* other.control.setClockOffset(-2_000)
      const { authenticate } = yield* rawly(one)
      const { list } = yield* rawly(other)
      const { token } = yield* authenticate
      assert.strictEqual((yield* list(token)).code, 16)
      yield* Effect.sleep("2100 millis")
      assert.strictEqual((yield* list(token)).code, 0)
    })
  )
})

describe("Simulator: lists that are wrong", () => {
  given("shows no service at all, or services without some of their instances", (world) =>
    Effect.gen(function* () {
      const { control, listed, register, registry, service } = world
      yield* Effect.forEach(["a", "b", "c"], register)
      yield* control.emptyLists(true)
      assert.deepStrictEqual(yield* listed, [])
      assert.strictEqual((yield* registry.getService(service.id)).instances.length, 3)
      yield* control.emptyLists(false)
      yield* control.hideInstances(({ instance_key }, { name }) => name === "orders" && instance_key !== "b")
      assert.deepStrictEqual(yield* listed, [["b"]])
      assert.strictEqual((yield* registry.getService(service.id)).instances.length, 1)
      yield* control.hideInstances(() => true)
      assert.deepStrictEqual(yield* listed, [[]])
      yield* control.hideInstances(undefined)
      assert.deepStrictEqual(yield* listed, [["a", "b", "c"]])
    })
  )

  given("shows records as another implementation might have written them", (world) =>
    Effect.gen(function* () {
      const { control, listed, register, registry } = world
      yield* Effect.forEach(["json", "endpoints", "port", "nameless", "good"], register)
      yield* control.malform({
        instance: ({ instance_key }) => {
          switch (instance_key) {
            case "json":
              return { meta_json: "{" }
            case "endpoints":
              return { endpoints_json: "x" }
            case "port":
              return { http_port: "-1", id: "9007199254740993" }
            case "nameless":
              return { instance_key: "" }
            default:
              return undefined
          }
        }
      })
      const [shop] = yield* registry.listServices()
      const found = new Map(shop?.instances.map((instance) => [instance.instanceKey, instance]))
      assert.isTrue(found.has("good"))
      assert.isFalse(found.has(""))
      assert.deepStrictEqual(found.get("json")?.meta ?? {}, {})
      assert.strictEqual(String(found.get("port")?.id ?? "9007199254740993"), "9007199254740993")
      yield* control.malform({ service: () => null })
      assert.deepStrictEqual(yield* listed, [])
      yield* control.malform(undefined)
      assert.strictEqual((yield* listed)[0]?.length, 5)
    })
  )
})

describe("Simulator: the journal", () => {
  given("notes every call with its client, its lease and its answer", (world) =>
    Effect.gen(function* () {
      const { heartbeat, control, journal, register, registry, service } = world
      yield* control.clearJournal
      const before = yield* Clock.currentTimeMillis
      yield* register("a")
      yield* heartbeat("a")
      yield* registry.getService(service.id)
      yield* control.failNext({ code: 13 })
      yield* Effect.flip(registry.listServices())
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(yield* journal, [
        ["registerInstance", "a", "ck", 0],
        ["heartbeats", "", "ck", 0],
        ["heartbeats", "a", "ck", 0],
        ["getService", "", "ck", 0],
        ["listServices", "", "", 13]
      ])
      const calls = yield* control.calls
      const after = yield* Clock.currentTimeMillis
      assert.isTrue(calls.every(({ at }) => at >= before && at <= after))
      assert.deepStrictEqual(calls[3]?.serviceId, Option.some(service.id))
      yield* control.clearJournal
      assert.deepStrictEqual(yield* journal, [])
    })
  )

  given("notes who authenticates, and whose token is refused", (world) =>
    Effect.gen(function* () {
      const { authenticate, list, renew } = yield* rawly(world)
      yield* world.control.clearJournal
      const { token } = yield* authenticate
      yield* renew(token)
      yield* world.control.refuseTokens(true)
      yield* list(token)
      yield* list("garbage")
      assert.deepStrictEqual(yield* world.journal, [
        ["authenticateClient", "", "ck", 0],
        ["renewToken", "", "ck", 0],
        ["listServices", "", "ck", 16],
        ["listServices", "", "", 16]
      ])
    })
  )

  given("notes what still waits, and what the client did not wait for", (world) =>
    Effect.gen(function* () {
      const { control, journal, key, registry } = world
      const { authenticate, heartbeats } = yield* rawly(world)
      const stream = yield* heartbeats((yield* authenticate).token)
      yield* stream.heartbeat(key("a"))
      yield* stream.next
      yield* control.clearJournal
      yield* control.hang(true)
      const call = yield* Effect.fork(registry.listServices())
      yield* stream.heartbeat(key("a"))
      yield* Effect.sleep("80 millis")
      assert.sameDeepMembers(yield* journal, [
        ["listServices", "", "", "pending"],
        ["heartbeats", "a", "ck", "pending"]
      ])
      yield* Fiber.interrupt(call)
      yield* stream.cancel
      yield* Effect.sleep("80 millis")
      assert.sameDeepMembers(yield* journal, [
        ["listServices", "", "", "interrupted"],
        ["heartbeats", "a", "ck", "interrupted"]
      ])
    })
  )

  given("notes how a stream ended: by the client's end, left while a heartbeat waited, by a failure", (world) =>
    Effect.gen(function* () {
      const { authenticate, heartbeats } = yield* rawly(world)
      const { token } = yield* authenticate
      yield* world.control.clearJournal
      const streams = [yield* heartbeats(token), yield* heartbeats(token), yield* heartbeats(token)]
      for (const stream of streams) {
        yield* stream.heartbeat(world.key("a"))
        yield* stream.next
      }
      const ends = Effect.map(world.journal, (calls) => calls.filter(([, key]) => key === "").map(([, , , end]) => end))
      assert.deepStrictEqual(yield* ends, ["pending", "pending", "pending"])
      const [ended, left, failed] = streams
      if (!ended || !left || !failed) return assert.fail("three streams were opened")
      yield* ended.end
      yield* ended.status
      yield* world.control.hang(true)
      yield* left.heartbeat(world.key("a"))
      yield* Effect.sleep("50 millis")
      yield* left.cancel
      yield* Effect.sleep("50 millis")
      yield* world.control.hang(false)
      yield* world.control.breakStreams({ code: 13 })
      yield* failed.heartbeat(world.key("a"))
      yield* failed.status
      assert.deepStrictEqual(yield* ends, [0, "interrupted", 13])
    })
  )
})
