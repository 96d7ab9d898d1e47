/**
 * The stream that the beats of all leases travel on: opened when there is something to send, opened anew when it breaks or
 * falls silent, closed when the last lease has gone.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as MetricLabel from "effect/MetricLabel"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Lease from "../../core/Lease.js"
import * as Monotonic from "../../internal/monotonic.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { LeaseKey } from "../../schemas/Ids.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { HeartbeatAck, Registry, RegistryError } from "../../services/Registry.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type { LeaseEntry } from "./LeaseEntry.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface BeatStream {
  /** Sends a beat as soon as there is a stream. Its outcome comes by `onEvent`. */
  readonly unsafeSend: (entry: LeaseEntry) => void
  /** Looks again whether there are leases: call it when one has gone. */
  readonly unsafeWake: () => void
  /** Keeps the stream, as long as there are leases, until it is interrupted. */
  readonly run: Effect.Effect<never>
  /** Notes when the stream has to move, until it is interrupted. */
  readonly watchMoves: Effect.Effect<never>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly registry: Registry.Service
  /** When to move to another stream: the token it was opened with has been replaced, say. */
  readonly moves: Stream.Stream<unknown>
  readonly hasLeases: () => boolean
  /** Is one of them held at present? Then a stream is worth more than the registry's peace. */
  readonly holdsLeases: () => boolean
  readonly onEvent: (entry: LeaseEntry, event: Lease.Event) => Effect.Effect<void>
}

interface OnWire {
  readonly entry: LeaseEntry
  /** When the beat came to the head of the stream's queue: the server answers one after the other. */
  headSince: number
}

const answerMillis = (entry: LeaseEntry): number => Lease.answerTime(entry.lease.ttl)

const resultLabels = {
  renewed: [MetricLabel.make("result", "renewed")],
  refused: [MetricLabel.make("result", "refused")],
  failed: [MetricLabel.make("result", "failed")]
}

const LONGEST_DELAY = Duration.seconds(30)
const LONGEST_DELAY_WHILE_HELD = Duration.seconds(5)

/** 0.5 s, 0.8 s, 1.3 s … with full jitter: up to 5 s while a lease is held, then up to 30 s. */
const reconnect = (holdsLeases: () => boolean) =>
  Schedule.exponential("500 millis", 1.6).pipe(
    Schedule.modifyDelayEffect((_, delay) =>
      Effect.map(Random.next, (random) =>
        Duration.times(Duration.min(delay, holdsLeases() ? LONGEST_DELAY_WHILE_HELD : LONGEST_DELAY), random)
      )
    )
  )

/** How long the server may take to end a stream that has nothing more to answer. */
const FAREWELL = "250 millis"

/** What one stream has sent and not been answered yet, in order. */
class Wire {
  private readonly sent: Array<OnWire> = []
  private readonly some = Effect.unsafeMakeLatch(false)
  private readonly drained = Effect.unsafeMakeLatch(false)
  private hasEnded = false

  constructor(private readonly clock: Clock.Clock) {}

  unsafeAdd(entry: LeaseEntry): void {
    this.sent.push({ entry, headSince: Monotonic.unsafeNow(this.clock) })
    this.some.unsafeOpen()
  }

  unsafeAnswered(receivedAt: number): LeaseEntry | undefined {
    const answered = this.sent.shift()
    const next = this.sent[0]
    if (next !== undefined) next.headSince = receivedAt
    else {
      this.some.unsafeClose()
      if (this.hasEnded) this.drained.unsafeOpen()
    }
    return answered?.entry
  }

  /** Nothing more will be sent. */
  unsafeEnd(): void {
    this.hasEnded = true
    if (this.sent.length === 0) this.drained.unsafeOpen()
  }

  /**
   * Done a moment after the last answer, once nothing more will be sent: the server should have ended the stream by then,
   * and one that does not, or cannot, must not keep the leases from the next.
   */
  get farewell(): Effect.Effect<void> {
    return Effect.delay(Effect.void, FAREWELL).pipe((wait) => Effect.zipRight(this.drained.await, wait))
  }

  get entries(): ReadonlyArray<LeaseEntry> {
    return this.sent.map(({ entry }) => entry)
  }

  /** Fails when an answer is overdue: a mute server, or a connection that swallows everything, shows itself only so. */
  readonly watch: Effect.Effect<never, AioRpcError> = Effect.suspend(() => {
    const head = this.sent[0]
    if (head === undefined) return Effect.zipRight(this.some.await, this.watch)
    const left = head.headSince + answerMillis(head.entry) - Monotonic.unsafeNow(this.clock)
    return left > 0
      ? Effect.zipRight(Effect.sleep(Duration.millis(Math.ceil(left))), this.watch)
      : Effect.fail(
          new AioRpcError({
            method: "RegistryService/HeartbeatStream",
            code: StatusCode.DEADLINE_EXCEEDED,
            details: `a beat was not answered within ${answerMillis(head.entry) / 1_000} s`
          })
        )
  })
}

