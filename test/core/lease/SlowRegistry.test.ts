/**
 * A registry whose cache hangs, as a model: it answers about 8 heartbeats a second in all, however many streams there are,
 * each after 3 seconds and more, and one after the other on a stream. It has renewed what it answers late. Streams that were
 * given up at the first overdue answer, and their late answers with them, lost 39 of 200 leases in it, and 170 of 300.
 *
 * The rules are those of `core/lease`; how `layers/lease/StreamPool` applies them is written out again here, without fibers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Lease from "../../../src/core/lease/Lease.js"
import * as LeaseMachine from "../../../src/core/lease/LeaseMachine.js"
import * as StreamPlan from "../../../src/core/lease/StreamPlan.js"
import * as TimerQueue from "../../../src/core/lease/TimerQueue.js"
import { PCGRandom } from "../../../src/internal/random.js"

interface Later extends TimerQueue.Timed {
  readonly run: () => void
}

interface Holder {
  lease: Lease.Lease
  /** Heartbeats sent. */
  sent: number
  losses: number
  /** When it was acknowledged, and until when that holds. */
  readonly acknowledged: Array<number>
  until: number
}

interface Sent {
  readonly holder: Holder
  /** Which one of the lease. */
  readonly index: number
  readonly sentAt: number
}

/** A stream: the server takes its heartbeats one at a time. */
class ModelStream implements StreamPlan.StreamState {
  readonly isOpen = true
  readonly isLeaving = false
  isProven = false
  headSince = Number.POSITIVE_INFINITY
  readonly sent: Array<Sent> = []
  get outstanding(): number {
    return this.sent.length
  }
}

/** Connections of the server to its cache: each heartbeat holds one for so long. */
const CACHE_CONNECTIONS = 24
const CACHE_TIMEOUT_MILLIS = 3_000
const REGISTER_MILLIS = 6_000

const HANGS_FROM = 60_000
const HANGS_FOR = 120_000

interface Model {
  readonly leases: number
  readonly ttl: number
  /** A heartbeat whose answer is overdue is sent again, on another stream; only the answer to the last one counts. */
  readonly resendsOverdue?: boolean
  /** How long an answer takes while the cache hangs, beside others of the registry; without it, as long as the model's queue. */
  readonly answerMillis?: (random: number) => number
}

