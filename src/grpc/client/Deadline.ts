/** Deadlines of calls: instants of the real clock whatever clock the program runs under, since grpc-js uses real timers. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import { AioRpcError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"

/** An instant of the real clock, in milliseconds since the epoch, as grpc-js takes it. */
export type Deadline = number

export type Parent = Exclude<Parameters<grpc.Channel["createCall"]>[3], null>

// @effect-diagnostics-next-line globalDate:off
export const after = (millis: number): Deadline => Date.now() + millis

/** The deadline of a plain grpc-js call, which may have none. */
export const of = (deadline: Date | number | undefined): Deadline =>
  deadline instanceof Date ? deadline.getTime() : (deadline ?? Number.POSITIVE_INFINITY)

/** As with `createCall` of a channel. */
export const inherits = (flags: number | null | undefined, flag: grpc.propagate): boolean =>
  ((flags ?? grpc.propagate.DEFAULTS) & flag) !== 0

/** The deadline of a plain grpc-js call that may have a parent: the earlier of both. */
export const ofCall = (
  deadline: Date | number | undefined,
  parent: Parent | null | undefined,
  flags: number | null | undefined
): Deadline => {
  const own = of(deadline)
  return parent && inherits(flags, grpc.propagate.DEADLINE) ? Math.min(own, of(parent.getDeadline())) : own
}

/** True if it has passed, or is no instant. */
export const isOver = (deadline: Deadline): boolean => !(after(0) < deadline)

/** The longest time that a timer of Node takes. */
const MAX_TIMER = 2 ** 31 - 1

/** A timer that runs out so long after the deadline, or none where that is too far off. */
export const at = (deadline: Deadline, graceMillis: number, body: () => void): NodeJS.Timeout | undefined => {
  const millis = deadline - after(0) + graceMillis
  return millis <= MAX_TIMER ? setTimeout(body, millis) : undefined
}

/** Limits what precedes a call, such as acquiring the token, by the call's deadline: then fails with `DEADLINE_EXCEEDED`. */
export const before = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  deadline: Deadline,
  method: string
): Effect.Effect<A, E | AioRpcError, R> =>
  // Within a finalizer nothing times out unless it is made interruptible.
  Effect.timeoutFail(Effect.interruptible(effect), {
    duration: Math.max(0, deadline - after(0)),
    onTimeout: () =>
      new AioRpcError({
        method,
        code: StatusCode.DEADLINE_EXCEEDED,
        details: "no token before the deadline of the call"
      })
  })
