/**
 * Functions for grpc-js, which calls them where nothing catches what they throw: the process would end, and the call would
 * not. What is thrown goes to a function that ends the call, and into the log.
 */
import type * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import * as Fibers from "../internal/fibers.js"
import * as ForeignText from "../internal/foreignText.js"
import * as Logs from "../internal/logs.js"
import * as Annotations from "../telemetry/Annotations.js"

/** Takes what was thrown. */
export type Catch = (cause: unknown) => void

const caught = (onThrow: Catch, cause: unknown): void => {
  try {
    onThrow(cause)
  } catch {
    // There is nowhere left to say it.
  }
}

/** Runs it now. */
export const run = (body: () => void, onThrow: Catch): void => {
  try {
    body()
  } catch (cause) {
    caught(onThrow, cause)
  }
}

export const of =
  <A extends ReadonlyArray<unknown>>(body: (...args: A) => void, onThrow: Catch): ((...args: A) => void) =>
  (...args) => {
    try {
      body(...args)
    } catch (cause) {
      caught(onThrow, cause)
    }
  }

/** A callback that goes on with a fiber: what it throws is a defect there. */
export const resuming = <Args extends ReadonlyArray<unknown>, A, E>(
  resume: (effect: Effect.Effect<A, E>) => void,
  body: (...args: Args) => Effect.Effect<A, E>
): ((...args: Args) => void) =>
  of(
    (...args) => resume(body(...args)),
    (cause) => resume(Effect.die(cause))
  )

// Not `of`: grpc-js tells the listener of a call from that of an interceptor by the number of parameters.
const one =
  <A>(body: (value: A) => void, onThrow: Catch): ((value: A) => void) =>
  (value) => {
    try {
      body(value)
    } catch (cause) {
      caught(onThrow, cause)
    }
  }

/** The listener of a call. */
export const listener = (inner: grpc.InterceptingListener, onThrow: Catch): grpc.InterceptingListener => ({
  onReceiveMetadata: one((metadata) => inner.onReceiveMetadata(metadata), onThrow),
  onReceiveMessage: one((message) => inner.onReceiveMessage(message), onThrow),
  onReceiveStatus: one((status) => inner.onReceiveStatus(status), onThrow)
})

/**
 * Runs an effect, and tells how it ended: in a turn of its own, since what hears of it is foreign. The fiber itself succeeds:
 * Effect logs one that fails and has no observer, and a logger that throws there ends the process. Gives its interruption.
 */
export const runThen =
  (runtime: Runtime.Runtime<never>, onThrow: Catch) =>
  <A, E>(effect: Effect.Effect<A, E>, then: (exit: Exit.Exit<A, E>) => void): (() => void) =>
    Runtime.runCallback(runtime)(Effect.exit(effect), {
      onExit: (exit) =>
        queueMicrotask(() => of(then, onThrow)(Exit.isSuccess(exit) ? exit.value : Exit.failCause(exit.cause)))
    })

/** A user's interceptor holds the token and foreign text, and may throw either. */
const shown = (thrown: unknown): Error => {
  const said = thrown instanceof Error ? thrown.message : String(thrown)
  const safe = ForeignText.shown(said.replace(/Bearer [^\s,;"']+/g, "Bearer <redacted>"))
  const error = new Error(safe)
  const stack = thrown instanceof Error ? thrown.stack : undefined
  error.stack = stack?.includes(said) === true ? stack.replace(said, () => safe) : `Error: ${safe}`
  return error
}

const log = (runtime: Runtime.Runtime<never>, module: string, message: string): Catch => {
  const runFork = Runtime.runFork(runtime)
  return (cause) => void runFork(Annotations.from(module)(Logs.error(message, Cause.die(shown(cause)))))
}

/** Logs what was thrown, with `message`. */
export const report = (module: string, message: string): Effect.Effect<Catch> =>
  Effect.map(Effect.runtime<never>(), (runtime) => log(runtime, module, message))

/** The same with the loggers of a fiber, which may have ended. */
export const reportOf = (fiber: Fibers.Running, module: string, message: string): Catch =>
  log(Fibers.runtimeOf(fiber), module, message)
