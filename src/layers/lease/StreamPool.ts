/**
 * The heartbeat streams of all leases: opened when there is a heartbeat to send, replaced when they break, are silent or
 * have to move, closed with the last lease. `core/lease/StreamPlan` has the rules, this file the fibers.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Lease from "../../core/lease/Lease.js"
import * as StreamPlan from "../../core/lease/StreamPlan.js"
import * as Logs from "../../internal/logs.js"
import { messageOf } from "../../internal/messageOf.js"
import * as Metric from "../../internal/metric.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Pulls from "../../internal/pulls.js"
import * as Wakes from "../../internal/wakes.js"
import type { HeartbeatAck, RegistryError } from "../../services/Registry.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Dispatch from "./Dispatch.js"
import { HeartbeatChannel } from "./HeartbeatChannel.js"
import type { LeaseEntry } from "./LeaseEntry.js"
import * as LeasePort from "./LeasePort.js"

const countHeartbeats = (acks: ReadonlyArray<HeartbeatAck>): void => {
  const refused = count(acks, ({ expiresAt }) => expiresAt === 0)
  const renewed = acks.length - refused
  if (renewed > 0) Metric.unsafeUpdate(Metrics.heartbeats, renewed, Labels.heartbeats.renewed)
  if (refused > 0) Metric.unsafeUpdate(Metrics.heartbeats, refused, Labels.heartbeats.refused)
}

const count = <A>(values: Iterable<A>, isCounted: (value: A) => boolean): number => {
  let counted = 0
  for (const value of values) if (isCounted(value)) counted++
  return counted
}

/** `moves` tells when all streams have to be replaced: their token was, say. */
export const make = ({ clock, registry, unsafeDispatch }: Dispatch.LeaseDeps, moves: Stream.Stream<unknown>) => {
  const now = () => Monotonic.unsafeNow(clock)
  const leases = new Set<LeaseEntry>()
  // Heartbeats that no stream has taken yet, in order. They outlive streams.
  const waiting = new Set<LeaseEntry>()
  const wake = Wakes.unsafeMakeLatch(false)
  let streams: ReadonlyArray<HeartbeatChannel> = []
  let opening = StreamPlan.open
  let heartbeatsPerMilli = 0
  let millisPerHeartbeat = 0
  let surplusSince = Number.POSITIVE_INFINITY
  let sent = 0
  let round = leases.values()

  const wanted = () => StreamPlan.wanted({ leases: leases.size, heartbeatsPerMilli, millisPerHeartbeat })
  const stays = ({ isLeaving }: HeartbeatChannel): boolean => !isLeaving
  const staying = () => count(streams, stays)
  const unproven = () => count(streams, ({ isProven }) => !isProven)

  const close = (stream: HeartbeatChannel) => {
    streams = streams.filter((other) => other !== stream)
    stream.unsafeClose()
  }

  /** Closes streams that have been replaced, and those that are not wanted any more. */
  const prune = (at: number) => {
    const target = wanted()
    for (const stream of streams) if (at >= stream.renewAt) stream.isLeaving = true
    const present = staying()
    surplusSince = present > target ? Math.min(surplusSince, at) : Number.POSITIVE_INFINITY
    const ending = StreamPlan.surplus(present, target, surplusSince, at)
    if (ending > 0) for (const stream of streams.filter(stays).slice(0, ending)) stream.isLeaving = true
    let working = count(streams, ({ isProven }) => isProven)
    for (const stream of streams) {
      if (!stream.isLeaving || (stream.isProven && working <= target)) continue
      if (stream.isProven) working--
      close(stream)
    }
  }

  const open = (at: number): Effect.Effect<HeartbeatChannel, never, Scope.Scope> =>
    Effect.flatMap(Random.next, (random) => {
      const stream = new HeartbeatChannel(clock, StreamPlan.renewAt(at, random), (entry) =>
        unsafeDispatch(entry, { _tag: "HeartbeatLost" })
      )
      streams = [...streams, stream]
      return Effect.as(Effect.forkScoped(Effect.interruptible(serve(stream))), stream)
    })

  const needsAnother = (at: number): boolean => staying() < wanted() && StreamPlan.mayOpen(opening, unproven(), at)

  /** Gives a heartbeat to a stream below its limit. */
  const place = (entry: LeaseEntry, at: number): boolean => {
    const stream = streams[StreamPlan.choose(streams, millisPerHeartbeat, sent, at)]
    if (stream === undefined) return false
    sent++
    stream.unsafeSend(entry)
    return true
  }

  /** Gives waiting heartbeats to streams, and opens streams for them while there are too few. */
  const assign = Effect.gen(function* () {
    const at = now()
    prune(at)
    for (const entry of waiting) {
      if (needsAnother(at)) (yield* open(at)).unsafeSend(entry)
      else if (!place(entry, at)) return
      waiting.delete(entry)
    }
  })

  /** A stream that is leaving stays until another one has answered; that one needs a heartbeat, which must be asked for. */
  const lacksSuccessor = () => streams.some(({ isLeaving }) => isLeaving) && staying() < wanted()

  /** The next lease, in turn, with no heartbeat in flight. */
  const nextIdle = (): LeaseEntry | undefined => {
    for (let seen = 0; seen <= leases.size; seen++) {
      const { done, value } = round.next()
      if (done) round = leases.values()
      else if (value.lease.nextHeartbeatAt < Number.POSITIVE_INFINITY) return value
    }
    return undefined
  }

  const askForHeartbeats: Effect.Effect<void> = Effect.suspend(() => {
    if (!lacksSuccessor() || !StreamPlan.mayOpen(opening, unproven(), now())) return Effect.void
    const idle = new Set<LeaseEntry>()
    const needed = opening.failures === 0 ? wanted() - staying() : 1
    for (let entry = nextIdle(); entry !== undefined && idle.size < needed && !idle.has(entry); entry = nextIdle()) {
      idle.add(entry)
    }
    return Dispatch.forEach(idle, (entry) => unsafeDispatch(entry, { _tag: "HeartbeatWanted" }))
  })

  const works = Effect.suspend(() => {
    if (opening.failures === 0) return Effect.void
    opening = StreamPlan.open
    return Logs.info("heartbeat streams work again")
  })

  const onAck = (stream: HeartbeatChannel, ack: HeartbeatAck): Dispatch.Rest => {
    const answered = stream.unsafeAnswered(ack.receivedAt)
    if (answered === undefined) return undefined
    millisPerHeartbeat = StreamPlan.measure(millisPerHeartbeat, answered.millis)
    const refused = ack.expiresAt === 0
    Metric.unsafeUpdate(Metrics.heartbeatRoundTrip, (ack.receivedAt - ack.sentAt) / 1_000, Labels.none)
    return unsafeDispatch(answered.entry, refused ? { _tag: "Refused" } : { _tag: "Renewed", sentAt: ack.sentAt })
  }

  const onAcks = (stream: HeartbeatChannel, acks: ReadonlyArray<HeartbeatAck>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isFirst = !stream.isProven
      countHeartbeats(acks)
      const all = Dispatch.forEach(acks, (ack) => onAck(stream, ack))
      return Effect.zipRight(
        isFirst ? Effect.zipRight(works, all) : all,
        Effect.sync(() => {
          // A stream that has just proved to work may replace another one.
          if (isFirst || waiting.size > 0 || lacksSuccessor()) wake.unsafeOpen()
        })
      )
    })

  const longestDelay = (): number => {
    let longest = StreamPlan.LONGEST_DELAY
    // Of all leases: others will have heartbeats to send before the next stream is tried.
    for (const { lease } of leases) longest = Math.min(longest, StreamPlan.longestDelay(lease.ttl, Lease.isHeld(lease)))
    return longest
  }

  const broke = (cause: Cause.Cause<RegistryError>): Effect.Effect<void> =>
    Effect.flatMap(Random.next, (random) => {
      const isFirst = opening.failures === 0
      opening = StreamPlan.broke(opening, longestDelay(), now(), random)
      const line = `a heartbeat stream broke, reopening after a backoff: ${messageOf(cause)}`
      return isFirst ? Logs.warning(line) : Logs.debug(line)
    })

  const ended = (stream: HeartbeatChannel, exit: Exit.Exit<void, RegistryError>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isMissed = streams.includes(stream)
      streams = streams.filter((other) => other !== stream)
      const lost = stream.entries
      if (lost.length > 0) Metric.unsafeUpdate(Metrics.heartbeats, lost.length, Labels.heartbeats.failed)
      const told = Dispatch.forEach(lost, (entry) => unsafeDispatch(entry, { _tag: "HeartbeatLost" }))
      const noted = Exit.isFailure(exit) && (isMissed || lost.length > 0) ? broke(exit.cause) : Effect.void
      return Effect.all([told, noted, Effect.sync(() => wake.unsafeOpen())], { discard: true })
    })

  const serve = (stream: HeartbeatChannel): Effect.Effect<void> =>
    Pulls.forEach(registry.heartbeats(stream.keys, { onLeave: Effect.sync(() => move([stream])) }), (acks) =>
      onAcks(stream, acks)
    ).pipe(
      Effect.raceFirst(stream.watch),
      Effect.raceFirst(stream.closed),
      Effect.onExit((exit) => ended(stream, exit)),
      Effect.ignore
    )

  const pause = Effect.suspend(() => {
    const left = waiting.size > 0 || lacksSuccessor() ? opening.notBefore - now() : 0
    return left > 0 ? Effect.asVoid(Effect.timeoutOption(wake.await, Math.ceil(left))) : wake.await
  })

  const move = (moving: Iterable<HeartbeatChannel>) => {
    for (const stream of moving) stream.isLeaving = true
    wake.unsafeOpen()
  }

  const reconnected = Effect.map(Random.next, (random) => {
    opening = StreamPlan.reachable(opening, now(), random)
    wake.unsafeOpen()
  })

  return {
    /** Sends a heartbeat as soon as a stream takes it; the lease is told its outcome, and counts as load from now on. */
    unsafeSend: (entry: LeaseEntry): void => {
      if (!leases.has(entry)) {
        leases.add(entry)
        heartbeatsPerMilli += StreamPlan.heartbeatsPerMilli(entry.lease)
      }
      // The usual case, without waking the fiber of `run` (measured: leases-10k-cpu).
      const at = now()
      if (waiting.size === 0) prune(at)
      if (waiting.size === 0 && !needsAnother(at) && place(entry, at)) return
      waiting.add(entry)
      wake.unsafeOpen()
    },
    /** The lease needs no more heartbeats: one that waits is dropped. */
    unsafeLeave: (entry: LeaseEntry): void => {
      if (!leases.delete(entry)) return
      waiting.delete(entry)
      heartbeatsPerMilli = leases.size === 0 ? 0 : heartbeatsPerMilli - StreamPlan.heartbeatsPerMilli(entry.lease)
      wake.unsafeOpen()
    },
    /** Keeps the streams until it is interrupted. */
    run: Effect.scoped(
      Effect.zipRight(
        Effect.all([
          Effect.forkScoped(Stream.runForEach(moves, () => Effect.sync(() => move(streams)))),
          Effect.forkScoped(Stream.runForEach(LeasePort.of(registry).reconnects, () => reconnected))
        ]),
        Effect.forever(
          Effect.suspend(() => {
            wake.unsafeClose()
            return assign.pipe(Effect.zipRight(askForHeartbeats), Effect.zipRight(pause))
          })
        )
      )
    )
  }
}
