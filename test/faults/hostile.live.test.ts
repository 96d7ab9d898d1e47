import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, LogLevel, type Scope } from "effect"
import { Aio } from "effect-aio"
import { busyClock } from "../support/busyClock.js"
import { encodeList } from "../support/listWire.js"
import * as Odd from "../support/oddServer.js"

const service = { id: "7", project: "shop", name: "orders" }
const orders = { project: "shop", name: "orders" }

const instance = (instance_key: string, overrides: object = {}) => ({
  id: "1",
  service_id: "7",
  instance_key,
  env: "test",
  host: "10.0.0.1",
  endpoint: "10.0.0.1:80",
  ttl_seconds: "60",
  ...overrides
})

const gzipped = (bytes: Buffer): Odd.Answer => Odd.compressed("gzip", gzipSync(bytes))

/** A client of a registry that answers everything with this; the lines of its log, down to Debug. */
const answered = (answer: Odd.Answer, options: Pick<Aio.Options, "deadline"> = {}) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push([message].flat().join(" ")))
    const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      effect.pipe(Logger.withMinimumLogLevel(LogLevel.Debug), Effect.provide(Logger.add(logger)))
    const { address } = yield* Odd.make({ answer })
    const aio = yield* logged(Aio.make({ address, env: "test", auth: "disabled", ...options }))
    return { aio, lines, logged }
  })

const assertPlain = (lines: ReadonlyArray<string>) => {
  for (const line of lines) {
    assert.notMatch(line, /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u)
    assert.isAtMost(line.length, 2_000)
  }
}

/** CPU and heap that an effect takes, in milliseconds and bytes. */
const costOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const cpu = process.cpuUsage()
    const heap = process.memoryUsage().heapUsed
    return Effect.map(effect, (value) => {
      const { system, user } = process.cpuUsage(cpu)
      return { value, cpuMillis: (system + user) / 1_000, heapBytes: process.memoryUsage().heapUsed - heap }
    })
  })

const MEGABYTE = 1_000_000

const live = (sentence: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(sentence, () => Effect.provide(body, Logger.remove(Logger.defaultLogger)), 60_000)

describe("scenario 52: what a peer or a registry says is hostile", () => {
  live(
    "a kilobyte that inflates to 500,000 empty records fails, typed and soon, and takes no memory",
    Effect.gen(function* () {
      const bomb = Odd.compressed("gzip", gzipSync(Buffer.alloc(MEGABYTE, Buffer.from([0x0a, 0x00])), { level: 9 }))
      assert.isBelow(bomb.body[0]?.length ?? 0, 1_100)
      const { aio, lines, logged } = yield* answered(bomb, { deadline: "2 seconds" })
      const { cpuMillis, heapBytes, value } = yield* costOf(logged(Effect.flip(aio.registry.listServices())))
      assert.strictEqual(value._tag, "AioWireError")
      assert.include(value.message, "more than 1000 of its parts do not decode")
      // Measured: 0.2 s and 10 MB; 57 s and 2 GB before.
      assert.isBelow(cpuMillis, 5_000)
      assert.isBelow(heapBytes, 200 * MEGABYTE)
      assertPlain([...lines, value.message])
    })
  )

  live(
    "reading ends at the deadline of the call, and no step is done after it",
    Effect.gen(function* () {
      // A million small good records.
      const record = Buffer.from([0x12, 0x05, 0x10, 0x07, 0x1a, 0x01, 0x6b])
      const records = Buffer.alloc(990_000 * record.length, record)
      const length = Buffer.from([0, 1, 2, 3].map((i) => ((records.length >>> (7 * i)) & 0x7f) | (i < 3 ? 0x80 : 0)))
      const { aio } = yield* answered(gzipped(Buffer.concat([Buffer.from([0x0a]), length, records])))
      const { clock, looks } = busyClock(10)
      const error = yield* aio.registry
        .listServices()
        .pipe(Aio.withDeadline("500 millis"), Effect.flip, Effect.withClock(clock))
      assert.propertyVal(error, "code", 4)
      assert.include(error.message, "was not read before the deadline")
      const then = looks()
      yield* Effect.sleep("100 millis")
      assert.strictEqual(looks(), then)
    })
  )

  live(
    "heartbeats and timers of the process go on while a record of 4 MB is read, and the good ones are served",
    Effect.gen(function* () {
      const endpoint = '{"host":"10.0.0.1","network":"internal","priority":9007199254740993}'
      const answer = encodeList({
        services: [
          {
            service,
            instances: [
              instance("hostile", { endpoints_json: `[${Array<string>(75_000).fill(endpoint).join()}]` }),
              instance("fat", { meta_json: `{"a":"${"x".repeat(3 * MEGABYTE)}"}` }),
              instance("deep", { meta_json: '{"a":'.repeat(100_000) }),
              instance("no host", { host: "10.0.0.1,10.0.0.2", endpoint: "user@10.0.0.1:80", http_port: "80" }),
              instance("no address", { host: "", endpoint: "" }),
              instance("good")
            ]
          }
        ]
      })
      const { aio, lines, logged } = yield* answered(Odd.messages(answer))
      let longest = 0
      const ticking = yield* Effect.fork(
        Effect.forever(
          Effect.suspend(() => {
            const before = performance.now()
            return Effect.map(Effect.sleep("1 millis"), () => {
              longest = Math.max(longest, performance.now() - before)
            })
          })
        )
      )
      const { instances } = yield* logged(aio.discovery.resolve(orders))
      yield* Fiber.interrupt(ticking)
      // Measured: 30 ms, of which grpc-js has the most; 13,000 before.
      assert.isBelow(longest, 1_000)
      assert.deepStrictEqual(
        instances.map(({ endpoints, instanceKey, meta }) => [instanceKey, endpoints.length, Object.keys(meta).length]),
        [
          ["deep", 0, 0],
          ["fat", 0, 0],
          ["good", 0, 0],
          ["hostile", 0, 0],
          ["no address", 0, 0],
          ["no host", 0, 0]
        ]
      )
      const picked = new Set<string>()
      for (let i = 0; i < 20; i++) picked.add((yield* aio.discovery.pick(orders)).instance.instanceKey)
      assert.deepStrictEqual([...picked].sort(), ["deep", "fat", "good", "hostile"])
      assertPlain(lines)
    })
  )
})
