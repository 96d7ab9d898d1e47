import { createHash } from "node:crypto"
import { SystemError } from "@effect/platform/Error"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Option, Random, Scope, TestClock } from "effect"
import * as Stores from "../../src/internal/stores.js"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as Snapshot from "../../src/layers/view/Snapshot.js"
import { Discovery } from "../../src/services/Discovery.js"
import { busyClock } from "../support/busyClock.js"
import { atOnce, keys, orders, payments } from "../support/discoveryWorld.js"
import { hear } from "../support/logs.js"
import { anInstance, aService, scriptedRegistry, unavailable } from "../support/scriptedRegistry.js"

const KEY = "effect-aio-discovery"

/** A store whose texts can be looked at and spoilt, and which can be made to fail. */
const aStore = () => {
  const texts = new Map<string, string>()
  const state = { texts, writes: 0, get: Effect.void, set: Effect.void } as {
    readonly texts: Map<string, string>
    writes: number
    get: Effect.Effect<void, SystemError>
    set: Effect.Effect<void, SystemError>
  }
  const store = Stores.make({
    get: (key) => Effect.as(state.get, Option.fromNullable(texts.get(key))),
    set: (key, text) =>
      Effect.map(state.set, () => {
        state.writes++
        texts.set(key, text)
      }),
    remove: (key) => Effect.sync(() => texts.delete(key)),
    clear: Effect.sync(() => texts.clear()),
    size: Effect.sync(() => texts.size),
    keys: Effect.sync(() => [...texts.keys()])
  })
  return Object.assign(state, { store })
}

const diskFull = new SystemError({
  reason: "Unknown",
  module: "FileSystem",
  method: "write",
  description: "ENOSPC: no space left on device"
})

/** A process: a layer with its registry, its log from Info on, and an end. */
const aProcess = ({ store }: ReturnType<typeof aStore>, options: Partial<DiscoveryCached.Options> = {}) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const log = hear(({ annotations: { module = "nobody" }, level, message }) =>
      lines.push(`${level} ${module}: ${message}`)
    )
    const registry = scriptedRegistry()
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const layer = DiscoveryCached.layer({ env: "test", snapshot: { store }, ...options }).pipe(
      Layer.provide(registry.layer),
      Layer.provideMerge(log)
    )
    const discovery = Context.get(yield* Layer.buildWithScope(layer, scope), Discovery)
    return { discovery, registry, lines, end: Scope.close(scope, Exit.void) }
  })

/** What a first process, which knew `orders` with `a` and `b`, has left behind. */
const aSnapshot = Effect.gen(function* () {
  const disk = aStore()
  const { discovery, end, registry } = yield* aProcess(disk)
  registry.answers(aService("orders", ["b", anInstance("a", { meta: { zone: "x" }, httpPort: 80 })]))
  yield* discovery.resolve(orders)
  yield* TestClock.adjust("10 seconds")
  yield* end
  return disk
})

