import { assert, describe, it } from "@effect/vitest"
import * as Health from "../../../src/core/balancing/Health.js"

const settings: Health.Settings = {
  intervalMillis: 10_000,
  idleIntervalMillis: 60_000,
  unhealthyAfter: 3,
  healthyAfter: 2
}

// + a check that passes, - one that fails; below each what is thought afterwards: ? unknown, H healthy, U unhealthy.
const table: ReadonlyArray<readonly [sentence: string, checks: string, states: string]> = [
  ["the first success is believed at once", "+", "H"],
  ["two failures at the start say nothing yet, three do", "---", "??U"],
  ["a success between failures starts the count anew", "--+--+", "??HHHH"],
  ["three failures in a row make a healthy one unhealthy", "+---", "HHHU"],
  ["one success does not bring it back, two do", "---++", "??UUH"],
  ["a failure between successes starts the count anew", "---+-+-++", "??UUUUUUH"],
  ["once back, it takes three failures again", "---++--+---", "??UUHHHHHHU"]
]

describe("Health", () => {
  for (const [sentence, checks, states] of table) {
    it(sentence, () => {
      let health = Health.initial
      const seen = Array.from(checks, (check) => {
        health = Health.checked(health, check === "+", settings)
        return { Unknown: "?", Healthy: "H", Unhealthy: "U" }[health.state]
      })
      assert.strictEqual(seen.join(""), states)
    })
  }

  it("checks every 10 s ± 15 %, and every minute without calls", () => {
    assert.closeTo(Health.untilNext(settings, true, 0), 8_500, 1e-6)
    assert.closeTo(Health.untilNext(settings, true, 0.5), 10_000, 1e-6)
    assert.closeTo(Health.untilNext(settings, true, 1), 11_500, 1e-6)
    assert.closeTo(Health.untilNext(settings, false, 0.5), 60_000, 1e-6)
  })

  it("checks for the first time within a second, or within a shorter interval", () => {
    assert.strictEqual(Health.untilFirst(settings, 0.5), 500)
    assert.strictEqual(Health.untilFirst({ ...settings, intervalMillis: 100 }, 0.5), 50)
  })
})
