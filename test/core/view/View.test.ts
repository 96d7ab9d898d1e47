import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as InstanceDiff from "../../../src/core/view/InstanceDiff.js"
import * as ServiceView from "../../../src/core/view/ServiceView.js"
import * as View from "../../../src/core/view/View.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import type { JsonObject, JsonValue } from "../../../src/schemas/Json.js"
import { anInstance, aService } from "../../support/scriptedRegistry.js"

const nothing = View.empty("shop", "test")
const merged = (view: View.View, ...answer: Parameters<typeof View.merge>[1]) => View.merge(view, answer, 1_000)
const keys = (view: View.View, name = "orders") => View.find(view, name)?.instances.map((i) => i.instanceKey)
const instances = (view: View.View, name = "orders") => View.find(view, name)?.instances ?? []
const differences = (...lists: Parameters<typeof InstanceDiff.diff>) => {
  const steps = InstanceDiff.diff(...lists)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}
const told = (before: View.View, after: View.View, name = "orders") =>
  differences(instances(before, name), instances(after, name)).map(
    ({ _tag, instance }) => `${_tag} ${instance.instanceKey}`
  )

describe("View", () => {
  it("knows nothing before the first answer", () => {
    assert.isUndefined(View.find(nothing, "orders"))
    assert.isUndefined(nothing.listedAt)
  })

  it("has services that are as old as the answers they rest on", () => {
    const age = (view: View.View, name: string) => {
      const service = View.find(view, name)
      return service && ServiceView.ageMillis(service, 31_000)
    }
    const [view] = merged(nothing, aService("orders", ["a"]), aService("payments", ["p"]))
    assert.deepStrictEqual([age(view, "orders"), view.listedAt], [30_000, 1_000])
    const [next] = View.merge(view, [aService("orders", ["a"])], 11_000, { asked: new Set(["orders"]) })
    assert.deepStrictEqual([age(next, "orders"), age(next, "payments"), next.listedAt], [20_000, 30_000, 1_000])
  })

  it("tells an empty service from an unknown one", () => {
    const [view] = merged(nothing, aService("orders", []))
    assert.deepStrictEqual(keys(view), [])
    assert.isUndefined(View.find(view, "Orders"))
  })

  it("leaves out instances of other envs and services of other projects", () => {
    const [view] = merged(
      nothing,
      aService("orders", [anInstance("a"), anInstance("b", { env: "prod" })]),
      aService("payments", ["c"], { project: "Shop" })
    )
    assert.deepStrictEqual(keys(view), ["a"])
    assert.isUndefined(View.find(view, "payments"))
  })

  it("counts a key that comes twice once, with the record that is newer, in either order", () => {
    const stale = anInstance("a", { host: "old", updatedAt: 5, lastHeartbeatAt: 1 })
    const fresh = anInstance("a", { host: "new", updatedAt: 5, lastHeartbeatAt: 2 })
    for (const twins of [
      [stale, fresh],
      [fresh, stale]
    ]) {
      const [view] = merged(nothing, aService("orders", twins))
      assert.deepStrictEqual(View.find(view, "orders")?.instances, [fresh])
    }
  })

  it("takes the newer one of two services of one name", () => {
    const [view] = merged(
      nothing,
      aService("orders", ["old"], { updatedAt: 1 }),
      aService("orders", ["new"], { updatedAt: 2 })
    )
    assert.deepStrictEqual(keys(view), ["new"])
  })

  describe("a record is replaced", () => {
    const held = { updatedAt: 100, lastHeartbeatAt: 100 }
    const table: ReadonlyArray<readonly [string, Partial<typeof held>, boolean]> = [
      ["by one that is newer by updatedAt", { updatedAt: 101, lastHeartbeatAt: 0 }, true],
      ["by one that is newer by lastHeartbeatAt", { lastHeartbeatAt: 101 }, true],
      ["by one of the same second", {}, true],
      ["never by one that is older by updatedAt", { updatedAt: 99, lastHeartbeatAt: 200 }, false],
      ["never by one that is older by lastHeartbeatAt", { lastHeartbeatAt: 99 }, false]
    ]
    it.each(table)("%s", (_, times, replaced) => {
      const [view] = merged(nothing, aService("orders", [anInstance("a", { ...held, host: "held" })]))
      const [next] = merged(view, aService("orders", [anInstance("a", { ...held, ...times, host: "answered" })]))
      assert.strictEqual(View.find(next, "orders")?.instances[0]?.host, replaced ? "answered" : "held")
    })
  })

  describe("a record that is older than the one known", () => {
    const moved = (host: string, updatedAt: number) => [aService("orders", [anInstance("a", { host, updatedAt })])]
    const host = (view: View.View) => instances(view)[0]?.host

    it("is believed once all answers of five minutes had it: then it is the registry's clock that went back", () => {
      let view = View.merge(nothing, moved("old", 3_600_000), 0)[0]
      for (const second of [30, 60, 300]) {
        view = View.merge(view, moved("new", 0), second * 1_000)[0]
        assert.strictEqual(host(view), "old", `after ${second} s`)
      }
      const [next, changed] = View.merge(view, moved("new", 0), 330_000)
      assert.deepStrictEqual([host(next), [...changed]], ["new", ["orders"]])
    })

    it("is never believed while others answer with the newer one", () => {
      let view = View.merge(nothing, moved("new", 2), 0)[0]
      for (let second = 30; second <= 3_000; second += 30) {
        const answer = second % 120 === 0 ? moved("new", 2) : moved("old", 1)
        view = View.merge(view, answer, second * 1_000)[0]
        assert.strictEqual(host(view), "new", `after ${second} s`)
      }
    })
  })

  it("tells who came, who went and who changed, and nothing of a mere heartbeat", () => {
    const [view, first] = merged(
      nothing,
      aService("orders", [
        anInstance("beats"),
        anInstance("gone"),
        anInstance("moved"),
        anInstance("relabelled", { meta: { zones: ["a", { b: null }] } })
      ]),
      aService("payments", ["p"]),
      aService("quiet", ["q"]),
      aService("empty", [])
    )
    assert.deepStrictEqual([...first], ["orders", "payments", "quiet"])
    const [next, second] = merged(
      view,
      aService("orders", [
        anInstance("beats", { lastHeartbeatAt: 9, updatedAt: 9, meta: {} }),
        anInstance("came"),
        anInstance("moved", { endpoints: [{ host: "h", network: "local", priority: 1 }] }),
        anInstance("relabelled", { meta: { zones: ["a", { b: 1 }] } })
      ]),
      aService("payments", ["p"]),
      aService("quiet", [anInstance("q", { lastHeartbeatAt: 9 })])
    )
    assert.deepStrictEqual([...second], ["orders"])
    assert.deepStrictEqual(told(view, next), ["Added came", "Removed gone", "Changed moved", "Changed relabelled"])
  })

  it("takes JSON of any depth twice, and compares no deeper than JSON is decoded", () => {
    const nested = (levels: number, leaf: JsonValue) => {
      let meta: JsonObject = { leaf }
      for (let i = 1; i < levels; i++) meta = { meta }
      return aService("orders", [anInstance("a", { meta })])
    }
    for (const [levels, changes] of [
      [100, []],
      [9_000, ["Changed a"]]
    ] as const) {
      const [view] = merged(nothing, nested(levels, 1))
      assert.deepStrictEqual(told(view, merged(view, nested(levels, 1))[0]), [...changes])
      assert.deepStrictEqual(told(view, merged(view, nested(levels, 2))[0]), ["Changed a"])
    }
  })

  it("does not change a view that a caller holds", () => {
    const [view] = merged(nothing, aService("orders", ["a"]))
    merged(view, aService("payments", ["b"]))
    assert.deepStrictEqual(keys(view), ["a"])
    assert.strictEqual(nothing.services.size, 0)
  })

  describe("a service that shrinks", () => {
    const four = ["a", "b", "c", "d"]
    /** What is believed after each of these answers, the first of which comes at 0. */
    const diary = (
      ttlSeconds: number,
      ...answers: ReadonlyArray<readonly [second: number, listed: ReadonlyArray<string>, believed: string]>
    ) => {
      let view = nothing
      for (const [second, listed, believed] of answers) {
        const records = listed.map((key) => anInstance(key, { ttlSeconds }))
        view = View.merge(view, [aService("orders", records)], second * 1_000)[0]
        const { held } = View.find(view, "orders") ?? {}
        const shown = instances(view).map((i) => (held?.has(i.instanceKey) ? `(${i.instanceKey})` : i.instanceKey))
        assert.strictEqual(shown.join(" "), believed, `after ${second} s`)
      }
      return view
    }

    it("by half or less is believed at once", () => {
      diary(60, [0, four, "a b c d"], [30, ["a", "b"], "a b"], [60, ["b"], "b"])
    })
    it("by more than half keeps the missing ones, and takes what is new", () => {
      diary(60, [0, four, "a b c d"], [30, ["d"], "(a) (b) (c) d"], [31, ["e"], "(a) (b) (c) (d) e"])
    })
    it("to nothing is believed when two further answers agree, and the leases must have run out", () => {
      const empty = [] as const
      diary(60, [0, four, "a b c d"], [1, empty, "(a) (b) (c) (d)"], [2, empty, "(a) (b) (c) (d)"], [60, empty, ""])
      diary(60, [0, ["a"], "a"], [30, empty, "(a)"], [60, empty, "(a)"], [69.9, empty, "(a)"], [70, empty, ""])
      diary(5, [0, ["a"], "a"], [30, empty, "(a)"], [31, empty, "(a)"], [40.9, empty, "(a)"], [41, empty, ""])
    })
    it("is never believed for the length of the outage alone, however old the last answer", () => {
      diary(60, [0, four, "a b c d"], [600, [], "(a) (b) (c) (d)"], [601, [], "(a) (b) (c) (d)"], [611, [], ""])
    })
    it("is believed after five minutes of doubt, however long the leases and few the answers", () => {
      diary(86_400, [0, ["a"], "a"], [30, [], "(a)"], [60, [], "(a)"], [299, [], "(a)"], [300, [], ""])
      diary(86_400, [0, ["a"], "a"], [600, [], "(a)"], [1_200, [], ""])
    })
    it("and comes back has never been away", () => {
      diary(
        60,
        [0, four, "a b c d"],
        [30, ["a"], "a (b) (c) (d)"],
        [60, ["a", "b", "c"], "a b c (d)"],
        [65, [], "(a) (b) (c) (d)"],
        [75, [], "(a) (b) (c)"],
        [119, four, "a b c d"]
      )
    })
    it("goes on being held when others come in place of the missing ones", () => {
      diary(60, [0, four, "a b c d"], [30, ["e"], "(a) (b) (c) (d) e"], [40, ["e", "f", "g"], "(a) (b) (c) (d) e f g"])
    })
    it("and is not listed at all is kept in the same way", () => {
      const [view] = merged(nothing, aService("orders", ["a"]))
      const [held] = View.merge(view, [], 30_000)
      assert.deepStrictEqual(keys(held), ["a"])
      const [confirmed] = View.merge(held, [], 60_000)
      const [gone, changed] = View.merge(confirmed, [], 90_000)
      assert.isUndefined(keys(gone))
      assert.deepStrictEqual([...changed], ["orders"])
    })
    it("keeps the last known record of who is held", () => {
      const [view] = merged(nothing, aService("orders", [anInstance("a", { host: "last" })]))
      const [held, changed] = View.merge(view, [aService("orders", [])], 30_000)
      assert.strictEqual(instances(held)[0]?.host, "last")
      assert.deepStrictEqual([...changed], [])
    })
    it("loses for good who is taken out, unless an answer shows it again", () => {
      const held = diary(60, [0, ["a"], "a"], [30, [], "(a)"])
      const without = View.without(held, "orders", "a")
      assert.deepStrictEqual([keys(without), keys(held)], [[], ["a"]])
      assert.strictEqual(View.find(without, "orders")?.held.size, 0)
      assert.deepStrictEqual(keys(View.merge(without, [aService("orders", [])], 31_000)[0]), [])
      assert.deepStrictEqual(keys(View.merge(without, [aService("orders", ["a"])], 31_000)[0]), ["a"])
    })
  })

  it("is the same view when one takes out what it has not", () => {
    const [view] = merged(nothing, aService("orders", ["a"]))
    assert.strictEqual(View.without(view, "orders", "b"), view)
    assert.strictEqual(View.without(view, "payments", "a"), view)
  })

  it("takes an answer on single services for these alone, and leaves out of it who has left meanwhile", () => {
    const [view] = merged(nothing, aService("orders", ["a", "b"]), aService("payments", ["p"]))
    const answer = [aService("orders", ["a", "b", "c"]), aService("payments", [])]
    const [next] = View.merge(view, answer, 2_000, {
      asked: new Set(["orders"]),
      hasLeft: ({ instanceKey }) => instanceKey === "b"
    })
    assert.deepStrictEqual([keys(next), keys(next, "payments")], [["a", "c"], ["p"]])
  })

  it("keeps of what is leaving that which an answer shows, unless it left after the registry was asked", () => {
    const [full] = merged(nothing, aService("orders", ["a", "b", "c", "d", "e"]))
    const [view] = View.merge(full, [aService("orders", ["a", "b"])], 30_000)
    const service = View.find(view, "orders")
    if (service === undefined) throw new Error("no service")
    for (const key of ["a", "b", "c", "x"]) service.leaving.add(key)
    ServiceView.relist(service, ({ instanceKey }) => instanceKey === "b")
    assert.deepStrictEqual([...service.leaving], ["b", "c"])
    const [next] = View.merge(view, [aService("orders", ["a", "b"])], 31_000)
    assert.strictEqual(View.find(next, "orders")?.leaving, service.leaving)
  })

  it("counts what has left it while an answer was taken", () => {
    const [full] = merged(nothing, aService("orders", ["a"]), aService("payments", ["p"]))
    const [view] = View.merge(full, [aService("payments", ["p"])], 30_000)
    assert.deepStrictEqual(keys(view), ["a"])
    const merging = View.begin(view, [aService("payments", ["p"])], 60_000)
    while (!merging.step(view));
    const [next, changed] = merging.finish(View.without(view, "orders", "a"))
    assert.deepStrictEqual([keys(next), [...changed]], [undefined, []])
  })

  const records = FastCheck.array(
    FastCheck.record({
      key: FastCheck.constantFrom("a", "b", "c", "aa", "é", "Z"),
      host: FastCheck.constantFrom("h", "i"),
      updatedAt: FastCheck.nat(3),
      lastHeartbeatAt: FastCheck.nat(3)
    })
  )

  const rank = (record: Pick<Instance, "updatedAt" | "lastHeartbeatAt">) =>
    10 * record.updatedAt + record.lastHeartbeatAt

  it("always has what is listed, loses what is not within the bound, and keeps its order", () => {
    const answers = FastCheck.array(
      FastCheck.record({
        records,
        after: FastCheck.integer({ min: 1, max: 40 }),
        failed: FastCheck.constantFrom(undefined, "a", "b")
      }),
      { maxLength: 30 }
    )
    FastCheck.assert(
      FastCheck.property(answers, (answers) => {
        let view = nothing
        let now = 0
        const believed = new Map<string, ServiceView.ServiceView["instances"][number]>()
        const shownAt = new Map<string, number>()
        const laggingSince = new Map<string, number>()
        for (const { after, failed, records } of answers) {
          now += after * 1_000
          const answer = records.map(({ key, ...times }) => anInstance(key, times))
          const [next] = View.merge(view, [aService("orders", answer)], now)
          for (const { key } of records) shownAt.set(key, now)
          for (const { _tag, instance } of differences(instances(view), instances(next))) {
            if (_tag === "Removed") believed.delete(instance.instanceKey)
            else believed.set(instance.instanceKey, instance)
          }
          const known = keys(next) ?? []
          assert.deepStrictEqual(known, Array.from(new Set(known)).sort())
          // Replayed over what was believed before, the changes give what is believed now.
          assert.deepStrictEqual(
            Array.from(believed, ([key, { host }]) => `${key} ${host}`).sort(),
            instances(next)
              .map(({ host, instanceKey }) => `${instanceKey} ${host}`)
              .sort()
          )
          const listed = new Set<string>(records.map(({ key }) => key))
          assert.deepStrictEqual(
            [...listed].filter((key) => !known.includes(key)),
            []
          )
          const held = View.find(next, "orders")?.held ?? new Map<string, unknown>()
          assert.deepStrictEqual(known.filter((key) => !listed.has(key)).sort(), [...held.keys()].sort())
          // The TTL or three answers, whichever takes longer.
          for (const key of held.keys()) assert.isBelow(now - (shownAt.get(key) ?? 0), 60_000 + 3 * 40_000)
          for (const before of instances(view)) {
            const answered = records.filter(({ key }) => key === before.instanceKey)
            const lags = answered.length > 0 && answered.every((record) => rank(record) < rank(before))
            const since = laggingSince.get(before.instanceKey) ?? now
            if (lags) laggingSince.set(before.instanceKey, since)
            else laggingSince.delete(before.instanceKey)
            const after = instances(next).find((i) => i.instanceKey === before.instanceKey)
            if (after !== undefined && !(lags && now - since >= 300_000)) assert.isAtLeast(rank(after), rank(before))
          }
          view = failed !== undefined && held.has(failed) ? View.without(next, "orders", failed) : next
          if (view !== next && failed !== undefined) believed.delete(failed)
        }
      })
    )
  })

  const answerOf = (services: ReadonlyArray<ReadonlyArray<Partial<Instance> & { readonly key: string }>>) =>
    services.map((records, i) =>
      aService(
        `s${i % 4}`,
        records.map(({ key, ...record }) => anInstance(key, record)),
        { updatedAt: i }
      )
    )
  const lists = FastCheck.array(records, { maxLength: 6 })

  it("has of services that come twice in an answer the newest", () => {
    FastCheck.assert(
      FastCheck.property(lists, (services) => {
        const answer = answerOf(services)
        for (const [name, { instances }] of merged(nothing, ...answer)[0].services) {
          const newest = answer.findLast((one) => one.service.name === name)
          assert.sameMembers(
            instances.map((i) => i.instanceKey),
            Array.from(new Set(newest?.instances.map((i) => i.instanceKey)))
          )
        }
      })
    )
  })

  it("is the same when an instance leaves while an answer is taken as when it had left before", () => {
    FastCheck.assert(
      FastCheck.property(lists, lists, FastCheck.nat(8), FastCheck.nat(3), (first, second, steps, who) => {
        const [before] = merged(nothing, ...answerOf(first))
        const name = `s${who}`
        const leaver = instances(before, name)[0]?.instanceKey
        const answer = answerOf(second)
        let isGone = false
        const hasLeft = (instance: Instance) => isGone && instance.instanceKey === leaver
        const merging = View.begin(before, answer, 31_000, { hasLeft })
        for (let i = 0, isDone = false; !isDone; i++) {
          if (i === steps) isGone = true
          isDone = merging.step(before)
        }
        isGone = true
        const after = leaver === undefined ? before : View.without(before, name, leaver)
        const sliced = merging.finish(after)
        const [whole, changed] = View.merge(after, answer, 31_000, { hasLeft })
        assert.deepStrictEqual(View.find(sliced[0], name), View.find(whole, name))
        if (leaver === undefined)
          assert.deepStrictEqual([sliced[0], [...sliced[1]].sort()], [whole, [...changed].sort()])
      })
    )
  })

  describe("an answer in slices", () => {
    const ofKeys = (keys: ReadonlyArray<string>, record: Partial<Instance> = {}) =>
      aService(
        "orders",
        keys.map((key) => anInstance(key, record))
      )
    // In an order of no kind, as the registry gives them.
    const many = Array.from({ length: 20_000 }, (_, i) => `key-${(i * 7_919) % 20_000}`)

    /** The reads of a key in the step that has the most of them: a measure of its work that no load changes. */
    const mostReads = (before: View.View, answer: Parameters<typeof View.begin>[1]) => {
      let reads = 0
      let most = 0
      const count = (key: string): string => {
        reads++
        return key
      }
      const counted = answer.map(({ instances, service }) => ({
        service,
        instances: instances.map((one) =>
          Object.defineProperty({ ...one }, "instanceKey", { get: () => count(one.instanceKey), enumerable: true })
        )
      }))
      const merging = View.begin(before, counted, 2_000)
      for (let isDone = false; !isDone; ) {
        reads = 0
        isDone = merging.step(before)
        most = Math.max(most, reads)
      }
      reads = 0
      const [view, changed] = merging.finish(before)
      return { most, atLast: reads, view, changed }
    }

    it.each([
      ["new", nothing],
      ["known", merged(nothing, ofKeys(many))[0]],
      ["moved", merged(nothing, ofKeys(many, { host: "elsewhere" }))[0]],
      ["half known", merged(nothing, ofKeys(many.slice(0, 10_000)))[0]],
      ["held for the most part", merged(nothing, ofKeys(Array.from({ length: 60_000 }, (_, i) => `key-${i}`)))[0]]
    ])("takes one service of 20,000 instances in steps of some hundred: all of them %s", (_, before) => {
      const { atLast, most, view } = mostReads(before, [ofKeys(many)])
      // A run of 256 that is sorted reads each key some twenty times.
      assert.isBelow(most, 256 * 30)
      assert.isBelow(atLast, 256)
      assert.deepStrictEqual(keys(view), Array.from(new Set([...(keys(before) ?? []), ...many])).sort())
    })

    it("is as if it had been taken at once, however many keys there are and however they come", () => {
      const someKeys = FastCheck.uniqueArray(FastCheck.integer({ min: 0, max: 2_000 }), { maxLength: 1_500 }).map(
        (all) => all.map(String)
      )
      FastCheck.assert(
        FastCheck.property(someKeys, someKeys, (first, second) => {
          const [before] = merged(nothing, ofKeys(first))
          const [view, changed] = merged(before, ofKeys(second))
          const isInDoubt = 2 * second.length < first.length
          const expected = Array.from(new Set(isInDoubt ? [...first, ...second] : second)).sort()
          assert.deepStrictEqual(keys(view), expected)
          assert.deepStrictEqual([...changed], told(before, view).length > 0 ? ["orders"] : [])
        }),
        { numRuns: 50 }
      )
    })

    it("compares the JSON of one instance a step, which may be long, and so does a watch", () => {
      let compared = 0
      /** The same to callers, and another value: what is too long to be remembered is decoded anew each time. */
      const long = () =>
        aService(
          "orders",
          Array.from({ length: 100 }, (_, i) => anInstance(`key-${100 + i}`, { meta: { a: ["x", "y"] } }))
        )
      const counted = ({ instances, service }: ReturnType<typeof long>) => ({
        service,
        instances: instances.map((one) => ({
          ...one,
          meta: new Proxy(one.meta, {
            ownKeys: (target) => {
              compared++
              return Reflect.ownKeys(target)
            }
          })
        }))
      })
      const mostCompared = (step: () => boolean) => {
        let most = 0
        for (let isDone = false; !isDone; ) {
          compared = 0
          isDone = step()
          most = Math.max(most, compared)
        }
        return most
      }
      const [before] = merged(nothing, long())
      const merging = View.begin(before, [counted(long())], 2_000)
      assert.strictEqual(
        mostCompared(() => merging.step(before)),
        1
      )
      const [after, changed] = merging.finish(before)
      assert.strictEqual(changed.size, 0)
      const steps = InstanceDiff.diff(instances(before), instances(after))
      assert.strictEqual(
        mostCompared(() => steps.next().done === true),
        1
      )
    })

    it("compares 256 instances a step for a watch, whether or not one of the lists is ahead", () => {
      const meta = {}
      const list = (count: number) => Array.from({ length: count }, (_, i) => anInstance(`${100_000 + i}`, { meta }))
      const newcomer = anInstance("0", { meta })
      for (const [before, after] of [
        [list(10_000), list(10_000)],
        [list(10_000), [newcomer, ...list(10_000)]],
        [[newcomer, ...list(10_000)], list(10_000)],
        [list(10_001), list(10_000).slice(1)]
      ]) {
        const steps = InstanceDiff.diff(before ?? [], after ?? [])
        let count = 0
        while (steps.next().done !== true) count++
        assert.isAtLeast(count, 10_000 / 256)
      }
    })

    it("loses what has left a large service between two slices, in slices as well", () => {
      const [full] = merged(nothing, ofKeys(many))
      const [held] = View.merge(full, [ofKeys([])], 30_000)
      const merging = View.begin(held, [ofKeys([])], 31_000)
      let view = held
      let steps = 0
      for (let isDone = false; !isDone; steps++) {
        if (steps === 20) view = View.without(held, "orders", "key-3")
        isDone = merging.step(view)
      }
      assert.isAbove(steps, 2 * Math.floor(20_000 / 256))
      const [next, changed] = merging.finish(view)
      assert.deepStrictEqual([keys(next)?.length, keys(next)?.includes("key-3"), [...changed]], [19_999, false, []])
    })
  })
})
