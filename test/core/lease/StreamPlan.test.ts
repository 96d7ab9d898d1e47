import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Lease from "../../../src/core/lease/Lease.js"
import * as StreamPlan from "../../../src/core/lease/StreamPlan.js"

const INTERVAL = 20_000

const load = (leases: number, millisPerHeartbeat = 1, interval = INTERVAL): StreamPlan.StreamLoad => ({
  leases,
  heartbeatsPerMilli: leases / interval,
  millisPerHeartbeat
})

const stream = (outstanding: number, more: Partial<StreamPlan.StreamState> = {}): StreamPlan.StreamState => ({
  outstanding,
  headSince: outstanding === 0 ? Number.POSITIVE_INFINITY : 0,
  isOpen: true,
  isProven: true,
  isLeaving: false,
  ...more
})

/** The choice at instant 0, where no head has waited yet. */
const choose = (streams: ReadonlyArray<StreamPlan.StreamState>, millisPerHeartbeat = 1, sent = 0, now = 0) =>
  StreamPlan.choose(streams, millisPerHeartbeat, sent, now)

describe("StreamPlan: how many streams", () => {
  const rows: ReadonlyArray<readonly [leases: number, millisPerHeartbeat: number, streams: number, why: string]> = [
    [0, 1, 0, "none without leases"],
    [1, 1, 1, "one for one lease"],
    [8, 1, 1, "one for eight"],
    [9, 1, 2, "a second for the ninth"],
    [128, 1, 16, "sixteen for 128"],
    [129, 1, 16, "no more than sixteen while heartbeats are quick"],
    [10_000, 1, 16, "no more than sixteen for 10,000"],
    [200, 800, 16, "16 × 10 s of heartbeats in 20 s are half of the time, and no more"],
    [200, 801, 17, "a little more than half of the time takes another one"],
    [200, 3_000, 60, "200 leases at 3 s a heartbeat"],
    [10_000, 3_000, 64, "never more than 64"],
    [1, 3_000, 1, "a slow heartbeat alone does not take a second stream"],
    [1, 20_000, 2, "one lease has two heartbeats under way at most"]
  ]
  for (const [leases, millisPerHeartbeat, streams, why] of rows) {
    it(`${why}: ${leases} leases at ${millisPerHeartbeat} ms a heartbeat have ${streams}`, () => {
      assert.strictEqual(StreamPlan.wanted(load(leases, millisPerHeartbeat)), streams)
    })
  }

  it("keeps the server busy for half of an interval at the most, on each stream, as long as 64 are enough", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.integer({ min: 1, max: 20_000 }),
        FastCheck.double({ min: 0, max: 10_000, noNaN: true }),
        FastCheck.integer({ min: 3_000, max: 86_400_000 }),
        (leases, millisPerHeartbeat, ttl) => {
          const interval = Lease.interval(ttl)
          const streams = StreamPlan.wanted(load(leases, millisPerHeartbeat, interval))
          assert.isAtLeast(streams, Math.min(16, Math.ceil(leases / 8)))
          assert.isAtMost(streams, 64)
          if (streams < Math.min(64, 2 * leases))
            assert.isAtMost((millisPerHeartbeat * leases) / streams, (interval / 2) * (1 + 1e-6))
        }
      )
    )
  })

  it("takes three slow answers to see a heartbeat of 3 s as one of more than 2.5 s, and more to forget it", () => {
    const slow = [3_000, 3_000, 3_000].reduce(StreamPlan.measure, 0)
    assert.isAbove(slow, 2_500)
    const after = [0, 0, 0].reduce(StreamPlan.measure, slow)
    assert.isAbove(after, 1_500)
  })

  it("never measures more or less than what it was given", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(FastCheck.nat(10_000), { minLength: 1 }), (samples) => {
        const measured = samples.reduce(StreamPlan.measure, samples[0] ?? 0)
        assert.isAtLeast(measured, Math.min(...samples) - 1e-6)
        assert.isAtMost(measured, Math.max(...samples) + 1e-6)
      })
    )
  })

  it("keeps a stream too many for a minute, and none when the last lease has gone", () => {
    assert.strictEqual(StreamPlan.surplus(16, 13, 0, 59_999), 0)
    assert.strictEqual(StreamPlan.surplus(16, 13, 0, 60_000), 3)
    assert.strictEqual(StreamPlan.surplus(13, 16, Number.POSITIVE_INFINITY, 60_000), 0)
    assert.strictEqual(StreamPlan.surplus(16, 0, 0, 0), 16)
  })
})

