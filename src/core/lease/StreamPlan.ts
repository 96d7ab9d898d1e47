/**
 * How the heartbeats of many leases share streams: how many streams there are, which one a heartbeat takes, how many may be
 * outstanding on one, and when a stream is replaced.
 *
 * No lease belongs to a stream. A heartbeat takes the stream with the fewest outstanding, so that a lease that joins or
 * leaves moves no other, and a stalled stream is passed by. Where answers are slow a stream takes one heartbeat at a time,
 * and the lease that needs its answer first is first: a registry whose cache hangs answers about 8 heartbeats a second in
 * all, however many streams there are, which keeps about 300 leases of 60 s.
 *
 * All instants are monotonic milliseconds. `random` is 0 to 1, drawn by the caller.
 */
import * as Lease from "./Lease.js"

/** What the streams have to carry. */
export interface StreamLoad {
  readonly leases: number
  /** Heartbeats due in a millisecond: the sum of 1 / interval over all leases. */
  readonly heartbeatsPerMilli: number
  /** The time that the server takes for one heartbeat, as measured. */
  readonly millisPerHeartbeat: number
}

/** The server answers the heartbeats of a stream one at a time: half of its time stays free. */
const MAX_UTILISATION = 0.5

const LEASES_PER_STREAM = 8
const MAX_STREAMS = 16

/** While heartbeats are answered slowly: these carry 800 leases of 60 s at 3 s a heartbeat. */
const MAX_STREAMS_WHEN_SLOW = 64

/** A lease has two heartbeats under way at most. */
const MAX_STREAMS_PER_LEASE = 2

/**
 * How many streams there should be: one for every 8 leases, up to 16; so many that no stream is busy for more than half an
 * interval, up to 64 and to 2 for each lease. None without leases.
 */
export const wanted = ({ heartbeatsPerMilli, leases, millisPerHeartbeat }: StreamLoad): number => {
  if (leases === 0) return 0
  const usual = Math.min(MAX_STREAMS, Math.ceil(leases / LEASES_PER_STREAM))
  // Less a hair: a rounding error must not ask for one more.
  const busy = Math.ceil((heartbeatsPerMilli * millisPerHeartbeat) / MAX_UTILISATION - 1e-9)
  return Math.max(usual, Math.min(MAX_STREAMS_WHEN_SLOW, leases * MAX_STREAMS_PER_LEASE, busy))
}

/** What this lease adds to the load. */
export const heartbeatsPerMilli = ({ timing, ttl }: Pick<Lease.Lease, "timing" | "ttl">): number =>
  1 / Lease.interval(ttl, timing)

const RISE = 0.5
const FALL = 0.1

/** The measured time per heartbeat after another answer: rises fast, so that streams are there before queues are; falls slowly. */
export const measure = (measured: number, sample: number): number =>
  measured + (sample - measured) * (sample > measured ? RISE : FALL)

/** One stream, as the choice sees it. */
export interface StreamState {
  /** Heartbeats given to it and not answered. */
  readonly outstanding: number
  /** When the first of them reached the head of the queue; `Infinity` if there is none. */
  readonly headSince: number
  /** It takes heartbeats: its connection is there. */
  readonly isOpen: boolean
  /** It has answered a heartbeat. */
  readonly isProven: boolean
  /** It is to be replaced: it takes what no other can. */
  readonly isLeaving: boolean
}

/** The limit of a fast stream: a heartbeat given to it cannot be taken back. */
const MAX_OUTSTANDING = 32

/** An answer that takes longer makes a stream slow. */
const SLOW_ANSWER_MILLIS = 100

/** What waits behind another on its stream cannot be given to the lease that needs it more. */
const MAX_OUTSTANDING_WHEN_SLOW = 1

/** A new stream gets one heartbeat, to prove that it works. */
const MAX_OUTSTANDING_UNPROVEN = 1

const isSlow = (millisPerHeartbeat: number): boolean => millisPerHeartbeat > SLOW_ANSWER_MILLIS

const mostOutstanding = (stream: StreamState, millisPerHeartbeat: number, now: number): number => {
  if (!stream.isOpen) return 0
  if (!stream.isProven) return MAX_OUTSTANDING_UNPROVEN
  return isSlow(millisPerHeartbeat) || isSlow(now - stream.headSince) ? MAX_OUTSTANDING_WHEN_SLOW : MAX_OUTSTANDING
}

/** Of the leases whose heartbeats wait for a stream, the next: in turn, or where answers are slow, by need. */
export const nextWaiting = <A extends { readonly lease: Pick<Lease.Lease, "neededBy"> }>(
  waiting: Iterable<A>,
  millisPerHeartbeat: number
): A | undefined => {
  let next: A | undefined
  for (const entry of waiting) {
    if (next === undefined || entry.lease.neededBy < next.lease.neededBy) next = entry
    if (!isSlow(millisPerHeartbeat)) return next
  }
  return next
}