const play = ({ answerMillis, leases, resendsOverdue = false, ttl }: Model) => {
  const random = new PCGRandom(34)
  const agenda = TimerQueue.make<Later>()
  let now = 0
  const after = (millis: number, run: () => void) =>
    TimerQueue.schedule(agenda, { ...TimerQueue.unscheduled(), run }, now + Math.max(0, millis))

  let busy = 0
  const queue: Array<() => void> = []
  const isHanging = () => now >= HANGS_FROM && now < HANGS_FROM + HANGS_FOR
  const serve = (answer: () => void): void => {
    if (!isHanging()) after(2, answer)
    else if (answerMillis !== undefined) after(answerMillis(random.number()), answer)
    else if (busy === CACHE_CONNECTIONS) queue.push(() => serve(answer))
    else {
      busy++
      after(CACHE_TIMEOUT_MILLIS, () => {
        busy--
        answer()
        queue.shift()?.()
      })
    }
  }

  const holders: Array<Holder> = []
  const streams: Array<ModelStream> = []
  const waiting = new Set<Holder>()
  const heartbeatsPerMilli = leases / Lease.interval(ttl)
  let millisPerHeartbeat = 0
  let sent = 0

  const nextHead = (stream: ModelStream) => {
    const [head] = stream.sent
    stream.headSince = head === undefined ? Number.POSITIVE_INFINITY : now
    if (head === undefined) return
    serve(() => answered(stream))
    after(Lease.answerTime(ttl, undefined, millisPerHeartbeat), () => {
      if (stream.sent[0] === head) step(head.holder, { _tag: "HeartbeatOverdue" })
    })
  }
  const answered = (stream: ModelStream) => {
    const head = stream.sent.shift()
    if (head === undefined) return
    const { holder, index, sentAt } = head
    stream.isProven = true
    millisPerHeartbeat = StreamPlan.measure(millisPerHeartbeat, now - stream.headSince)
    if (resendsOverdue && index < holder.sent) return nextHead(stream)
    holder.acknowledged.push(now)
    holder.until = Math.max(holder.until, sentAt + ttl)
    nextHead(stream)
    step(holder, { _tag: "Renewed", sentAt })
    assign()
  }
  const assign = () => {
    const wanted = StreamPlan.wanted({ leases, heartbeatsPerMilli, millisPerHeartbeat })
    for (;;) {
      const holder = StreamPlan.nextWaiting(waiting, millisPerHeartbeat)
      if (holder === undefined) return
      if (streams.length < wanted) streams.push(new ModelStream())
      const stream = streams[StreamPlan.choose(streams, millisPerHeartbeat, sent, now)]
      if (stream === undefined) return
      waiting.delete(holder)
      give(stream, holder)
    }
  }
  const give = (stream: ModelStream, holder: Holder) => {
    sent++
    holder.sent++
    stream.sent.push({ holder, index: holder.sent, sentAt: now })
    if (stream.sent.length === 1) nextHead(stream)
    if (resendsOverdue) {
      const acknowledged = holder.acknowledged.length
      after(Lease.answerTime(ttl), () => {
        if (holder.acknowledged.length > acknowledged) return
        const another = new ModelStream()
        streams.push(another)
        give(another, holder)
      })
    }
  }

  const step = (holder: Holder, event: Lease.Event) => {
    const former = holder.lease
    const [next, actions] = LeaseMachine.step(former, event, now, random.number())
    holder.lease = next
    if (former.status !== "Lost" && next.status === "Lost") holder.losses++
    for (const action of actions) {
      if (action === "Heartbeat") {
        waiting.add(holder)
        assign()
      } else after(isHanging() ? REGISTER_MILLIS : 2, () => step(holder, { _tag: "Registered" }))
    }
    const at = Lease.wakeAt(next)
    if (at < Number.POSITIVE_INFINITY) {
      after(at - now, () => {
        if (Lease.wakeAt(holder.lease) <= now) step(holder, { _tag: "Tick" })
      })
    }
  }

  for (let i = 0; i < leases; i++) {
    const lease = Lease.make({ ttl, phase: (i * 0.618) % 1 })
    const holder: Holder = { lease, sent: 0, losses: 0, acknowledged: [], until: Number.NEGATIVE_INFINITY }
    holders.push(holder)
    step(holder, { _tag: "Ready" })
  }
  for (const end = HANGS_FROM + HANGS_FOR; TimerQueue.nextAt(agenda) <= end; ) {
    now = TimerQueue.nextAt(agenda)
    while (TimerQueue.nextAt(agenda) === now) TimerQueue.take(agenda, now)?.run()
    // Held exactly as long as the registry is known to hold it.
    for (const { lease, until } of holders) {
      if (!resendsOverdue && Lease.isHeld(lease) !== now < until)
        assert.fail(`${lease.status} at ${now}, known to hold until ${until}`)
    }
  }
  return { holders, sent }
}

const longestGap = (instants: ReadonlyArray<number>): number =>
  Math.max(...instants.map((at, index) => at - (instants[index - 1] ?? 0)))

describe("A registry whose cache hangs for two minutes", () => {
  it("keeps all of 200 leases of 60 seconds, and acknowledges each once in 50", () => {
    const { holders, sent } = play({ leases: 200, ttl: 60_000 })
    assert.deepStrictEqual([...new Set(holders.map(({ losses }) => losses))], [0])
    assert.isAtMost(Math.max(...holders.map(({ acknowledged }) => longestGap(acknowledged))), 50_000)
    // A minute of the usual, then what it can answer, and one under way for each.
    assert.isAtMost(sent, 200 * 5 + 8 * 120 + 200)
  })

  it("would lose most of them if what is overdue were sent again, and only the last answer counted", () => {
    const { holders } = play({ leases: 200, ttl: 60_000, resendsOverdue: true })
    assert.isAbove(holders.filter(({ losses }) => losses > 0).length, 100)
  })

  it("keeps 3 leases of 15 seconds exactly as far as its late answers reach", () => {
    const { holders } = play({ leases: 3, ttl: 15_000, answerMillis: (random) => 3_000 + 13_000 * random })
    for (const { acknowledged, losses } of holders) {
      assert.isAtMost(losses, acknowledged.length)
      assert.isAtLeast(acknowledged.length, 15)
    }
  })
})
