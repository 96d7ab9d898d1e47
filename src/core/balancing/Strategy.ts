/** How one of several instances is chosen: the interface of all strategies, and of your own. */
import type { Instance } from "../../schemas/Instance.js"

/**
 * An instance that may be chosen, and what is known of it beside its record. The object stays the same through every
 * refresh for as long as the instance key is known, so that it can be compared with `===` and be the key of a `WeakMap`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate {
  /** The `instanceKey`. */
  readonly key: string
  /** The latest record. */
  readonly instance: Instance
  /** `meta.weight` as a number from 0 to 1,000; 1 where there is none, or none that makes sense. */
  readonly weight: number
  /** Calls that have been begun and not ended, by `use` and scoped picks. A plain pick is not counted. */
  readonly inFlight: number
  /** When it was seen first (monotonic milliseconds); infinitely long ago if that was in the first list. */
  readonly since: number
  /**
   * Its latency in milliseconds as the strategy last smoothed it, and when that was: infinitely long ago until a strategy that
   * measures writes it. All others leave both alone.
   */
  latencyMillis: number
  latencyAt: number
}

/**
 * What is asked of a pick.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** What the call is about (a user, a document): `consistentHash` gives the same instance for the same key. */
  readonly key?: string | undefined
  /** Those that have been tried already. A strategy may ignore it: it is then asked again, and in the end passed over. */
  readonly exclude?: ReadonlyArray<Candidate> | undefined
}

/**
 * How a call ended:
 *
 * - `Success`: an answer.
 * - `Failure`: a failure that speaks against the instance (soft evidence).
 * - `Unreachable`: the connection was refused, or `UNAVAILABLE` came before any byte (hard evidence).
 * - `Uncounted`: a failure of another kind, which says nothing of the instance's health.
 * - `Interrupted`: ended from outside; only the time it lasted says something.
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "Success" | "Failure" | "Unreachable" | "Uncounted" | "Interrupted"

/**
 * One service's choosing, under way. It has state of its own (a position, say) and is changed in place by its own methods,
 * all of which are synchronous. One that throws harms nobody: that choice is made round-robin, and the error is logged once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Picker {
  /**
   * Whom to choose among from now on: sorted by key, each key once, and not changed afterwards. Told anew whenever the list
   * is refreshed, and whenever an instance is ejected or taken back; what the strategy has learnt should survive it.
   */
  readonly update: (candidates: ReadonlyArray<Candidate>) => void
  /**
   * One of the candidates; `undefined` where there are none. Asked again, at once, where the answer does not suit: where it
   * is excluded, or warming up. `now` is in monotonic milliseconds.
   */
  readonly pick: (now: number, request: Request) => Candidate | undefined
  /**
   * A call to an instance that this balancer gave has ended after `latencyMillis`. Comes once for each call that is
   * reported, also for an instance that has left meanwhile. `inFlight` is counted down already.
   */
  readonly ended?: ((candidate: Candidate, outcome: Outcome, latencyMillis: number, now: number) => void) | undefined
  /** What the choice rests on, for people who ask why: smaller is better. */
  readonly score?: ((candidate: Candidate, now: number) => number) | undefined
}

/**
 * What a balancer may draw on.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  /** At least 0 and less than 1. Seeded by Effect's `Random`: a test repeats exactly. */
  readonly random: () => number
  /** All calls of the service that are in flight, to whichever instance. */
  readonly inFlight: () => number
}

/**
 * A way to choose. `make` begins a {@link Picker} without candidates: once for each service, and for each `where`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Strategy {
  /** For metrics and explanations. */
  readonly name: string
  readonly make: (context: Context) => Picker
}

export const noRequest: Request = {}
