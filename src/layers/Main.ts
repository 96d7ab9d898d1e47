/**
 * A program's main effect, ended by signals in the same way on Effect 3 and Effect 4.
 *
 * @since 0.1.0
 */
import { constants } from "node:os"
import * as Runtime from "@effect/platform/Runtime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { constVoid, dual } from "effect/Function"
import * as Fibers from "../internal/fibers.js"

/**
 * Takes the exit of the main effect, and gives the exit code of the process to `onExit`.
 *
 * @since 0.1.0
 * @category models
 */
export type Teardown = <A, E>(exit: Exit.Exit<A, E>, onExit: (code: number) => void) => void

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Default false: a failure is logged. */
  readonly disableErrorReporting?: boolean | undefined
  /** Default `teardown` of this module. */
  readonly teardown?: Teardown | undefined
}

/**
 * Exit code 0 for a success and for an effect that was interrupted and did nothing worse, as a program is that stops on SIGTERM;
 * else that of the runtime, which is 1. For `NodeRuntime.runMain({ teardown })` on Effect 4, whose own gives 130 for an
 * interruption: some supervisors take that for a crash.
 *
 * @since 0.1.0
 * @category running
 */
export const teardown: Teardown = (exit, onExit) =>
  Runtime.defaultTeardown(exit, (code) =>
    onExit(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause) ? 0 : code)
  )

const PID_1_MILLIS = 50

const run = Runtime.makeRunMain(({ fiber, teardown }) => {
  const keepAlive = setInterval(constVoid, 2 ** 31 - 1)
  let isSignalled = false
  const release = (): void => {
    process.removeListener("SIGINT", onSignal)
    process.removeListener("SIGTERM", onSignal)
  }
  const onSignal = (signal: NodeJS.Signals): void => {
    if (isSignalled) {
      release()
      process.kill(process.pid, signal)
      // The first process of a container, which no signal ends of itself, is still there.
      setTimeout(() => process.exit(128 + constants.signals[signal]), PID_1_MILLIS)
      return
    }
    isSignalled = true
    Fibers.unsafeInterrupt(fiber)
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  fiber.addObserver((exit) => {
    clearInterval(keepAlive)
    release()
    teardown(exit, (code) => {
      if (isSignalled || code !== 0) process.exit(code)
    })
  })
})

/**
 * Runs the main effect of a program. SIGINT and SIGTERM interrupt it, so its scopes close; a second one ends the process at
 * once, in the middle of a drain as well. The exit code is that of `teardown`. A failure is logged.
 *
 * `NodeRuntime.runMain` of Effect 3 does the same. That of Effect 4 ends with 130 after a signal, and ignores a second one.
 *
 * @since 0.1.0
 * @category running
 */
export const runMain: {
  (options?: Options): <A, E>(effect: Effect.Effect<A, E>) => void
  <A, E>(effect: Effect.Effect<A, E>, options?: Options): void
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E>(effect: Effect.Effect<A, E>, options?: Options): void =>
    run(effect, { ...options, teardown: options?.teardown ?? teardown })
)
