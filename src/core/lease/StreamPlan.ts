/**
 * How the heartbeats of many leases share streams: how many streams there are, which one a heartbeat takes, how many heartbeats may be
 * outstanding on one, and when a stream is to be left for another.
 *
 * No lease belongs to a stream. A heartbeat takes the stream with the fewest heartbeats before it, so that a lease that joins or
 * leaves moves no other, and a stream that has stalled is passed by.
 *
 * All instants are monotonic milliseconds. `random` is a number from 0 to 1 that the caller draws.
 */
import * as Backoff from "../Backoff.js"
import * as Lease from "./Lease.js"

export interface Settings {
  /** One stream for so many leases. Default 8. */
  readonly leasesPerStream: number
  /** At most so many streams while heartbeats are answered in time. Default 16. */
  readonly maxStreams: number
  /** At most so many while they are not. Default 64: at 3 s a heartbeat, these carry some 800 leases of 60 s. */
  readonly maxStreamsWhenSlow: number
  /** A heartbeat that takes longer than this to be answered makes its stream a slow one. Default 100. */
  readonly slowMillis: number
  /** At most so many heartbeats outstanding on a slow stream. Default 4. */
  readonly maxOutstandingWhenSlow: number
  /** How long a stream lives, give or take a tenth, so that load spreads over the replicas again. Default 20 minutes. */
  readonly lifeMillis: number
}

export const defaults: Settings = {
  leasesPerStream: 8,
  maxStreams: 16,
  maxStreamsWhenSlow: 64,
  slowMillis: 100,
  maxOutstandingWhenSlow: 4,
  lifeMillis: 20 * 60_000
}

/** What the streams have to carry. */
export interface Load {
  readonly leases: number
  /** Heartbeats that fall due in a millisecond: the sum over all leases of one by their interval. */
  readonly heartbeatsPerMilli: number
  /** How long the server takes for one heartbeat, as measured. */
  readonly millisPerHeartbeat: number
}

/** The server works a stream off one heartbeat at a time: half of its time is kept free. */
const MAX_UTILISATION = 0.5

/**
 * How many streams there should be: one for every 8 leases, up to 16; where the heartbeats of one stream would keep the server
 * busy for more than half an interval, so many that they do not, up to 64. None without leases.
 */
export const wanted = (settings: Settings, { heartbeatsPerMilli, leases, millisPerHeartbeat }: Load): number => {
  if (leases === 0) return 0
  const usual = Math.min(settings.maxStreams, Math.ceil(leases / settings.leasesPerStream))
  // A hair less, or rounding errors would ask for a stream more than the rule.
  const busy = Math.ceil((heartbeatsPerMilli * millisPerHeartbeat) / MAX_UTILISATION - 1e-9)
  return Math.max(usual, Math.min(settings.maxStreamsWhenSlow, busy))
}

/** How much more a millisecond holds when this lease joins. */
export const heartbeatsPerMilli = ({ timing, ttl }: Pick<Lease.Lease, "timing" | "ttl">): number =>
  1 / Lease.interval(ttl, timing)

const RISE = 0.5
const FALL = 0.1

/**
 * The measure of the time per heartbeat after another answer: quick to rise, since streams must be there before the queues
 * are, and slow to fall.
 */
export const measure = (measured: number, sample: number): number =>
  measured + (sample - measured) * (sample > measured ? RISE : FALL)

/** One stream, as the choice sees it. */
export interface Candidate {
  /** Heartbeats that it was given and that have not been answered. */
  readonly outstanding: number
  /** When the first of these came to the head of the queue; `Infinity` if there is none. */
  readonly headSince: number
  /** Has it answered a heartbeat yet? */
  readonly isProven: boolean
}

/** A stream is not filled further than this even while it is quick: what it was given cannot be taken back. */
const MAX_OUTSTANDING = 32

/** Nobody knows yet whether the stream works: it gets one heartbeat to show it with. */
const MAX_OUTSTANDING_UNPROVEN = 1