/** Heartbeats due together take one stream: sixteen on one cost a fraction of one on each of sixteen. */
const BATCH = 16

/**
 * The stream for the next heartbeat: the one with the fewest outstanding below its limit, counted in batches of 16 on fast
 * streams. Equals take 16 in turn; `sent` is the number of heartbeats before this one. `-1` if it has to wait.
 */
export const choose = (
  streams: ReadonlyArray<StreamState>,
  millisPerHeartbeat: number,
  sent: number,
  now: number
): number => {
  const start = Math.floor(sent / BATCH)
  let chosen = -1
  let fewest = Number.POSITIVE_INFINITY
  for (let offset = 0; offset < streams.length; offset++) {
    const index = (start + offset) % streams.length
    const stream = streams[index]
    if (stream === undefined) continue
    const { outstanding } = stream
    const most = mostOutstanding(stream, millisPerHeartbeat, now)
    const before =
      (most < BATCH ? outstanding : Math.floor(outstanding / BATCH)) + (stream.isLeaving ? MAX_OUTSTANDING : 0)
    if (outstanding >= most || before >= fewest) continue
    chosen = index
    fewest = before
  }
  return chosen
}

const LONGEST_OPEN_MILLIS = 10_000

/** How long a lease lets a new stream take to connect. */
export const openTime = ({ ttl }: Pick<Lease.Lease, "ttl">): number => Math.min(ttl / 2, LONGEST_OPEN_MILLIS)

/** Streams are replaced, so that load spreads over the replicas again. */
const STREAM_LIFE_MILLIS = 20 * 60_000

/** When a stream opened at `now` is replaced. */
export const renewAt = (now: number, random: number): number => now + STREAM_LIFE_MILLIS * (0.9 + 0.2 * random)

/** A surplus stream is kept so long: leases that come and go must not open and close streams all the time. */
const SURPLUS_MILLIS = 60_000

/** How many streams to close, if there are more than wanted since `surplusSince`. */
export const surplus = (streams: number, wanted: number, surplusSince: number, now: number): number =>
  wanted === 0 ? streams : now - surplusSince >= SURPLUS_MILLIS ? Math.max(0, streams - wanted) : 0

/**
 * When the next stream may be opened. After streams have broken or fallen silent, one at a time is tried until one has
 * answered: a registry that comes back is not met by all at once.
 */
export interface StreamBackoff {
  /** No new stream has answered since the last failure: an answer ends the backoff, time does not. */
  readonly isFailing: boolean
  readonly notBefore: number
}

export const open: StreamBackoff = { isFailing: false, notBefore: Number.NEGATIVE_INFINITY }

const LONGEST_WAIT = 30_000
const LONGEST_WAIT_WHILE_HELD = 5_000

/** A schedule without waits, such as `Schedule.forever`, must not make a loop. */
const SHORTEST_WAIT = 100

/** The longest wait for a stream that a lease allows: 30 s; a sixth of its TTL, at most 5 s, while it is held. */
export const longestWait = (lease: Lease.Lease): number =>
  Lease.isHeld(lease) ? Math.min(lease.ttl / 6, LONGEST_WAIT_WHILE_HELD) : LONGEST_WAIT

/** Streams that fail together count once: does one that fails now count? */
export const counts = (opening: StreamBackoff, now: number): boolean => now >= opening.notBefore

/** A stream failed: the next one follows after `wait`, which the schedule gave, or the longest that the leases allow. */
export const failed = (wait: number, longest: number, now: number): StreamBackoff => ({
  isFailing: true,
  notBefore: now + Math.min(Math.max(wait, SHORTEST_WAIT), longest)
})

/** What a wait is cut to when the registry can be reached again: not to zero, since other clients wait as well. */
const REACHABLE_DELAY = 2_000

/**
 * The registry can be reached again: the wait ends within 2 s. One that does so already is left as it is: each of many
 * registrations tells it, and the least of their draws would be next to nothing.
 */
export const reachable = (opening: StreamBackoff, now: number, random: number): StreamBackoff =>
  opening.notBefore - now <= REACHABLE_DELAY ? opening : { ...opening, notBefore: now + REACHABLE_DELAY * random }

/** Whether a stream may be opened now, with so many unproven. */
export const mayOpen = (opening: StreamBackoff, unproven: number, now: number): boolean =>
  now >= opening.notBefore && (!opening.isFailing || unproven === 0)
