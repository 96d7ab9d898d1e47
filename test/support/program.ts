import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Cause, Deferred, Effect } from "effect"

export interface Exited {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program that runs in a process of its own, until the scope closes at the latest. */
export interface Program {
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Waits until it has said this, on either of its outputs; fails with all that it has said when it does not in time. */
  readonly says: (text: string) => Effect.Effect<void, Cause.TimeoutException>
  readonly output: () => string
  readonly exited: Effect.Effect<Exited>
}

const root = fileURLToPath(new URL("../../", import.meta.url))

/** Runs a TypeScript file of this repository. `env` is all of its environment but PATH. */
export const start = (file: string, env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const exited = yield* Deferred.make<Exited>()
      const child = spawn(process.execPath, ["--import", "tsx", file], {
        cwd: root,
        env: { PATH: process.env.PATH, ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let output = ""
      const waiters = new Set<() => void>()
      const hear = (text: string) => {
        output += text
        for (const waiter of waiters) waiter()
      }
      child.stdout.setEncoding("utf8").on("data", hear)
      child.stderr.setEncoding("utf8").on("data", hear)
      child.on("close", (code, signal) => Deferred.unsafeDone(exited, Effect.succeed({ code, signal })))
      const heard = (text: string) =>
        Effect.async<void>((resume) => {
          const look = () => {
            if (output.includes(text)) resume(Effect.void)
          }
          waiters.add(look)
          look()
          return Effect.sync(() => waiters.delete(look))
        })
      const program: Program = {
        kill: (signal) => Effect.sync(() => void child.kill(signal)),
        says: (text) =>
          Effect.timeoutFail(heard(text), {
            duration: "60 seconds",
            onTimeout: () => new Cause.TimeoutException(`never said "${text}", but:\n${output}`)
          }),
        output: () => output,
        exited: Deferred.await(exited)
      }
      return program
    }),
    // A process that was stopped dies of it as well.
    (program) => Effect.zipRight(program.kill("SIGKILL"), program.exited)
  )
