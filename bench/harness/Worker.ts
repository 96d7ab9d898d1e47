import { type ChildProcess, fork } from "node:child_process"
import { basename, join } from "node:path"
import type { Cost } from "./Row.js"

export interface Place {
  /** Of the repository. */
  readonly root: string
  /** Where the compiled rows are. */
  readonly compiled: string
  /** Where CPU profiles go, one for each process. */
  readonly profiles?: string | undefined
  /** The Node that runs them. Default: this one. */
  readonly node?: string | undefined
}

const STOP_MILLIS = 10_000

/** A process that runs slices on request, one at a time. */
export class Worker {
  private constructor(
    private readonly child: ChildProcess,
    private readonly title: string
  ) {}

  /** Gives the worker when it is ready, and the first that it said. `row`: its file below `bench`, without the suffix. */
  static async start(
    place: Place,
    row: string,
    role: "subject" | "reference" | "server",
    address: string
  ): Promise<{ readonly worker: Worker; readonly said: string }> {
    const profiling =
      place.profiles === undefined || role === "server" ? [] : ["--cpu-prof", "--cpu-prof-dir", place.profiles]
    const child = fork(
      join(place.compiled, "bench/harness/contestant.js"),
      [join(place.compiled, `bench/${row}.js`), role, address],
      {
        cwd: place.root,
        execPath: place.node ?? process.execPath,
        execArgv:
          profiling.length === 0
            ? []
            : [...profiling, "--cpu-prof-name", `${basename(row)}-${role}-${Date.now()}.cpuprofile`],
        stdio: ["ignore", "inherit", "inherit", "ipc"]
      }
    )
    const worker = new Worker(child, `the ${role} of ${row}`)
    return { worker, said: await worker.answer<string>() }
  }

  slice(operations: number): Promise<Cost> {
    const answer = this.answer<Cost>()
    this.child.send(operations)
    return answer
  }

  stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.child.kill("SIGKILL"), STOP_MILLIS)
      this.child.once("exit", () => {
        clearTimeout(timer)
        resolve()
      })
      if (this.child.connected) this.child.disconnect()
    })
  }

  private answer<A>(): Promise<A> {
    return new Promise((resolve, reject) => {
      const stopListening = () => {
        this.child.off("message", onMessage)
        this.child.off("exit", onExit)
      }
      const onMessage = (message: unknown) => {
        stopListening()
        resolve(message as A)
      }
      const onExit = (code: number | null, signal: string | null) => {
        stopListening()
        reject(new Error(`${this.title} ended, ${signal ?? `code ${code}`}`))
      }
      this.child.on("message", onMessage)
      this.child.on("exit", onExit)
    })
  }
}
