/** The handle of a lease: `KeptLease` and `Registration`. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { LeaseEvent, LeaseState, Registration } from "../../services/Heartbeat.js"
import * as LeaseEntry from "./LeaseEntry.js"
import type { LeaseKeeper } from "./LeaseKeeper.js"

const isState = (note: LeaseEntry.LeaseNote): note is LeaseState => Predicate.isString(note)
const isEvent = (note: LeaseEntry.LeaseNote): note is LeaseEvent => !isState(note)

/** The present state, then all that happens, until it has stopped. */
const notes = (entry: LeaseEntry.LeaseEntry): Stream.Stream<LeaseEntry.LeaseNote> =>
  Stream.unwrapScoped(
    Effect.flatMap(Queue.unbounded<LeaseEntry.LeaseNote>(), (queue) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          entry.watchers = (entry.watchers ?? new Set()).add(queue)
          return Stream.concat(Stream.succeed(entry.lease.status), Stream.fromQueue(queue))
        }),
        () =>
          Effect.sync(() => {
            entry.watchers?.delete(queue)
            if (entry.watchers?.size === 0) entry.watchers = undefined
          })
      )
    )
  ).pipe(Stream.takeUntil((note) => note === "Stopped"))

/** Its effects are made when they are asked for: each takes about 1 KiB, and few of ten thousand leases are watched. */
export class RegistrationHandle implements Registration {
  readonly #keeper: LeaseKeeper
  readonly #entry: LeaseEntry.LeaseEntry

  constructor(keeper: LeaseKeeper, entry: LeaseEntry.LeaseEntry) {
    this.#keeper = keeper
    this.#entry = entry
  }

  get instanceKey() {
    const entry = this.#entry
    return Effect.sync(() => entry.instanceKey)
  }

  get state() {
    return this.#keeper.state(this.#entry)
  }

  get changes() {
    const { state } = this
    // After a pause of the process, what was noted may be out of date.
    return Stream.changes(
      Stream.mapEffect(Stream.filter(notes(this.#entry), isState), (noted) =>
        noted === "Live" || noted === "Suspect"
          ? Effect.map(state, (now) => (now === "Lost" ? now : noted))
          : Effect.succeed(noted)
      )
    )
  }

  get events() {
    return Stream.filter(notes(this.#entry), isEvent)
  }

  get stop() {
    return this.#keeper.stop([this.#entry])
  }

  get pause() {
    return this.#keeper.pause(this.#entry)
  }

  get resume() {
    return this.#keeper.resume(this.#entry)
  }

  get awaitLive() {
    const entry = this.#entry
    return Stream.runHead(Stream.filter(this.changes, (told) => told === "Live" || told === "Stopped")).pipe(
      Effect.flatMap((told) => (Option.contains(told, "Live") ? Effect.void : Effect.fail(LeaseEntry.stopped(entry))))
    )
  }
}
