import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as FastCheck from "effect/FastCheck"
import * as Outlier from "../../../src/core/balancing/Outlier.js"
import type { EjectionReason } from "../../../src/schemas/Explanation.js"
import type { Outcome } from "../../../src/schemas/Outcome.js"

/** So many instances, with the keys `0`, `1` …, and reports about them. */
const world = (n: number, options: Outlier.Options = {}, random: () => number = () => 0) => {
  const table = Outlier.make(Either.getOrThrow(Outlier.settings(options)), random)
  const states = Array.from({ length: n }, (_, i) => Outlier.fresh(String(i), 0))
  table.listed = n
  const state = (i: number): Outlier.OutlierState => {
    const found = states[i]
    if (found === undefined) throw new Error(`there is no ${i}`)
    return found
  }
  const report = (i: number, outcome: Outcome, now: number, given: Partial<Outlier.Report> = {}) => {
    const call = { outcome, lastedMillis: 1, mark: table.marks, probe: 0, ...given }
    return Outlier.record(table, state(i), call, now)
  }
  return {
    table,
    state,
    report,
    reports: (i: number, outcome: Outcome, times: number, now: number) => {
      for (let done = 0; done < times; done++) report(i, outcome, now)
    },
    phase: (i: number, now: number) => {
      Outlier.sweep(table, now)
      return state(i).phase
    },
    /** The outcome of the probe that is due now. */
    probe: (i: number, outcome: Outcome, now: number, lastedMillis = 1) => {
      Outlier.sweep(table, now)
      const probe = Outlier.beginProbe(table, state(i), now)
      return report(i, outcome, now, { probe, lastedMillis })
    }
  }
}

type World = ReturnType<typeof world>

const keysOf = (states: Iterable<Outlier.OutlierState>) => Array.from(states, ({ key }) => key).sort()