const mostOutstanding = (settings: Settings, stream: Candidate, millisPerHeartbeat: number, now: number): number => {
  if (!stream.isProven) return MAX_OUTSTANDING_UNPROVEN
  const isSlow = millisPerHeartbeat > settings.slowMillis || now - stream.headSince > settings.slowMillis
  return isSlow ? settings.maxOutstandingWhenSlow : MAX_OUTSTANDING
}

/** So many heartbeats that fall due together take one stream together: sixteen on one cost a fraction of one on each of sixteen. */
const BATCH = 16

/**
 * The stream for the next heartbeat: the one with the fewest outstanding among those that may have more, counted in batches of
 * 16 where streams are quick. Among equals each takes 16 heartbeats in its turn; `sent` is the number of heartbeats before this one.
 * `-1` if the heartbeat has to wait.
 */
export const choose = (
  settings: Settings,
  streams: ReadonlyArray<Candidate>,
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
    const most = mostOutstanding(settings, stream, millisPerHeartbeat, now)
    const before = most < BATCH ? outstanding : Math.floor(outstanding / BATCH)
    if (outstanding >= most || before >= fewest) continue
    chosen = index
    fewest = before
  }
  return chosen
}

/** The instant from which a stream that was opened at `now` is to be replaced. */
export const renewAt = (settings: Settings, now: number, random: number): number =>
  now + settings.lifeMillis * (0.9 + 0.2 * random)

/** How long a stream too many is kept: leases that come and go must not open and end streams all the time. */
const SURPLUS_MILLIS = 60_000

/** How many streams are to end, where there have been more than are wanted since `surplusSince`. */
export const surplus = (streams: number, wanted: number, surplusSince: number, now: number): number =>
  wanted === 0 ? streams : now - surplusSince >= SURPLUS_MILLIS ? Math.max(0, streams - wanted) : 0

/**
 * Whether, and when, another stream may be opened. When streams break, one at a time is tried until one has answered, so
 * that a registry that comes back is not met by all of them at once.
 */
export interface Opening {
  /** Rounds of failures in a row, since a new stream last answered. */
  readonly failures: number
  readonly notBefore: number
}

/** Nothing has failed, or a new stream has answered: success alone ends a back-off, never time. */
export const open: Opening = { failures: 0, notBefore: Number.NEGATIVE_INFINITY }

const FIRST_DELAY = 500
const DELAY_FACTOR = 1.6

/** The longest wait before the next stream where no lease is held. */
export const LONGEST_DELAY = 30_000

const LONGEST_DELAY_WHILE_HELD = 5_000

/**
 * The longest wait before the next stream where a heartbeat of a lease of this TTL waits for one: a sixth of the TTL, at most
 * 5 s, while the lease is held; else 30 s.
 */
export const longestDelay = (ttl: number, isHeld: boolean): number =>
  isHeld ? Math.min(ttl / 6, LONGEST_DELAY_WHILE_HELD) : LONGEST_DELAY

/**
 * A stream broke, or was not answered in time: the next one after up to 0.5, 0.8, 1.3 … seconds, never more than
 * `longest`, with full jitter. Streams that break together count once.
 */
export const broke = (opening: Opening, longest: number, now: number, random: number): Opening => {
  if (now < opening.notBefore) return opening
  const backoff = { base: FIRST_DELAY, factor: DELAY_FACTOR, cap: longest }
  return { failures: opening.failures + 1, notBefore: now + Backoff.delayMillis(backoff, opening.failures, random) }
}

/** What a wait is cut to when the registry can be reached again: not to zero, for everyone else is waiting as well. */
const REACHABLE_DELAY = 2_000

/** The connection to the registry has come back: the wait ends within 2 s. */
export const reachable = (opening: Opening, now: number, random: number): Opening =>
  opening.failures === 0
    ? opening
    : { ...opening, notBefore: Math.min(opening.notBefore, now + REACHABLE_DELAY * random) }

/** May a stream be opened now, with so many open that have not answered yet? */
export const mayOpen = (opening: Opening, unproven: number, now: number): boolean =>
  now >= opening.notBefore && (opening.failures === 0 || unproven === 0)