describe("StreamPlan: which stream", () => {
  it("is one with nothing outstanding, where answers take their time", () => {
    assert.strictEqual(choose([stream(2), stream(0), stream(1)], 101), 1)
  })

  it("is the one with the fewest batches of 16 outstanding, where answers are quick", () => {
    assert.strictEqual(choose([stream(15), stream(1)]), 0)
    assert.strictEqual(choose([stream(16), stream(15)]), 1)
  })

  it("is each in its turn where they are alike, for 16 heartbeats", () => {
    const alike = [stream(0), stream(0), stream(0)]
    assert.deepStrictEqual(
      [0, 15, 16, 32, 47, 48].map((sent) => choose(alike, 1, sent)),
      [0, 0, 1, 2, 2, 0]
    )
  })

  it("takes 32 heartbeats at the most where answers are quick, and the rest wait", () => {
    assert.strictEqual(choose([stream(31)]), 0)
    assert.strictEqual(choose([stream(32)]), -1)
  })

  it("is one that stays, even one that has proved nothing yet, before one that is to be replaced", () => {
    const leaving = stream(0, { isLeaving: true })
    assert.strictEqual(choose([leaving, stream(0, { isProven: false })]), 1)
    assert.strictEqual(choose([leaving, stream(1, { isProven: false })]), 0)
  })

  it("is none where there is none", () => {
    assert.strictEqual(choose([]), -1)
  })

  it("takes one heartbeat as long as it has not answered any, and no more", () => {
    assert.strictEqual(choose([stream(0, { isProven: false })]), 0)
    assert.strictEqual(choose([stream(1, { isProven: false })]), -1)
    assert.strictEqual(choose([stream(1, { isProven: false }), stream(5)]), 1)
  })

  it("takes none before it has a connection", () => {
    assert.strictEqual(choose([stream(0, { isOpen: false, isProven: false })]), -1)
  })

  it("takes one heartbeat where answers take longer than 100 ms, and the rest wait", () => {
    assert.strictEqual(choose([stream(1)], 100), 0)
    assert.strictEqual(choose([stream(0)], 101), 0)
    assert.strictEqual(choose([stream(1)], 101), -1)
  })

  it("takes one heartbeat where the first of them has waited for longer than 100 ms, whatever was measured", () => {
    assert.strictEqual(choose([stream(1, { headSince: 0 })], 1, 0, 100), 0)
    assert.strictEqual(choose([stream(1, { headSince: 0 })], 1, 0, 101), -1)
    assert.strictEqual(choose([stream(4, { headSince: 0 }), stream(4, { headSince: 90 })], 1, 0, 101), 1)
  })

  it("never fills a slow stream beyond one, and leaves no heartbeat waiting while one of them has room", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(FastCheck.nat(2), { minLength: 1, maxLength: 64 }),
        FastCheck.nat(63),
        (outstanding, start) => {
          const streams = outstanding.map((count) => ({ ...stream(count), outstanding: count }))
          for (;;) {
            const chosen = streams[choose(streams, 3_000, start)]
            if (chosen === undefined) break
            assert.strictEqual(chosen.outstanding, 0)
            chosen.outstanding++
          }
          assert.isTrue(streams.every((one) => one.outstanding >= 1))
        }
      )
    )
  })
})

describe("StreamPlan: which lease is next", () => {
  const waiting = [60_000, 45_000, 50_000].map((neededBy) => ({ lease: { neededBy } }))

  it("is the one that has waited longest where answers are quick", () => {
    assert.strictEqual(StreamPlan.nextWaiting(waiting, 100), waiting[0])
  })

  it("is the one that needs its answer first where they are slow", () => {
    assert.strictEqual(StreamPlan.nextWaiting(waiting, 101), waiting[1])
    assert.isUndefined(StreamPlan.nextWaiting([], 101))
  })
})

describe("StreamPlan: opening another one", () => {
  const { counts, failed, longestWait, mayOpen, open, reachable } = StreamPlan
  const lease = Lease.make({ ttl: 60_000 })

  it("is free as long as nothing has failed", () => {
    assert.isTrue(mayOpen(open, 0, 0))
    assert.isTrue(mayOpen(open, 15, 0))
  })

  it("waits as long as the schedule says, or as long as a lease that is held allows", () => {
    assert.strictEqual(failed(3_277, 5_000, 100).notBefore, 3_377)
    assert.strictEqual(failed(30_000, 5_000, 100).notBefore, 5_100)
  })

  it("counts streams that fail together once", () => {
    const first = failed(500, 5_000, 0)
    assert.isTrue(counts(open, 0))
    assert.isFalse(counts(first, 499))
    assert.isTrue(counts(first, 500))
  })

  it("tries one stream at a time after a failure, until it has answered", () => {
    const failing = failed(500, 5_000, 0)
    assert.isFalse(mayOpen(failing, 0, 499))
    assert.isTrue(mayOpen(failing, 0, 500))
    assert.isFalse(mayOpen(failing, 1, 500))
  })

  it("waits no longer than 2 s when the connection has come back, and no longer than it would have anyway", () => {
    const failing = failed(30_000, Number.POSITIVE_INFINITY, 0)
    assert.strictEqual(reachable(failing, 1_000, 1).notBefore, 3_000)
    assert.strictEqual(reachable(failing, 1_000, 0.25).notBefore, 1_500)
    assert.strictEqual(reachable(failed(1_200, 5_000, 0), 1_000, 1).notBefore, 1_200)
    assert.isTrue(reachable(failing, 1_000, 1).isFailing)
    assert.isTrue(mayOpen(reachable(open, 1_000, 1), 1, 1_000))
  })

  it("is cut once, not by each of many registrations that succeed after an outage", () => {
    const failing = failed(30_000, Number.POSITIVE_INFINITY, 0)
    const cut = reachable(failing, 1_000, 0.75)
    assert.strictEqual(reachable(cut, 1_010, 0).notBefore, cut.notBefore)
    assert.strictEqual(reachable(failed(5_000, 5_000, 2_000), 2_100, 0.5).notBefore, 3_100)
  })

  it("is asked for within a sixth of the TTL, 5 s at the most, where the lease is held", () => {
    const held: Lease.Lease = { ...lease, status: "Live" }
    assert.strictEqual(longestWait(held), 5_000)
    assert.strictEqual(longestWait({ ...held, ttl: 6_000 }), 1_000)
    assert.strictEqual(longestWait(lease), 30_000)
  })

  it("may take 10 s to connect, or half of a TTL that is shorter", () => {
    assert.strictEqual(StreamPlan.openTime(lease), 10_000)
    assert.strictEqual(StreamPlan.openTime({ ttl: 9_000 }), 4_500)
  })

  it("is due after 20 minutes, give or take a tenth", () => {
    const minutes = (random: number) => StreamPlan.renewAt(0, random) / 60_000
    assert.deepStrictEqual([0, 0.5, 1].map(minutes), [18, 20, 22])
  })
})
