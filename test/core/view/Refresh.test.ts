import { assert, describe, it } from "@effect/vitest"
import * as Refresh from "../../../src/core/view/Refresh.js"

describe("Refresh", () => {
  it("is due at once before the first fetch", () => {
    assert.isTrue(Refresh.mayStart(Refresh.initial, 0))
    assert.isAtMost(Refresh.nextAt(Refresh.initial), 0)
  })

  it.each([
    [0, 27_100],
    [0.5, 30_100],
    [1, 33_100]
  ])("is due again after the interval times U[0.9, 1.1]: random %d, at %d", (random, at) => {
    const refresh = Refresh.succeeded(Refresh.started(Refresh.initial, 0), 100, 30_000, random)
    assert.strictEqual(Refresh.nextAt(refresh), at)
  })

  it("waits 1, 2, 4 … 60 s after failures, and begins again at 1 s once one has succeeded", () => {
    const waits = (start: Refresh.Refresh) => {
      let refresh = start
      return Array.from({ length: 8 }, () => {
        refresh = Refresh.failed(Refresh.started(refresh, 0), 0, 1)
        return Refresh.nextAt(refresh) / 1_000
      })
    }
    assert.deepStrictEqual(waits(Refresh.initial), [1, 2, 4, 8, 16, 32, 60, 60])
    const recovered = Refresh.succeeded({ ...Refresh.initial, failures: 2_000 }, 0, 30_000, 0)
    assert.strictEqual(waits(recovered)[0], 1)
  })

  it("waits a fifth less at the least, so that those that failed together do not come back together", () => {
    const failed = { ...Refresh.initial, startedAt: 0, failures: 3 }
    assert.strictEqual(Refresh.nextAt(Refresh.failed(failed, 0, 0)), 6_400)
    assert.strictEqual(Refresh.nextAt(Refresh.failed(failed, 0, 0.5)), 7_200)
  })

  it("is due at once when it is hastened, but for the second between two fetches and for a registry that fails", () => {
    const refresh = Refresh.succeeded(Refresh.started(Refresh.initial, 0), 100, 30_000, 0.5)
    assert.strictEqual(Refresh.nextAt(Refresh.expedited(refresh, 5_000)), 5_000)
    assert.strictEqual(Refresh.nextAt(Refresh.expedited(refresh, 200)), 1_000)
    const failed = Refresh.failed({ ...refresh, failures: 5 }, 100, 1)
    assert.strictEqual(Refresh.nextAt(Refresh.expedited(failed, 5_000)), 32_100)
  })

  it("never waits longer than the longest wait, however many fetches have failed", () => {
    const refresh = Refresh.failed({ ...Refresh.initial, startedAt: 0, failures: 100_000 }, 0, 1)
    assert.strictEqual(Refresh.nextAt(refresh), Refresh.maxBackoffMillis)
  })

  it("is stale once the last one has failed or the next one is overdue, its own time included, and not before", () => {
    const refresh = Refresh.succeeded(Refresh.started(Refresh.initial, 0), 5_000, 30_000, 1)
    assert.isFalse(Refresh.isStale(refresh, 38_000, 30_000))
    assert.isTrue(Refresh.isStale(refresh, 38_001, 30_000))
    const quick = Refresh.succeeded(Refresh.started(Refresh.initial, 0), 5, 30_000, 1)
    assert.isFalse(Refresh.isStale(quick, 34_000, 30_000))
    assert.isTrue(Refresh.isStale(quick, 34_001, 30_000))
    assert.isTrue(Refresh.isStale(Refresh.failed(quick, 100, 1), 100, 30_000))
  })

  it("lets fetches begin once a second at most, whoever asks", () => {
    const refresh = Refresh.succeeded(Refresh.started(Refresh.initial, 500), 510, 1, 0)
    assert.isFalse(Refresh.mayStart(refresh, 1_499))
    assert.isTrue(Refresh.mayStart(refresh, 1_500))
    assert.strictEqual(Refresh.nextAt(refresh), 1_500)
  })
})
