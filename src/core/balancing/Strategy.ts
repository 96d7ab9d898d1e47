/** The interface of balancing strategies, and of your own. */
import type { Instance } from "../../schemas/Instance.js"
import type { Outcome } from "../../schemas/Outcome.js"

/**
 * An instance that may be picked, with its state. The object stays the same through every refresh while the instance key is
 * known: compare it with `===`, or use it as the key of a `WeakMap`.
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
  /** Calls in flight of `use`, `client` and scoped picks. A plain pick is not counted. */
  readonly inFlight: number
  /** When it was listed first, in monotonic milliseconds; -Infinity for the first list. */
  readonly since: number
  /**
   * The latency in milliseconds as the strategy last smoothed it, and when, in monotonic milliseconds: -Infinity until then.
   * Only a strategy that measures writes these two.
   */
  latencyMillis: number
  latencyAt: number
}

/**
 * What a pick is for.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  /** What the call is about (a user, a document): `consistentHash` picks the same instance for the same key. */
  readonly key?: string | undefined
  /** Instances that this call has tried. A strategy may ignore it: it is asked up to four times, then passed over. */
  readonly exclude?: ReadonlyArray<Candidate> | undefined
}

/**
 * The state of a strategy for one service, and for each `where`: a position, say. Its methods are synchronous and change it in
 * place. Where one throws, round robin picks instead, and the first error is logged.
 *
 * @since 0.1.0
 * @category models
 */
export interface Picker {
  /**
   * The candidates from now on: sorted by key, each key once, never changed afterwards. Runs after each refresh of the list,
   * each ejection and each return; what the strategy has learnt should survive it.
   */
  readonly update: (candidates: ReadonlyArray<Candidate>) => void
  /**
   * For a strategy whose `update` takes milliseconds for tens of thousands of candidates: does most of that in steps, for an
   * `update` with the same array that may follow. Picks go on between two steps. Runs where there is time, and not before each
   * `update`.
   */
  readonly prepare?: ((candidates: ReadonlyArray<Candidate>) => Iterable<void>) | undefined
  /**
   * One of the candidates; `undefined` where there are none. Runs again at once where the answer is excluded, ejected
   * meanwhile, or warming up. `now` is in monotonic milliseconds.
   */
  readonly pick: (now: number, request: Request) => Candidate | undefined
  /**
   * A call to an instance that this picker gave has ended after `latencyMillis`. Runs once for each reported call, also for
   * an instance that has left. `inFlight` is counted down already.
   */
  readonly ended?: ((candidate: Candidate, outcome: Outcome, latencyMillis: number, now: number) => void) | undefined
  /** What the strategy compares, for `explain`: smaller is better. */
  readonly score?: ((candidate: Candidate, now: number) => number) | undefined
}

/**
 * What a picker may use.
 *
 * @since 0.1.0
 * @category models
 */
export interface Context {
  /** At least 0 and less than 1. Seeded by Effect's `Random`, so that a test repeats exactly. */
  readonly random: () => number
  /** All calls of the service in flight, to any instance. */
  readonly inFlight: () => number
}

/**
 * A way to pick an instance. `make` makes a {@link Picker} without candidates: one for each service, and for each `where`.
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