const keyOf = (entry: LeaseEntry): LeaseKey | undefined =>
  entry.serviceId === undefined || entry.lease.status === "Draining" || entry.lease.status === "Stopped"
    ? undefined
    : { serviceId: entry.serviceId, instanceKey: entry.instanceKey }

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ hasLeases, holdsLeases, moves, onEvent, registry }: Options): Effect.Effect<BeatStream> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const driver = yield* Schedule.driver(reconnect(holdsLeases))
    // Beats that no stream has taken yet. They outlive the stream that did not get to them.
    const waiting = new Set<LeaseEntry>()
    const wake = Effect.unsafeMakeLatch(false)
    let failing = false
    let moving = false

    const end = (wire: Wire): Effect.Effect<never, Option.Option<never>> => {
      wire.unsafeEnd()
      return Effect.fail(Option.none())
    }

    const nextBeat = (wire: Wire): Effect.Effect<LeaseKey, Option.Option<never>> =>
      Effect.suspend(() => {
        // Ends the stream's input: it goes on until the beats on their way have been answered, and the next one, which takes
        // the beats that wait, is opened at once.
        if (moving) return end(wire)
        for (const entry of waiting) {
          waiting.delete(entry)
          const key = keyOf(entry)
          if (key === undefined) continue
          wire.unsafeAdd(entry)
          return Effect.succeed(key)
        }
        if (!hasLeases()) return end(wire)
        wake.unsafeClose()
        return Effect.zipRight(wake.await, nextBeat(wire))
      })

    // The back-off is reset by an answer, never by time: `Schedule.resetAfter` would restart it in mid-outage.
    const works = Effect.suspend(() => {
      if (!failing) return driver.reset
      failing = false
      return Effect.zipRight(driver.reset, Effect.logInfo("the heartbeat stream works again"))
    })

    const onAck = (wire: Wire, ack: HeartbeatAck): Effect.Effect<void> =>
      Effect.suspend(() => {
        const entry = wire.unsafeAnswered(ack.receivedAt)
        if (entry === undefined) return Effect.void
        const refused = ack.expiresAt === 0
        Metrics.beats.unsafeUpdate(1, refused ? resultLabels.refused : resultLabels.renewed)
        Metrics.beatRoundTripMillis.unsafeUpdate(ack.receivedAt - ack.sentAt, [])
        return onEvent(entry, refused ? { _tag: "Refused" } : { _tag: "Renewed", sentAt: ack.sentAt })
      })

    const stream = (wire: Wire): Effect.Effect<void, RegistryError> =>
      Effect.suspend(() => {
        let first = true
        return Stream.runForEach(registry.heartbeats(Stream.repeatEffectOption(nextBeat(wire))), (ack) => {
          if (!first) return onAck(wire, ack)
          first = false
          return Effect.zipRight(works, onAck(wire, ack))
        })
      })

    const once: Effect.Effect<void, RegistryError> = Effect.suspend(() => {
      const wire = new Wire(clock)
      moving = false
      return Effect.raceFirst(Effect.raceFirst(stream(wire), wire.watch), wire.farewell).pipe(
        Effect.ensuring(
          Effect.suspend(() => {
            const lost = wire.entries
            if (lost.length > 0) Metrics.beats.unsafeUpdate(lost.length, resultLabels.failed)
            return Effect.forEach(lost, (entry) => onEvent(entry, { _tag: "BeatLost" }), { discard: true })
          })
        )
      )
    })

    const failed = (cause: Cause.Cause<RegistryError>): Effect.Effect<void> =>
      Effect.suspend(() => {
        const error = Cause.squash(cause)
        const message = error instanceof Error ? error.message : String(error)
        const line = `the heartbeat stream broke, and is opened anew: ${message}`
        const log = failing ? Effect.logDebug(line) : Effect.logWarning(line)
        failing = true
        return Effect.zipRight(log, Effect.ignore(driver.next(undefined)))
      })

    return {
      unsafeSend: (entry) => {
        waiting.add(entry)
        wake.unsafeOpen()
      },
      unsafeWake: () => void wake.unsafeOpen(),
      run: Effect.forever(
        Effect.suspend(() => {
          if (hasLeases()) return Effect.catchAllCause(once, failed)
          wake.unsafeClose()
          return wake.await
        })
      ),
      watchMoves: Effect.zipRight(
        Stream.runForEach(moves, () =>
          Effect.sync(() => {
            moving = true
            wake.unsafeOpen()
          })
        ),
        Effect.never
      )
    }
  })
