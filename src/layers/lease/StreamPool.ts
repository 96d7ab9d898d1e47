/**
 * The heartbeat streams of all leases: opened when there is a heartbeat to send, replaced when they break, are silent or
 * have to move, closed with the last lease. Each has a scoped fiber. After a failure, streams are opened again at the waits of
 * one schedule, by default `Schedule.exponential("500 millis", 1.6)` (option `reconnect`). `core/lease/StreamPlan` has the
 * rules, this file the fibers.
 */
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
import * as Waits from "../../internal/waits.js"
import * as Wakes from "../../internal/wakes.js"
import type { HeartbeatAck, RegistryError } from "../../services/Registry.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Dispatch from "./Dispatch.js"
import { HeartbeatChannel, type StreamOwner } from "./HeartbeatChannel.js"
import { keyOf, type LeaseEntry } from "./LeaseEntry.js"

const countHeartbeats = (acks: ReadonlyArray<HeartbeatAck>): void => {
  const refused = count(acks, ({ expiresAt }) => expiresAt === 0)
  const renewed = acks.length - refused
  if (renewed > 0) Metric.unsafeUpdate(Metrics.heartbeats, renewed, Labels.heartbeats.renewed)
  if (refused > 0) Metric.unsafeUpdate(Metrics.heartbeats, refused, Labels.heartbeats.refused)
}

const shortest = (leases: Iterable<LeaseEntry>, millis: (lease: Lease.Lease) => number): number => {
  let least = Number.POSITIVE_INFINITY
  for (const { lease } of leases) least = Math.min(least, millis(lease))
  return least
}

const isCurrent = (entry: LeaseEntry, { key }: HeartbeatAck): boolean => {
  const current = keyOf(entry)
  return current?.instanceKey === key.instanceKey && current.serviceId === key.serviceId
}

const count = <A>(values: Iterable<A>, isCounted: (value: A) => boolean): number => {
  let counted = 0
  for (const value of values) if (isCounted(value)) counted++
  return counted
}

/**
 * `moves` tells when all streams have to be replaced: their token was, say. `onWorks` is run when streams work again after a
 * failure.
 */
