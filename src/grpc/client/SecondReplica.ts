/** When a call that has had nothing back goes to another replica. Pure: instants are monotonic milliseconds. */

/** A call that has not been sent after this is moved to a replica that is READY. */
export const UNSENT_MILLIS = 2_000

/** A call that has had nothing back after this is made on another replica as well. */
export const MUTE_MILLIS = 3_000

/** How often it is looked whether another replica is READY. */
export const POLL_MILLIS = 200

/**
 * What may be done when nothing comes back. `free`: the call is made on another replica as well. `costly`, as an
 * authentication: only if its connection has never answered. `undefined`: the call is not made twice.
 */
export type Repetition = "free" | "costly" | undefined

/** A call that has had nothing back. */
export interface Unanswered {
  readonly begunAt: number
  /** When it was put on a connection. */
  readonly sentAt: number | undefined
  /** When anything at all came on that last. */
  readonly receivedAt: number
  /** Something has come from this replica before. */
  readonly hasAnswered: boolean
  readonly repetition: Repetition
  /** It was made on two replicas already. */
  readonly isRepeated: boolean
}

/**
 * `move`: to another channel, since it was not sent. `repeat`: on another replica as well. `mute`: it stays where it is, and
 * that replica is to be asked last. `stay`: its replica is slow, not mute.
 */
export type Decision = "wait" | "move" | "repeat" | "mute" | "stay"

/** When to decide. */
export const dueAt = ({ begunAt, sentAt }: Unanswered): number =>
  sentAt === undefined ? begunAt + UNSENT_MILLIS : sentAt + MUTE_MILLIS

export const decide = (call: Unanswered, now: number): Decision => {
  if (now < dueAt(call)) return "wait"
  if (call.sentAt === undefined) return "move"
  if (call.receivedAt >= call.sentAt) return "stay"
  if (call.isRepeated) return "mute"
  return call.repetition === "free" || (call.repetition === "costly" && !call.hasAnswered) ? "repeat" : "mute"
}
