import { describe, expect, it } from "@effect/vitest"
import { scenarios, tests, unknown } from "../../scripts/faults.mjs"

const notInUse = new Set([6, 10, 14, 16, 24, 25, 27, 28, 30, 31])

describe("docs/fault-scenarios.md", () => {
  it("lists each scenario once, in order of no gap but the numbers that are not in use", () => {
    const numbers = Array.from({ length: 57 }, (_, index) => index + 1).filter((number) => !notInUse.has(number))
    expect([...scenarios.keys()].sort((a, b) => a - b)).toEqual(numbers)
  })

  it("knows every scenario that a test names", () => {
    expect(unknown).toEqual([])
    expect(tests.size).toBeGreaterThan(0)
  })
})
