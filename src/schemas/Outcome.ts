/**
 * How a call ended:
 *
 * - `Success`: an answer.
 * - `Failure`: a failure that counts against the instance (soft evidence).
 * - `Unreachable`: the connection was refused, or `UNAVAILABLE` came before any byte (hard evidence).
 * - `Uncounted`: a failure that says nothing about the health of the instance.
 * - `Interrupted`: interrupted from outside. Not a failure, but its duration counts (see `slowAfter`).
 *
 * @since 0.1.0
 * @category models
 */
export type Outcome = "Success" | "Failure" | "Unreachable" | "Uncounted" | "Interrupted"
