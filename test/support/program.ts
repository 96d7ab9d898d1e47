import { spawn } from "node:child_process"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { Data, Deferred, Effect, type Scope } from "effect"

export interface Exited {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A program did not say what was waited for, in its time or before its end. The message has all that it said. */
export class NeverSaid extends Data.TaggedError("NeverSaid")<{ readonly message: string }> {}

/** A program that runs in a process of its own, until the scope closes or this process dies at the latest. */
export interface Program {
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** SIGSTOP: it does nothing until {@link Program.resume}, and its connections stay open. */
  readonly suspend: Effect.Effect<void>
  /** SIGCONT. */
  readonly resume: Effect.Effect<void>
  /** SIGTERM, and waits for its end. */
  readonly terminate: Effect.Effect<Exited>
  /** Waits until it has said this, on either of its outputs. */
  readonly says: (text: string) => Effect.Effect<void, NeverSaid>
  /** Waits for a whole line that matches, on either of its outputs, and gives the first such. */
  readonly line: (pattern: RegExp) => Effect.Effect<string, NeverSaid>
  /** As {@link Program.line}, of the lines to come. */
  readonly nextLine: (pattern: RegExp) => Effect.Effect<string, NeverSaid>
  readonly output: () => string
  readonly exited: Effect.Effect<Exited>
}

const root = fileURLToPath(new URL("../../", import.meta.url))
const withParent = new URL("programs/withParent.ts", import.meta.url).href

/** What a program has said, as text and in whole lines, and who waits for more. */
const makeOutput = () => {
  let text = ""
  let ended = false
  const lines: Array<string> = []
  const waiters = new Set<() => void>()
  const wake = () => {
    for (const waiter of waiters) waiter()
  }
  // Each stream has lines of its own: a half one waits for its rest, whatever the other says meanwhile.
  const listen = (stream: Readable) => {
    let rest = ""
    stream.setEncoding("utf8").on("data", (said: string) => {
      text += said
      const [last = "", ...whole] = `${rest}${said}`.split("\n").reverse()
      rest = last
      lines.push(...whole.reverse())
      wake()
    })
    stream.on("end", () => {
      if (rest !== "") lines.push(rest)
    })
  }
  const waitFor = <A>(what: string, find: () => A | undefined): Effect.Effect<A, NeverSaid> => {
    const never = (when: string) => new NeverSaid({ message: `never said ${what} ${when}, but:\n${text}` })
    return Effect.async<A, NeverSaid>((resume) => {
      const look = () => {
        const found = find()
        if (found !== undefined) resume(Effect.succeed(found))
        else if (ended) resume(Effect.fail(never("before its end")))
      }
      waiters.add(look)
      look()
      return Effect.sync(() => waiters.delete(look))
    }).pipe(Effect.timeoutFail({ duration: "60 seconds", onTimeout: () => never("in 60 seconds") }))
  }
  return {
    listen,
    end: () => {
      ended = true
      wake()
    },
    text: () => text,
    says: (part: string) => Effect.asVoid(waitFor(`"${part}"`, () => text.includes(part) || undefined)),
    line: (pattern: RegExp) => waitFor(`${pattern}`, () => lines.find((line) => pattern.test(line))),
    nextLine: (pattern: RegExp) =>
      Effect.suspend(() => {
        const from = lines.length
        return waitFor(`${pattern}`, () => lines.slice(from).find((line) => pattern.test(line)))
      })
  }
}

/** Runs a TypeScript file of this repository. `env` is all of its environment but PATH. */
export const start = (file: string, env: Record<string, string> = {}): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const exited = yield* Deferred.make<Exited>()
      const child = spawn(process.execPath, ["--import", "tsx", "--import", withParent, file], {
        cwd: root,
        env: { PATH: process.env.PATH, ...env },
        // Its input closes with this process, even when this one is killed.
        stdio: ["pipe", "pipe", "pipe"]
      })
      const { end, line, listen, nextLine, says, text } = makeOutput()
      listen(child.stdout)
      listen(child.stderr)
      child.on("close", (code, signal) => {
        end()
        Deferred.unsafeDone(exited, Effect.succeed({ code, signal }))
      })
      const kill = (signal: NodeJS.Signals) => Effect.sync(() => void child.kill(signal))
      const program: Program = {
        kill,
        suspend: kill("SIGSTOP"),
        resume: kill("SIGCONT"),
        terminate: Effect.zipRight(kill("SIGTERM"), Deferred.await(exited)),
        says,
        line,
        nextLine,
        output: text,
        exited: Deferred.await(exited)
      }
      return program
    }),
    // A process that was stopped dies of it as well.
    (program) => Effect.zipRight(program.kill("SIGKILL"), program.exited)
  )

/** How a process of a world begins. */
export interface Plan {
  readonly file: string
  readonly env?: Record<string, string>
  /** It has begun when it has said this. */
  readonly says: string
}

/** Starts several programs, three at a time: each takes seconds of a processor. Gives them when all have begun. */
export const world = <Name extends string>(
  plans: Readonly<Record<Name, Plan>>
): Effect.Effect<Readonly<Record<Name, Program>>, NeverSaid, Scope.Scope> =>
  Effect.map(
    Effect.forEach(
      Object.entries<Plan>(plans),
      ([name, { env, file, says }]) =>
        Effect.map(
          Effect.tap(start(file, env), (program) => program.says(says)),
          (program) => [name, program] as const
        ),
      { concurrency: 3 }
    ),
    (programs) => Object.fromEntries(programs) as Record<Name, Program>
  )
