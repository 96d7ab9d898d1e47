/** The timing of leases, in milliseconds unless said otherwise. */

export interface Timing {
  /** Heartbeats in one TTL: three, so that two may be lost. */
  readonly heartbeatsPerTtl: number
  /** The shortest time between two heartbeats. */
  readonly minInterval: number
  /** How much earlier than due a heartbeat may be sent, as a part of the interval. */
  readonly heartbeatJitter: number
  /** An answer is overdue after half an interval, but not before this. */
  readonly minAnswerTime: number
  /** … and not later than this. */
  readonly maxAnswerTime: number
  /** Before the first repetition of a heartbeat that was not answered; 1.6 times as long before each further one. */
  readonly heartbeatRetryDelay: number
  /** The longest of these waits; a sixth of the TTL where that is less. */
  readonly maxHeartbeatRetryDelay: number
  /** The longest wait that is left when the connection comes back. */
  readonly reconnectDelay: number
  /** Before the second attempt to register; twice as long before each further one. */
  readonly registerDelay: number
  /** The longest of these waits. */
  readonly maxRegisterDelay: number
}

export const defaults: Timing = {
  heartbeatsPerTtl: 3,
  minInterval: 1_000,
  heartbeatJitter: 0.1,
  minAnswerTime: 1_000,
  maxAnswerTime: 10_000,
  heartbeatRetryDelay: 500,
  maxHeartbeatRetryDelay: 5_000,
  reconnectDelay: 2_000,
  registerDelay: 1_000,
  maxRegisterDelay: 30_000
}
