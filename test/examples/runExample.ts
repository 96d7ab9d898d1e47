import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"

export interface Run {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
  readonly seconds: number
}

export interface Options {
  /** All of the program's environment but PATH: what the tests themselves were started with must not reach it. */
  readonly env?: Record<string, string>
  /** Sends SIGINT as soon as the program has said this. */
  readonly interruptAt?: string
}

const root = fileURLToPath(new URL("../../", import.meta.url))

// Each needs a second or two of a processor for its start: more of them at once would only be slower, each of them.
const threeAtOnce = Effect.unsafeMakeSemaphore(3).withPermits(1)

/** Runs a program of examples/ in a process of its own, as `npm run demo` does, with its output going to pipes. */
export const runExample = (name: string, options: Options = {}): Effect.Effect<Run> => threeAtOnce(run(name, options))

const run = (name: string, { env = {}, interruptAt }: Options): Effect.Effect<Run> =>
  Effect.async((resume) => {
    const startedAt = performance.now()
    const child = spawn(process.execPath, ["--import", "tsx", `examples/${name}.ts`], {
      cwd: root,
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    let isInterrupted = false
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      if (interruptAt !== undefined && !isInterrupted && stdout.includes(interruptAt)) {
        isInterrupted = child.kill("SIGINT")
      }
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    child.on("close", (exitCode) => {
      resume(Effect.succeed({ exitCode, stdout, stderr, seconds: (performance.now() - startedAt) / 1_000 }))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
