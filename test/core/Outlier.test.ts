import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Outlier from "../../src/core/Outlier.js"

const cooldown = 30_000

describe("Outlier", () => {
  it("puts an instance aside for the cool-down after one failure, and no other", () => {
    const table = Outlier.make(cooldown)
    assert.deepStrictEqual(Outlier.record(table, "a", "Failure", 1_000), [{ _tag: "Ejected", key: "a" }])
    assert.isFalse(Outlier.isAvailable(table, "a", 1_000))
    assert.isFalse(Outlier.isAvailable(table, "a", 30_999))
    assert.isTrue(Outlier.isAvailable(table, "a", 31_000))
    assert.isTrue(Outlier.isAvailable(table, "b", 1_000))
  })

  it("is not impressed by a success in between", () => {
    const table = Outlier.make(cooldown)
    Outlier.record(table, "a", "Failure", 0)
    assert.deepStrictEqual(Outlier.record(table, "a", "Success", 10), [])
    assert.isFalse(Outlier.isAvailable(table, "a", 20))
  })

  it("readmits an instance for a success of a call that was given it after it was put aside, and of no earlier one", () => {
    const table = Outlier.make(cooldown)
    const before = Outlier.mark(table)
    Outlier.record(table, "a", "Failure", 0)
    const between = Outlier.mark(table)
    Outlier.record(table, "a", "Failure", 10)
    const after = Outlier.mark(table)
    assert.deepStrictEqual(Outlier.record(table, "a", "Success", 20, before), [])
    assert.deepStrictEqual(Outlier.record(table, "a", "Success", 20, between), [])
    assert.isFalse(Outlier.isAvailable(table, "a", 20))
    assert.deepStrictEqual(Outlier.record(table, "a", "Success", 20, after), [{ _tag: "Readmitted", key: "a" }])
    assert.isTrue(Outlier.isAvailable(table, "a", 20))
    assert.deepStrictEqual(Outlier.record(table, "a", "Success", 20, after), [])
  })

  it("begins the cool-down anew with another failure, without telling of another ejection", () => {
    const table = Outlier.make(cooldown)
    Outlier.record(table, "a", "Failure", 0)
    assert.deepStrictEqual(Outlier.record(table, "a", "Failure", 20_000), [])
    assert.isFalse(Outlier.isAvailable(table, "a", 49_999))
    assert.isTrue(Outlier.isAvailable(table, "a", 50_000))
  })

  it("tells of an ejection again once a cool-down is over, swept or not", () => {
    const table = Outlier.make(cooldown)
    Outlier.record(table, "a", "Failure", 0)
    assert.deepStrictEqual(Outlier.record(table, "a", "Failure", 30_000), [{ _tag: "Ejected", key: "a" }])
  })

  it("puts nobody aside where the cool-down is zero", () => {
    const table = Outlier.make(0)
    assert.deepStrictEqual(Outlier.record(table, "a", "Failure", 0), [])
    assert.strictEqual(table.aside.size, 0)
  })

  it("knows when the next cool-down ends", () => {
    const table = Outlier.make(cooldown)
    assert.strictEqual(Outlier.nextChangeAt(table), Number.POSITIVE_INFINITY)
    Outlier.record(table, "late", "Failure", 500)
    Outlier.record(table, "early", "Failure", 0)
    assert.strictEqual(Outlier.nextChangeAt(table), 30_000)
    assert.deepStrictEqual(Outlier.sweep(table, 30_000), [{ _tag: "Readmitted", key: "early" }])
    assert.strictEqual(Outlier.nextChangeAt(table), 30_500)
  })

  it("remembers nobody when all cool-downs are over, however many instances there were", () => {
    const reports = FastCheck.array(
      FastCheck.record({
        key: FastCheck.string({ maxLength: 2 }),
        outcome: FastCheck.constantFrom<Outlier.Outcome>("Success", "Failure"),
        at: FastCheck.nat(100_000)
      })
    )
    FastCheck.assert(
      FastCheck.property(reports, (list) => {
        const table = Outlier.make(cooldown)
        for (const { at, key, outcome } of list.sort((a, b) => a.at - b.at)) {
          Outlier.record(table, key, outcome, at)
          Outlier.sweep(table, at)
          assert.strictEqual(Outlier.isAvailable(table, key, at), !table.aside.has(key))
        }
        Outlier.sweep(table, 130_000)
        assert.strictEqual(table.aside.size, 0)
      })
    )
  })
})