describe("Outlier", () => {
  describe("ejects", () => {
    const rows: ReadonlyArray<readonly [sentence: string, what: (world: World) => void, EjectionReason | "none"]> = [
      ["one that cannot be reached, at once", (w) => w.report(0, "Unreachable", 0), "Unreachable"],
      ["none for 4 failures in a row", (w) => w.reports(0, "Failure", 4, 0), "none"],
      ["one with 5 failures in a row", (w) => w.reports(0, "Failure", 5, 0), "Consecutive"],
      [
        "one with 5 failures in a row over hours",
        (w) => [1, 2, 3, 4, 5].forEach((h) => w.report(0, "Failure", h * 36e5)),
        "Consecutive"
      ],
      [
        "none for 5 failures with a success among them",
        (w) =>
          (["Failure", "Failure", "Failure", "Success", "Failure", "Failure"] as const).forEach((o) =>
            w.report(0, o, 0)
          ),
        "none"
      ],
      [
        "one with 5 failures and answers among them that say nothing",
        (w) =>
          (["Failure", "Uncounted", "Failure", "Interrupted", "Failure", "Failure", "Failure"] as const).forEach((o) =>
            w.report(0, o, 0)
          ),
        "Consecutive"
      ],
      ["none for failures that do not count, however many", (w) => w.reports(0, "Uncounted", 1_000, 0), "none"],
      ["none for interruptions, however many", (w) => w.reports(0, "Interrupted", 1_000, 0), "none"],
      ["one whose every second of 20 calls fails", (w) => alternating(w, 20, 0), "Rate"],
      ["none for every second of 18 calls", (w) => alternating(w, 18, 0), "none"],
      [
        "none for 2 failures of 5",
        (w) => {
          for (let i = 0; i < 200; i++) w.report(0, i % 5 < 2 ? "Failure" : "Success", 0)
        },
        "none"
      ],
      [
        "none for 20 calls that are spread over more than 10 seconds",
        (w) => {
          alternating(w, 10, 0)
          alternating(w, 8, 10_001)
        },
        "none"
      ],
      [
        "one whose 20 calls lie in two halves of 10 seconds",
        (w) => {
          alternating(w, 10, 4_000)
          alternating(w, 10, 9_500)
        },
        "Rate"
      ],
      [
        "one whose calls are interrupted after 5 seconds each",
        (w) => {
          for (let i = 0; i < 20; i++) w.report(0, "Interrupted", 0, { lastedMillis: 5_000 })
        },
        "Rate"
      ],
      [
        "none for a few slow interruptions in a row",
        (w) => {
          for (let i = 0; i < 19; i++) w.report(0, "Interrupted", 0, { lastedMillis: 5_000 })
        },
        "none"
      ],
      [
        "none for failures among many answers that do not count",
        (w) => {
          for (let i = 0; i < 100; i++) w.report(0, i % 25 === 0 ? "Failure" : "Uncounted", 0)
        },
        "none"
      ]
    ]
    const alternating = (w: World, calls: number, now: number) => {
      for (let i = 0; i < calls; i++) w.report(0, i % 2 === 0 ? "Success" : "Failure", now)
    }
    it.each(rows)("%s", (_, what, expected) => {
      const w = world(4)
      what(w)
      const { phase, reason } = w.state(0)
      assert.strictEqual(phase === "InRotation" ? "none" : reason, expected)
    })

    it("reports an ejection once", () => {
      const w = world(4)
      w.reports(0, "Failure", 4, 0)
      assert.deepStrictEqual(w.report(0, "Failure", 0), { _tag: "Ejected", key: "0", reason: "Consecutive" })
      assert.isUndefined(w.report(0, "Failure", 0))
      assert.isUndefined(w.report(0, "Unreachable", 0))
    })

    it("none at all where an ejection lasts 0", () => {
      const w = world(2, { ejection: 0 })
      w.reports(0, "Unreachable", 10, 0)
      assert.strictEqual(w.phase(0, 0), "InRotation")
    })
  })

  describe("by soft evidence", () => {
    it.each([
      [1, 0],
      [2, 1],
      [3, 1],
      [10, 5]
    ])("of %d instances that all fail at most %d are ejected", (n, expected) => {
      const w = world(n)
      for (let i = 0; i < n; i++) w.reports(i, "Failure", 20, 0)
      assert.strictEqual(w.table.ejected.size, expected)
    })

    it("half of those go that can be reached, and one of these always stays", () => {
      const w = world(5)
      w.report(0, "Unreachable", 0)
      w.report(1, "Unreachable", 0)
      w.reports(2, "Failure", 5, 0)
      w.reports(3, "Failure", 5, 0)
      assert.deepStrictEqual([w.phase(2, 0), w.phase(3, 0)], ["Ejected", "InRotation"])
      w.report(3, "Unreachable", 0)
      w.reports(4, "Failure", 5, 0)
      assert.strictEqual(w.phase(4, 0), "InRotation")
    })

    it("the next failure ejects one that was spared, as soon as there is room", () => {
      const w = world(2)
      w.reports(0, "Failure", 5, 0)
      w.reports(1, "Failure", 5, 0)
      assert.strictEqual(w.phase(1, 0), "InRotation")
      w.probe(0, "Success", 30_000)
      w.report(1, "Failure", 30_001)
      assert.strictEqual(w.phase(1, 30_001), "Ejected")
    })

    it("one that has left the list makes no room and takes none", () => {
      const w = world(3)
      w.reports(0, "Failure", 5, 0)
      Outlier.setListed(w.table, w.state(0), false)
      assert.deepInclude(w.table, { listed: 2 })
      w.reports(1, "Failure", 5, 0)
      assert.strictEqual(w.phase(1, 0), "Ejected")
      Outlier.setListed(w.table, w.state(0), true)
      assert.deepInclude(w.table, { listed: 3 })
    })
  })

  it("ejects all that cannot be reached, the only one as well", () => {
    const w = world(3)
    for (const i of [0, 1, 2]) w.report(i, "Unreachable", 0)
    assert.strictEqual(w.table.ejected.size, 3)
    const alone = world(1)
    alone.report(0, "Unreachable", 0)
    assert.strictEqual(alone.phase(0, 0), "Ejected")
  })

  describe("an ejection", () => {
    it("lasts 30 s, then 60 s, 90 s … as long as the probe fails, and 300 s at most", () => {
      const w = world(4)
      w.report(0, "Unreachable", 0)
      let now = 0
      for (const seconds of [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]) {
        assert.strictEqual(w.phase(0, now + seconds * 1_000 - 1), "Ejected", `before ${seconds} s`)
        now += seconds * 1_000
        assert.strictEqual(w.phase(0, now), "Due", `after ${seconds} s`)
        w.probe(0, "Failure", now)
      }
    })

    it.each([
      [0, 30_000],
      [0.5, 33_000],
      [1, 36_000]
    ])("is longer by up to a fifth, at random: %d makes it %d ms", (random, expected) => {
      const w = world(2, {}, () => random)
      w.report(0, "Unreachable", 100)
      assert.strictEqual(w.state(0).until, 100 + expected)
    })

    it("is never longer than the longest, jitter included", () => {
      const w = world(2, { maxEjection: "31 seconds" }, () => 1)
      w.report(0, "Unreachable", 0)
      assert.strictEqual(w.state(0).until, 31_000)
    })

    it("is not prolonged by failures meanwhile", () => {
      const w = world(2)
      w.report(0, "Unreachable", 0)
      w.reports(0, "Failure", 50, 20_000)
      w.report(0, "Unreachable", 29_999)
      assert.strictEqual(w.phase(0, 30_000), "Due")
      assert.strictEqual(w.state(0).ejections, 1)
    })

    it("for soft evidence becomes one for hard when the instance cannot even be reached", () => {
      const w = world(2)
      w.reports(0, "Failure", 5, 0)
      assert.strictEqual(w.state(0).evidence, "Soft")
      const { version } = w.table
      w.report(0, "Unreachable", 10)
      assert.strictEqual(w.state(0).evidence, "Hard")
      assert.strictEqual(w.state(0).reason, "Unreachable")
      assert.isAbove(w.table.version, version)
    })
  })

  describe("remembers an ejection", () => {
    const rows: ReadonlyArray<readonly [sentence: string, cleanMillis: number, next: number]> = [
      ["for the next one, right after it was taken back", 0, 90_000],
      ["less one for 10 s without failures", 10_000, 60_000],
      ["less one for 19.9 s", 19_900, 60_000],
      ["less two for 20 s", 20_000, 30_000],
      ["no longer than there are ejections", 3_600_000, 30_000]
    ]
    it.each(rows)("%s", (_, cleanMillis, next) => {
      const w = world(4)
      w.report(0, "Unreachable", 0)
      w.probe(0, "Failure", 30_000)
      w.probe(0, "Success", 90_000)
      const now = 90_000 + cleanMillis
      w.report(0, "Unreachable", now)
      assert.strictEqual(w.state(0).until - now, next)
    })

    it("as long as there is a failure in each 10 s", () => {
      const w = world(4)
      w.report(0, "Unreachable", 0)
      w.probe(0, "Success", 30_000)
      for (let now = 39_000; now < 90_000; now += 9_000) {
        w.report(0, "Failure", now)
        w.report(0, "Success", now)
      }
      assert.strictEqual(Outlier.ejectionsAt(w.table, w.state(0), 92_000), 1)
      assert.strictEqual(Outlier.ejectionsAt(w.table, w.state(0), 94_000), 0)
    })
  })

  describe("a probe", () => {
    type Row = readonly [
      sentence: string,
      outcome: Outcome,
      lastedMillis: number,
      phase: Outlier.OutlierState["phase"],
      evidence: string | undefined
    ]
    const rows: ReadonlyArray<Row> = [
      ["that succeeds takes the instance back", "Success", 1, "InRotation", undefined],
      ["that fails ejects it again", "Failure", 1, "Ejected", "Soft"],
      ["that cannot reach it ejects it again, for hard evidence", "Unreachable", 1, "Ejected", "Hard"],
      ["that fails in a way that says nothing leaves the next call to decide", "Uncounted", 1, "Due", undefined],
      ["that is interrupted leaves the next call to decide", "Interrupted", 4_999, "Due", undefined],
      ["that is interrupted after 5 s has failed", "Interrupted", 5_000, "Ejected", "Soft"]
    ]
    it.each(rows)("%s", (_, outcome, lastedMillis, phase, evidence) => {
      const w = world(4)
      w.report(0, "Unreachable", 0)
      w.probe(0, outcome, 30_000, lastedMillis)
      assert.strictEqual(w.phase(0, 30_001), phase)
      if (evidence !== undefined) assert.strictEqual(w.state(0).evidence, evidence)
    })

    it("that is not reported is given up after 30 s, and its late failure counts for nothing", () => {
      const w = world(4)
      w.report(0, "Unreachable", 0)
      Outlier.sweep(w.table, 30_000)
      const lost = Outlier.beginProbe(w.table, w.state(0), 30_000)
      assert.strictEqual(w.phase(0, 59_999), "Probing")
      assert.strictEqual(w.phase(0, 60_000), "Due")
      Outlier.beginProbe(w.table, w.state(0), 60_000)
      assert.isUndefined(w.report(0, "Failure", 60_001, { probe: lost }))
      assert.strictEqual(w.phase(0, 60_001), "Probing")
    })

    it("is not decided by a success of a call that was under way before", () => {
      const w = world(4)
      const mark = w.table.marks
      w.report(0, "Unreachable", 0)
      assert.isUndefined(w.report(0, "Success", 10, { mark }))
      assert.strictEqual(w.phase(0, 10), "Ejected")
    })

    it("is not needed after a success of a call that went to the ejected instance without alternative", () => {
      const w = world(1)
      w.report(0, "Unreachable", 0)
      assert.deepStrictEqual(w.report(0, "Success", 10), { _tag: "Readmitted", key: "0", reason: "Unreachable" })
      assert.strictEqual(w.phase(0, 10), "InRotation")
    })

    it("that succeeds leaves nothing of the streak and of the calls before", () => {
      const w = world(4)
      for (let i = 0; i < 30; i++) w.report(0, "Failure", 0)
      w.probe(0, "Success", 30_000)
      w.reports(0, "Failure", 4, 30_000)
      assert.strictEqual(w.phase(0, 30_000), "InRotation")
    })
  })

  describe("one that leaves the list", () => {
    it("is remembered for as long as its ejection lasts", () => {
      const w = world(2)
      w.report(0, "Unreachable", 0)
      Outlier.setListed(w.table, w.state(0), false)
      Outlier.sweep(w.table, 29_999)
      assert.isTrue(Outlier.isRemembered(w.state(0)))
      Outlier.sweep(w.table, 30_000)
      assert.isFalse(Outlier.isRemembered(w.state(0)))
      assert.strictEqual(w.table.ejected.size, 0)
    })

    it("is forgotten at once where its ejection is over, or there was none", () => {
      const w = world(2)
      w.report(0, "Unreachable", 0)
      Outlier.sweep(w.table, 30_000)
      for (const i of [0, 1]) {
        Outlier.setListed(w.table, w.state(i), false)
        assert.isFalse(Outlier.isRemembered(w.state(i)))
      }
      assert.deepInclude(w.table, { listed: 0 })
      assert.strictEqual(w.table.ejected.size, 0)
    })
  })

  describe("as the cool-down of the other SDKs", () => {
    const options = Outlier.cooldown("30 seconds")

    it("ejects for one failure of any kind, for 30 s exactly, each time, and without a probe", () => {
      const w = world(3, options, () => 0.9)
      for (const start of [0, 30_000, 60_000]) {
        w.report(0, "Failure", start)
        assert.strictEqual(w.phase(0, start + 29_999), "Ejected")
        assert.strictEqual(w.phase(0, start + 30_000), "InRotation")
      }
    })

    it("ejects all of them", () => {
      const w = world(3, options)
      for (const i of [0, 1, 2]) w.report(i, "Failure", 0)
      assert.strictEqual(w.table.ejected.size, 3)
    })
  })

  it("never loses count, in any order of reports, lists and sweeps", () => {
    const step = FastCheck.record({
      instance: FastCheck.nat(5),
      outcome: FastCheck.constantFrom<Outcome>("Success", "Failure", "Unreachable", "Uncounted", "Interrupted"),
      does: FastCheck.constantFrom("report", "probe", "leave", "return"),
      after: FastCheck.nat(20_000)
    })
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 200 }), (steps) => {
        const w = world(6)
        let now = 0
        for (const { after, does, instance, outcome } of steps) {
          now += after
          Outlier.sweep(w.table, now)
          const state = w.state(instance)
          if (does === "leave" || does === "return") Outlier.setListed(w.table, state, does === "return")
          else if (does === "report") w.report(instance, outcome, now)
          else if (state.phase === "Due") w.probe(instance, outcome, now)
          const all = [0, 1, 2, 3, 4, 5].map(w.state)
          const ejected = all.filter(({ phase }) => phase !== "InRotation")
          assert.strictEqual(w.table.listed, all.filter(({ isListed }) => isListed).length)
          assert.deepStrictEqual(keysOf(w.table.ejected), keysOf(ejected))
          for (const { until } of ejected) assert.isAtMost(until - now, 360_000)
        }
        Outlier.sweep(w.table, now + 400_000)
        for (const { isListed, phase } of w.table.ejected) assert.deepStrictEqual([isListed, phase], [true, "Due"])
      })
    )
  })

  describe("options", () => {
    it("have the documented defaults", () => {
      assert.deepStrictEqual(Either.getOrThrow(Outlier.settings()), {
        consecutiveFailures: 5,
        failureRate: 0.5,
        minimumCalls: 20,
        intervalMillis: 10_000,
        ejectionMillis: 30_000,
        maxEjectionMillis: 300_000,
        jitter: 1.2,
        maxEjected: 0.5,
        panicBelow: 0.5,
        probe: true,
        slowAfterMillis: 5_000
      })
    })

    const rows: ReadonlyArray<readonly [field: string, options: Outlier.Options]> = [
      ["consecutiveFailures", { consecutiveFailures: 0 }],
      ["consecutiveFailures", { consecutiveFailures: 2.5 }],
      ["failureRate", { failureRate: 0 }],
      ["failureRate", { failureRate: 1.1 }],
      ["minimumCalls", { minimumCalls: 0 }],
      ["interval", { interval: 0 }],
      ["ejection", { ejection: "2 days" }],
      ["maxEjection", { maxEjection: "29 seconds" }],
      ["jitter", { jitter: 0.9 }],
      ["maxEjected", { maxEjected: -0.1 }],
      ["panicBelow", { panicBelow: Number.NaN }],
      ["slowAfter", { slowAfter: "2 days" }]
    ]
    it.each(rows)("%s is checked, and named: %o", (field, options) => {
      const error = Either.getOrThrow(Either.flip(Outlier.settings(options)))
      assert.strictEqual(error.field, `tuning.outlier.${field}`)
    })

    it("an ejection of more than five minutes is also the longest", () => {
      const { maxEjectionMillis } = Either.getOrThrow(Outlier.settings({ ejection: "10 minutes" }))
      assert.strictEqual(maxEjectionMillis, 600_000)
    })
  })
})
