/**
 * Functions for grpc-js, which calls them where nothing catches what they throw: the process would end, and the call would
 * not. What is thrown goes to a function that ends the call, and into the log.
 */
import type * as grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import type * as Fibers from "../internal/fibers.js"
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

/** The listener of a call. */
export const listener = (inner: grpc.InterceptingListener, onThrow: Catch): grpc.InterceptingListener => ({
  onReceiveMetadata: of((metadata) => inner.onReceiveMetadata(metadata), onThrow),
  onReceiveMessage: of((message) => inner.onReceiveMessage(message), onThrow),
  onReceiveStatus: of((status) => inner.onReceiveStatus(status), onThrow)
})

const log = (runtime: Runtime.Runtime<never>, module: string, message: string): Catch => {
  const runFork = Runtime.runFork(runtime)
  return (cause) => void runFork(Annotations.from(module)(Logs.error(message, Cause.die(cause))))
}

/** Logs what was thrown, with `message`. */
export const report = (module: string, message: string): Effect.Effect<Catch> =>
  Effect.map(Effect.runtime<never>(), (runtime) => log(runtime, module, message))

/** The same with the loggers of a fiber, which may have ended. */
export const reportOf = (fiber: Fibers.Running, module: string, message: string): Catch =>
  log(
    Runtime.updateFiberRefs(Runtime.defaultRuntime, () => fiber.getFiberRefs()),
    module,
    message
  )
