/** The way to one address of the registry. */
import type { Address } from "../../schemas/Address.js"
import type * as Channel from "./Channel.js"
import type * as ServerStatus from "./ServerStatus.js"
import type * as Silence from "./Silence.js"

/**
 * Why a channel was replaced. `connecting`: it did not get through in time. `failing`: nor did it, and an attempt of it
 * failed, so that another may hang unseen. `silent`: something was sent and nothing at all
 * came back while an answer was due, as on a connection whose other end is gone without a word. `certificates`: they
 * changed.
 */
export type Reason = "connecting" | "failing" | "silent" | "certificates"

/** One grpc-js channel, and what is known of its connection. */
export interface ChannelState {
  readonly channel: Channel.Channel
  readonly madeAt: number
  readonly silence: Silence.Silence
  receivedAt: number
  /** When a call that began found it READY, or it became so; and when it became so. */
  readyAt: number
  connectedAt: number
  /** When it was looked at last, there was no connection. */
  wasDown: boolean
  /** It is told when its state changes. */
  isWatched: boolean
  /** Since when it tries to connect. */
  tryingSince: number | undefined
}

/** Of a call that has had nothing back. */
export interface Checker {
  /** Is asked from time to time, no sooner than it said before, and says when to ask again. */
  readonly check: (now: number) => number
  /** Its channel was replaced before it was sent: it goes to the new one. */
  readonly follow: () => void
}

/** A call under way. */
export interface PendingCall {
  readonly on: ChannelState
  readonly begunAt: number
  /** Since when its caller waits: earlier where it was moved here. */
  readonly since: number
  /** An answer is due: if none comes, the connection may be half-open. */
  readonly isDue: boolean
  /** Something came for it, or it has ended. */
  isSettled: boolean
  hasEnded: boolean
  readonly checker: Checker | undefined
  /** When its checker is asked again, at the earliest. */
  checkAt: number
}

/** grpc-js keeps a call until its channel is READY, and does not tell when it sends it. */
export const isSent = ({ begunAt, on }: PendingCall): boolean => on.readyAt >= begunAt

/**
 * The way to one address. Calls report what they see; it decides when to replace its channel. Instants are monotonic
 * milliseconds.
 */
export interface ManagedChannel {
  /** What it dials, if that is known. */
  readonly address: () => Address | undefined
  /** The channel for the next call. */
  readonly channel: () => Channel.Channel
  readonly now: () => number
  /** A connection is half-open when an answer is due and nothing at all came for so long. */
  readonly silenceMillis: number
  /** Connects, without a call. */
  readonly dial: () => void
  /** Is there none, although it tries? */
  readonly isTrying: () => boolean
  /** Did it swallow a call lately? */
  readonly isMute: () => boolean
  /** It swallowed a call: to be asked last for a while. */
  readonly setMute: () => void
  /** Has its address ever answered? */
  readonly hasAnswered: () => boolean
  /**
   * A call is sent on its channel now. `isDue`: an answer is due, as it is not on a stream that lasts. `since`: of a call that
   * was moved here.
   */
  readonly begin: (isDue: boolean, checker?: Checker, since?: number) => PendingCall
  /** Something came for a call, or on a stream. */
  readonly received: (call: PendingCall) => void
  /** The end of a call. Without a status: it was cancelled on this side. */
  readonly ended: (call: PendingCall, status: ServerStatus.Status | undefined) => void
  /** An answer has been due since then, and is overdue: if nothing came since, the channel is replaced. */
  readonly overdue: (since: number) => void
  /** Calls the function when the channel has been replaced. Gives what ends that. */
  readonly onReplaced: (listener: () => void) => () => void
}
