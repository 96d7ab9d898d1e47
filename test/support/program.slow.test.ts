import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Program from "./program.js"
import { event, tcpServer } from "./wireServers.js"

const TIMEOUT = 120_000
const file = "test/support/programs/ticker.ts"

const ticksOf = (program: Program.Program) => program.output().split("\n").length

describe("program", () => {
  it.scopedLive(
    "waits for text, for a line, and for a line to come, and gives the exit code",
    () =>
      Effect.gen(function* () {
        const program = yield* Program.start(file, { TICKER_CODE: "7" })
        yield* program.says("tick 1\n")
        assert.strictEqual(yield* program.line(/^tick \d+$/), "tick 1")
        const seen = ticksOf(program)
        const next = yield* program.nextLine(/^tick \d+$/)
        assert.strictEqual(next, `tick ${seen}`)
        assert.deepStrictEqual(yield* program.terminate, { code: 7, signal: null })
        assert.strictEqual(yield* program.line(/bye/), "bye")
      }),
    TIMEOUT
  )

  it.scopedLive(
    "says nothing while it is suspended, and goes on where it was",
    () =>
      Effect.gen(function* () {
        const program = yield* Program.start(file)
        yield* program.says("tick 2\n")
        yield* program.suspend
        // What it said before the signal may still be on its way.
        yield* Effect.sleep("200 millis")
        const seen = ticksOf(program)
        yield* Effect.sleep("300 millis")
        assert.strictEqual(ticksOf(program), seen)
        yield* program.resume
        assert.strictEqual(yield* program.nextLine(/tick/), `tick ${seen}`)
      }),
    TIMEOUT
  )

  it.scopedLive(
    "fails at once, with all that was said, where a program ends before it says what is waited for",
    () =>
      Effect.gen(function* () {
        const program = yield* Program.start(file, { TICKER_LAST: "3" })
        const error = yield* Effect.flip(program.says("tick 3"))
        assert.strictEqual(error.message, 'never said "tick 3" before its end, but:\ntick 1\ntick 2\nhalf a li')
        assert.strictEqual(yield* program.line(/half/), "half a li")
        assert.deepStrictEqual(yield* program.exited, { code: 0, signal: null })
      }),
    TIMEOUT
  )

  it.live(
    "leaves no process behind when the scope closes, not even one that is suspended",
    () =>
      Effect.gen(function* () {
        const program = yield* Effect.scoped(
          Effect.gen(function* () {
            const started = yield* Program.start(file)
            yield* started.says("tick 1\n")
            yield* started.suspend
            return started
          })
        )
        assert.deepStrictEqual(yield* program.exited, { code: null, signal: "SIGKILL" })
      }),
    TIMEOUT
  )

  it.scopedLive(
    "leaves no process behind when the process that started it is killed",
    () =>
      Effect.gen(function* () {
        const ticked = event()
        const gone = event()
        const server = yield* tcpServer((socket) => {
          socket.on("data", () => ticked.happened())
          socket.on("close", () => gone.happened())
        })
        const parent = yield* Program.start("test/support/programs/parent.ts", { TICKER_PORT: String(server.port) })
        yield* ticked.await
        yield* parent.kill("SIGKILL")
        yield* gone.await
      }),
    TIMEOUT
  )

  it.scopedLive(
    "starts a world of several, each with its own fate",
    () =>
      Effect.gen(function* () {
        const begun = { file, says: "tick 1\n" }
        const { a, b, c, d } = yield* Program.world({
          a: begun,
          b: begun,
          c: { ...begun, env: { TICKER_CODE: "3" } },
          d: begun
        })
        yield* a.suspend
        yield* b.kill("SIGKILL")
        assert.deepStrictEqual(yield* b.exited, { code: null, signal: "SIGKILL" })
        assert.deepStrictEqual(yield* c.terminate, { code: 3, signal: null })
        yield* d.nextLine(/tick/)
        yield* a.resume
        yield* a.nextLine(/tick/)
      }),
    TIMEOUT
  )
})
