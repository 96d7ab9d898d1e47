import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as AcquisitionBackoff from "../../../src/core/auth/AcquisitionBackoff.js"
import * as TokenPolicy from "../../../src/schemas/TokenPolicy.js"

const policy = Either.getOrThrow(TokenPolicy.check())

const struckTimes = (times: number, random: number) => {
  let brake = AcquisitionBackoff.released
  for (let i = 0; i < times; i++) brake = AcquisitionBackoff.struck(policy, brake, 0, random)
  return brake
}

describe("the brake on acquisitions", () => {
  it("lets the first one pass at once", () => {
    assert.isBelow(AcquisitionBackoff.released.notBefore, 0)
  })

  it.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [6, 32_000],
    [7, 60_000],
    [8, 60_000],
    [5_000, 60_000]
  ])("pauses up to twice as long with each strike: after %d of them %d ms at most", (strikes, most) => {
    assert.strictEqual(struckTimes(strikes, 1).notBefore, most)
  })

  it("pauses a second at least, whatever the dice say", () => {
    for (const strikes of [1, 2, 5, 100]) assert.strictEqual(struckTimes(strikes, 0).notBefore, 1_000)
  })
})

describe("the memory of a refusal", () => {
  it.each([
    [1, 30_000],
    [2, 60_000],
    [3, 120_000],
    [4, 240_000],
    [5, 300_000],
    [5_000, 300_000]
  ])("lasts, for %d in a row, %d ms", (rejections, millis) => {
    assert.strictEqual(AcquisitionBackoff.rejectionMillis(policy, rejections), millis)
  })
})