export const make = (
  { clock, registry, settings, unsafeDispatch }: Dispatch.LeaseDeps,
  moves: Stream.Stream<unknown>,
  onWorks: Effect.Effect<void>
) => {
  const now = () => Monotonic.unsafeNow(clock)
  const leases = new Set<LeaseEntry>()
  // Heartbeats that no stream has taken yet, in order. They outlive streams.
  const waiting = new Set<LeaseEntry>()
  const wake = Wakes.unsafeMakeLatch(false)
  let streams: ReadonlyArray<HeartbeatChannel> = []
  const waits = Waits.make(settings.reconnect, "tuning.heartbeat.reconnect")
  let opening = StreamPlan.open
  let heartbeatsPerMilli = 0
  let millisPerHeartbeat = 0
  let lastAnswerAt = Number.NEGATIVE_INFINITY
  let surplusSince = Number.POSITIVE_INFINITY
  let sent = 0

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
      const openBy = at + shortest(leases, StreamPlan.openTime)
      const stream = new HeartbeatChannel(clock, openBy, StreamPlan.renewAt(at, random), owner)
      streams = [...streams, stream]
      return Effect.as(Effect.forkScoped(Effect.interruptible(serve(stream))), stream)
    })

  const needsAnother = (at: number): boolean => staying() < wanted() && StreamPlan.mayOpen(opening, unproven(), at)

  /** Gives a heartbeat to a stream below its limit. */
  const place = (entry: LeaseEntry, at: number): boolean => {
    const stream = streams[StreamPlan.choose(streams, millisPerHeartbeat, sent, at)]
    if (stream === undefined) return false
    sent++
    entry.stream = stream
    stream.unsafeSend(entry)
    return true
  }

  /** A stream that is leaving stays until another one has answered. */
  const lacksSuccessor = () => streams.some(({ isLeaving }) => isLeaving) && staying() < wanted()

  /** Opens streams that are needed, and gives waiting heartbeats to those that are open. */
  const assign = Effect.gen(function* () {
    const at = now()
    prune(at)
    // Dialling takes no heartbeat: none is late if it fails.
    const needed = lacksSuccessor() ? streams.length + wanted() : waiting.size
    while (needsAnother(at) && count(streams, ({ isOpen }) => !isOpen) < needed) yield* open(at)
    for (
      let entry = StreamPlan.nextWaiting(waiting, millisPerHeartbeat);
      entry !== undefined && place(entry, at);
      entry = StreamPlan.nextWaiting(waiting, millisPerHeartbeat)
    ) {
      waiting.delete(entry)
    }
  })

  /** A new stream needs a heartbeat to prove itself before it replaces another one. */
  const askForHeartbeats: Effect.Effect<void> = Effect.suspend(() => {
    const isIdle = (stream: HeartbeatChannel) => stays(stream) && stream.isOpen && stream.outstanding === 0
    const needed = count(streams, (stream) => isIdle(stream) && !stream.isProven)
    if (needed === 0 || waiting.size > 0 || !streams.some(({ isLeaving }) => isLeaving)) return Effect.void
    // Of the leases that can best wait for the answer, found in one pass: there may be ten thousand.
    const best: Array<LeaseEntry> = []
    for (const entry of leases) {
      const { deadline, nextHeartbeatAt } = entry.lease
      if (nextHeartbeatAt === Number.POSITIVE_INFINITY) continue
      const place = best.findIndex(({ lease }) => lease.deadline < deadline)
      if (place >= 0) best.splice(place, 0, entry)
      else if (best.length < needed) best.push(entry)
      if (best.length > needed) best.pop()
    }
    return Dispatch.forEach(best, (entry) => unsafeDispatch(entry, { _tag: "HeartbeatWanted" }))
  })

  const works = Effect.suspend(() => {
    if (!opening.isFailing) return Effect.void
    opening = StreamPlan.open
    waits.unsafeReset()
    return Effect.zipRight(Logs.info("heartbeat streams work again"), onWorks)
  })

  const onAck = (stream: HeartbeatChannel, ack: HeartbeatAck): Dispatch.Rest => {
    const answered = stream.unsafeAnswered(ack.receivedAt)
    if (answered === undefined) return undefined
    const { entry, millis } = answered
    lastAnswerAt = ack.receivedAt
    millisPerHeartbeat = StreamPlan.measure(millisPerHeartbeat, millis)
    Metric.unsafeUpdate(Metrics.heartbeatRoundTrip, (ack.receivedAt - ack.sentAt) / 1_000, Labels.none)
    // Sent under a former key: it says nothing about this one.
    const sentAt = isCurrent(entry, ack) ? ack.sentAt : Number.NEGATIVE_INFINITY
    return unsafeDispatch(entry, { _tag: ack.expiresAt === 0 ? "Refused" : "Renewed", sentAt })
  }

  const onAcks = (stream: HeartbeatChannel, acks: ReadonlyArray<HeartbeatAck>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isFirst = !stream.isProven
      // A late answer on a silent stream shows as well as that of a new one that the registry is there.
      const renews = (!stream.hasRenewed || stream.isSilent) && acks.some(({ expiresAt }) => expiresAt > 0)
      stream.hasRenewed ||= renews
      countHeartbeats(acks)
      const all = Dispatch.forEach(acks, (ack) => onAck(stream, ack))
      return Effect.zipRight(
        renews ? Effect.zipRight(works, all) : all,
        Effect.sync(() => {
          // A stream that has just proved to work may replace another one.
          if (isFirst || waiting.size > 0 || lacksSuccessor()) wake.unsafeOpen()
        })
      )
    })

  /** A stream failed: the next one waits. */
  const failed = (what: () => string): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (!StreamPlan.counts(opening, now())) return Logs.debug(what())
      const isFirst = !opening.isFailing
      return Effect.flatMap(waits.next, (wait) => {
        // The longest that all leases allow: others will have heartbeats to send before the next stream is tried.
        opening = StreamPlan.failed(wait, shortest(leases, StreamPlan.longestWait), now())
        return isFirst ? Logs.warning(what()) : Logs.debug(what())
      })
    })

  const unsafeLost = (stream: HeartbeatChannel, entry: LeaseEntry): Dispatch.Rest => {
    if (entry.stream !== stream) return undefined
    entry.stream = undefined
    return unsafeDispatch(entry, { _tag: "HeartbeatLost", retryInMillis: Math.max(0, opening.notBefore - now()) })
  }

  const lose = (stream: HeartbeatChannel): Effect.Effect<void> =>
    Dispatch.forEach(stream.entries, (entry) => unsafeLost(stream, entry))

  const ended = (stream: HeartbeatChannel, exit: Exit.Exit<void, RegistryError>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isMissed = streams.includes(stream)
      streams = streams.filter((other) => other !== stream)
      const lost = stream.entries
      if (lost.length > 0) Metric.unsafeUpdate(Metrics.heartbeats, lost.length, Labels.heartbeats.failed)
      const problem = Exit.isFailure(exit) ? messageOf(exit.cause) : stream.hasRenewed ? undefined : "it was ended"
      const noted =
        problem !== undefined && !stream.isSilent && (isMissed || lost.length > 0)
          ? failed(() => `a heartbeat stream broke, reopening after a backoff: ${problem}`)
          : Effect.void
      return Effect.all([noted, lose(stream), Effect.sync(() => wake.unsafeOpen())], { discard: true })
    })

  /** Nothing at all has come on its connection: leases send on another one. Late answers on this one still count. */
  const fellSilent = (stream: HeartbeatChannel): Effect.Effect<void> =>
    Effect.suspend(() => {
      const lost = lose(stream)
      stream.unsafeFallSilent()
      close(stream)
      // First, since other streams may take the heartbeats at once.
      return Effect.zipRight(
        lost,
        failed(() => "a heartbeat stream is silent, opening another one after a backoff")
      )
    })

  const owner: StreamOwner = {
    answerMillis: ({ lease }) => Lease.answerTime(lease.ttl, lease.timing, millisPerHeartbeat),
    onOpen: () => wake.unsafeOpen(),
    onUnsent: unsafeLost,
    onOverdue: (stream, entry) =>
      Effect.suspend(() => {
        const isSilent = stream.isConnectionSilent?.() ?? lastAnswerAt < stream.headSince
        return Effect.zipRight(
          Dispatch.forEach([entry], (one) =>
            one.stream === stream ? unsafeDispatch(one, { _tag: "HeartbeatOverdue" }) : undefined
          ),
          isSilent && !stream.isSilent ? fellSilent(stream) : Effect.void
        )
      })
  }

  const serve = (stream: HeartbeatChannel): Effect.Effect<void> =>
    Pulls.forEach(
      registry.heartbeats(stream.keys, {
        onLeave: Effect.sync(() => move([stream])),
        onOpen: (isSilent) => {
          stream.isConnectionSilent = isSilent
        }
      }),
      (acks) => onAcks(stream, acks)
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

  return {
    /** Sends a heartbeat as soon as a stream takes it; the lease is told its outcome, and counts as load from now on. */
    unsafeSend: (entry: LeaseEntry): void => {
      if (!leases.has(entry)) {
        leases.add(entry)
        heartbeatsPerMilli += StreamPlan.heartbeatsPerMilli(entry.lease)
      }
      if (waiting.has(entry)) return
      // The usual case, without waking the fiber of `run` (measured: leases-10k-cpu).
      const at = now()
      if (waiting.size === 0) prune(at)
      if (waiting.size === 0 && !needsAnother(at) && place(entry, at)) return
      entry.stream = undefined
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
    /** The registry can be reached again: the wait for the next stream is cut. */
    reachable: Effect.map(Random.next, (random) => {
      opening = StreamPlan.reachable(opening, now(), random)
      wake.unsafeOpen()
    }),
    /** Keeps the streams until it is interrupted. */
    run: Effect.suspend(() => {
      // Begun again: what the former run has opened may have ended without having begun.
      streams = []
      return Effect.zipRight(
        Effect.forkScoped(Stream.runForEach(moves, () => Effect.sync(() => move(streams)))),
        Effect.forever(
          Effect.suspend(() => {
            wake.unsafeClose()
            return assign.pipe(Effect.zipRight(askForHeartbeats), Effect.zipRight(pause))
          })
        )
      )
    }).pipe(Effect.scoped)
  }
}