/** With the same random numbers each time. */
const given = (what: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scoped(what, () => Effect.withRandom(body, Random.make("seed")))

describe("the snapshot", () => {
  given(
    "is used when the registry cannot be reached at the start, and tells its age",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      yield* TestClock.adjust("1 hour")
      const { discovery, lines, registry } = yield* aProcess(disk)
      registry.fails()
      const resolved = yield* discovery.resolve(orders)
      assert.deepStrictEqual([keys(resolved), resolved.source, resolved.ageMillis], [["a", "b"], "Disk", 3_610_000])
      assert.deepStrictEqual(resolved.instances[0], anInstance("a", { meta: { zone: "x" }, httpPort: 80 }))
      assert.include(["a", "b"], (yield* discovery.pick(orders)).instance.instanceKey)
      assert.strictEqual(yield* Effect.flip(discovery.resolve(payments)), unavailable)
      assert.lengthOf(lines, 2)
      assert.match(lines[0] ?? "", /^WARN DiscoveryCached: .* cannot be fetched: .*UNAVAILABLE/)
      assert.match(lines[1] ?? "", /^WARN DiscoveryCached: .* come from the snapshot, up to 1h 10s old$/)

      // The first answer replaces it as a whole: nothing of it is held.
      registry.answers(aService("orders", ["c"]))
      yield* TestClock.adjust("10 seconds")
      const next = atOnce(discovery.resolve(orders))
      assert.deepStrictEqual([keys(next), next.source], [["c"], "Fresh"])
    })
  )

  given(
    "is not used when the registry answers",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      const { discovery, registry } = yield* aProcess(disk)
      registry.answers(aService("orders", ["c"]))
      const resolved = yield* discovery.resolve(orders)
      assert.deepStrictEqual([keys(resolved), resolved.source], [["c"], "Fresh"])
    })
  )

  given(
    "is used after 2 seconds when the registry is slow, until it answers",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      const { discovery, registry } = yield* aProcess(disk)
      registry.replies(
        Effect.delay(Effect.succeed([aService("orders", ["c"]), aService("payments", ["p"])]), "8 seconds")
      )
      const waiting = yield* Effect.fork(discovery.resolve(orders))
      const other = yield* Effect.fork(discovery.resolve(payments))
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).source, "Disk")
      assert.strictEqual(atOnce(discovery.resolve(orders)).source, "Disk")
      assert.isTrue(Option.isNone(yield* Fiber.poll(other)))
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(keys(yield* Fiber.join(other)), ["p"])
      assert.deepStrictEqual(keys(atOnce(discovery.resolve(orders))), ["c"])
      assert.strictEqual(registry.calls().length, 1)
    })
  )

  given(
    "does not keep a refresh from waiting for the registry's answer, or for its failure",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      const { discovery, registry } = yield* aProcess(disk)
      registry.replies(Effect.delay(Effect.succeed([aService("orders", ["c"])]), "8 seconds"))
      const refreshed = yield* Effect.fork(discovery.refresh(orders))
      yield* TestClock.adjust("8 seconds")
      const resolved = yield* Fiber.join(refreshed)
      assert.deepStrictEqual([keys(resolved), resolved.source], [["c"], "Fresh"])

      const other = yield* aProcess(disk)
      other.registry.replies(Effect.delay(Effect.fail(unavailable), "8 seconds"))
      const failed = yield* Effect.fork(Effect.flip(other.discovery.refresh(orders)))
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(yield* Fiber.join(failed), unavailable)
    })
  )

  given(
    "outlives a second start without the registry",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      for (let i = 0; i < 3; i++) {
        const { discovery, end, registry } = yield* aProcess(disk)
        registry.fails()
        yield* TestClock.adjust("10 minutes")
        const { ageMillis, source } = yield* discovery.resolve(orders)
        assert.deepStrictEqual([source, ageMillis], ["Disk", 610_000 + i * 600_000])
        yield* end
      }
    })
  )

  given(
    "that is older than maxStale is not used",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      yield* TestClock.adjust("2 days")
      const { discovery, registry } = yield* aProcess(disk)
      registry.fails()
      assert.strictEqual(yield* Effect.flip(discovery.resolve(orders)), unavailable)
    })
  )

  const spoilt: ReadonlyArray<readonly [string, (text: string) => string, RegExp]> = [
    ["is cut off", (text) => text.slice(0, -20), /it is damaged$/],
    ["has lost a service", (text) => `${text.split("\n")[0]}\n`, /it is damaged$/],
    ["was changed by hand", (text) => text.replace('"zone":"x"', '"zone":"y"'), /it is damaged$/],
    ["is of a later version", (text) => text.replace('"version":2', '"version":3'), /it is of version 3, and not 2$/],
    ["is empty", () => "", /it is damaged, or something else$/],
    ["is no snapshot at all", () => "{}", /it is damaged, or something else$/]
  ]
  it.scoped.each(spoilt)("that %s is left alone, with a warning, and written anew", ([, spoil, warning]) =>
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      const good = disk.texts.get(KEY) ?? ""
      assert.notStrictEqual(spoil(good), good)
      disk.texts.set(KEY, spoil(good))
      const { discovery, lines, registry } = yield* aProcess(disk)
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /^WARN DiscoveryCached: the snapshot of discovery is not used: /)
      assert.match(lines[0] ?? "", warning)
      registry.fails()
      assert.strictEqual(yield* Effect.flip(discovery.resolve(orders)), unavailable)
      registry.answers(aService("orders", ["c"]))
      yield* TestClock.adjust("1 second")
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("5 seconds")
      assert.include(disk.texts.get(KEY), '"instanceKey":"c"')
    })
  )

  /** Changes its lines, whose checksum fits again. */
  const rewritten = (text: string, change: (lines: ReadonlyArray<string>) => ReadonlyArray<string>): string => {
    const [header = "", ...lines] = text.split("\n")
    const rest = change(lines).join("\n")
    const sha256 = createHash("sha256").update(rest).digest("hex")
    return [JSON.stringify({ ...JSON.parse(header), sha256 }), rest].join("\n")
  }

  given(
    "has a line for each instance, and one that is unreadable spoils itself only",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      const text = disk.texts.get(KEY) ?? ""
      assert.lengthOf(text.trim().split("\n"), 4)
      const unreadable: ReadonlyArray<readonly [line: number, with_: string, left: ReadonlyArray<string>]> = [
        [1, "{}", ["b"]],
        [2, '{"instanceKey":"b"', ["a"]]
      ]
      for (const [line, other, left] of unreadable) {
        disk.texts.set(
          KEY,
          rewritten(text, (lines) => lines.map((one, i) => (i === line ? other : one)))
        )
        const { discovery, end, lines, registry } = yield* aProcess(disk)
        assert.deepStrictEqual(lines, [
          "WARN DiscoveryCached: 1 records of the snapshot of discovery are unreadable, the others are used"
        ])
        registry.fails()
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), left)
        yield* end
      }
    })
  )

  given(
    "loses a service whose own line is unreadable, and keeps the next",
    Effect.gen(function* () {
      const disk = aStore()
      const first = yield* aProcess(disk)
      first.registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
      yield* first.discovery.resolve(orders)
      yield* first.discovery.resolve(payments)
      yield* first.end
      disk.texts.set(
        KEY,
        rewritten(disk.texts.get(KEY) ?? "", ([, ...lines]) => ["{}", ...lines])
      )
      const { discovery, registry } = yield* aProcess(disk)
      registry.fails()
      assert.deepStrictEqual(keys(yield* discovery.resolve(payments)), ["p"])
      assert.strictEqual(yield* Effect.flip(discovery.resolve(orders)), unavailable)
    })
  )

  it.live("is read for 2 seconds at most: what was read by then is used", () =>
    Effect.gen(function* () {
      const disk = aStore()
      const keysOf = (from: number) => Array.from({ length: 1_000 }, (_, i) => `k${from + i}`)
      const first = yield* aProcess(disk)
      first.registry.answers(aService("orders", keysOf(0)))
      yield* first.discovery.resolve(orders)
      yield* first.end
      // Each look at this clock takes 3 ms: a slice has one record, and 2 seconds have some hundreds of them.
      const lines: Array<string> = []
      const logger = Logger.make(({ message }) => void lines.push(String(message)))
      const snapshot = yield* Snapshot.make({ store: disk.store, key: KEY, maxStaleMillis: 60_000 }).pipe(
        Effect.withClock(busyClock(3).clock),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      assert.deepStrictEqual(lines, [
        "the snapshot of discovery takes more than 2000 ms to read: its beginning is used"
      ])
      const [known] = snapshot.remembered("shop", "test", 0)
      assert.isAtLeast(known?.instances.length ?? 0, 10)
      assert.isBelow(known?.instances.length ?? 0, 1_000)
    }).pipe(Effect.scoped)
  )

  given(
    "that cannot be read, or not in time, is a warning and no more",
    Effect.gen(function* () {
      const disk = yield* aSnapshot
      for (const get of [Effect.fail(diskFull), Effect.dieMessage("a bug in the store"), Effect.never]) {
        disk.get = get
        const started = yield* Effect.fork(aProcess(disk))
        yield* TestClock.adjust("2 seconds")
        const { discovery, lines, registry } = yield* Fiber.join(started)
        assert.lengthOf(lines, 1)
        registry.answers(aService("orders", ["a"]))
        assert.deepStrictEqual(keys(yield* discovery.resolve(orders)), ["a"])
      }
    })
  )

  given(
    "that cannot be written is told once, and once again after it could",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, lines, registry } = yield* aProcess(disk)
      disk.set = Effect.fail(diskFull)
      for (let i = 0; i < 3; i++) {
        registry.answers(aService("orders", [`a${i}`, "b", "c"]))
        yield* TestClock.adjust("1 second")
        yield* discovery.refresh(orders)
        yield* TestClock.adjust("10 seconds")
      }
      assert.lengthOf(lines, 1)
      assert.match(lines[0] ?? "", /^WARN .*cannot be written: .*ENOSPC: no space left on device/)
      assert.strictEqual((yield* discovery.resolve(orders)).source, "Fresh")
    })
  )

  given(
    "is written once 5 seconds after changes, every 5 minutes without, and when the layer is closed",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, end, registry } = yield* aProcess(disk)
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("2 seconds")
      registry.answers(aService("orders", ["a", "b"]))
      yield* discovery.refresh(orders)
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual(disk.writes, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(disk.writes, 1)
      assert.include(disk.texts.get(KEY), '"instanceKey":"b"')
      yield* TestClock.adjust("290 seconds")
      assert.strictEqual(disk.writes, 1)
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(disk.writes, 2)
      registry.answers(aService("orders", ["a", "b", "c"]))
      yield* TestClock.adjust("10 seconds")
      yield* discovery.refresh(orders)
      yield* end
      assert.isAtLeast(disk.writes, 3)
      assert.include(disk.texts.get(KEY), '"instanceKey":"c"')
    })
  )

  given(
    "is written for the last time when no fetch is under way any more",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, end, registry } = yield* aProcess(disk)
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      yield* TestClock.adjust("1 second")
      registry.hangs()
      yield* Effect.fork(discovery.refresh(orders))
      yield* TestClock.adjust("1 second")
      let interrupted = 0
      disk.set = Effect.sync(() => {
        interrupted = registry.interrupted()
      })
      yield* end
      assert.strictEqual(disk.writes, 1)
      assert.strictEqual(interrupted, 1)
    })
  )

  given(
    "holds what is in use, and nothing else",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, end, registry } = yield* aProcess(disk, { static: "shop/fixed=h:1" })
      registry.answers(aService("orders", ["a"]), aService("payments", ["p"]))
      yield* discovery.resolve(orders)
      yield* discovery.resolve({ project: "shop", name: "fixed" })
      yield* end
      const text = disk.texts.get(KEY) ?? ""
      assert.include(text, '"name":"orders"')
      assert.notInclude(text, '"name":"payments"')
      assert.notInclude(text, '"name":"fixed"')
    })
  )

  given(
    "is written at the end when the process ends in the middle of writing it",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, end, registry } = yield* aProcess(disk)
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      disk.set = Effect.sleep("1 second")
      yield* TestClock.adjust("5500 millis")
      assert.strictEqual(disk.writes, 0)
      const ending = yield* Effect.fork(end)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(ending)
      assert.strictEqual(disk.writes, 1)
      assert.include(disk.texts.get(KEY), '"instanceKey":"a"')
    })
  )

  given(
    "does not hold up the end of a process whose disk hangs",
    Effect.gen(function* () {
      const disk = aStore()
      const { discovery, end, registry } = yield* aProcess(disk)
      registry.answers(aService("orders", ["a"]))
      yield* discovery.resolve(orders)
      disk.set = Effect.never
      const ending = yield* Effect.fork(end)
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isNone(yield* Fiber.poll(ending)))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isSome(yield* Fiber.poll(ending)))
    })
  )

  given(
    "has options that are checked",
    Effect.gen(function* () {
      const { store } = aStore()
      const snapshot = { store, key: "" }
      const made = Effect.provide(DiscoveryCached.make({ env: "test", snapshot }), scriptedRegistry().layer)
      assert.propertyVal(yield* Effect.flip(made), "field", "snapshot.key")
    })
  )
})
