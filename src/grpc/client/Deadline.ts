/**
 * Deadlines of the wire. They are instants of the real clock whatever clock the program runs under, because the
 * transport keeps them with real timers; so only durations come in here.
 */
import * as Effect from "effect/Effect"
import { AioRpcError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"

/** An instant of the real clock, in milliseconds since the epoch, as grpc-js takes it. */
export type Deadline = number

// @effect-diagnostics-next-line globalDate:off
export const after = (millis: number): Deadline => Date.now() + millis

/** The deadline of a plain grpc-js call, which may have none. */
export const of = (deadline: Date | number | undefined): Deadline =>
  deadline instanceof Date ? deadline.getTime() : (deadline ?? Number.POSITIVE_INFINITY)

/** Has it passed? */
export const isOver = (deadline: Deadline): boolean => after(0) >= deadline

/**
 * Fails with `DEADLINE_EXCEEDED` what has to come before a call starts, the token above all, at the call's own deadline.
 */
export const before = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  deadline: Deadline,
  method: string
): Effect.Effect<A, E | AioRpcError, R> =>
  // Within a finalizer nothing is interrupted, and so nothing timed out, that is not told that it may be.
  Effect.timeoutFail(Effect.interruptible(effect), {
    duration: Math.max(0, deadline - after(0)),
    onTimeout: () =>
      new AioRpcError({
        method,
        code: StatusCode.DEADLINE_EXCEEDED,
        details: "no token was to be had before the deadline of the call"
      })
  })
