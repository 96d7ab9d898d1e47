import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger, LogLevel, Redacted } from "effect"
import * as ForeignText from "../../src/internal/foreignText.js"
import * as Logs from "../../src/internal/logs.js"
import { messageOf } from "../../src/internal/messageOf.js"

describe("foreign text", () => {
  const rows: ReadonlyArray<readonly [what: string, text: string, shown: string]> = [
    ["line feeds", "a\nERROR b\r\n", "a\\u000aERROR b\\u000d\\u000a"],
    ["line and paragraph separators", "a\u2028b\u2029c\u0085d", "a\\u2028b\\u2029c\\u0085d"],
    ["terminal sequences", "\u001b[31mred\u009b0m\u0007", "\\u001b[31mred\\u009b0m\\u0007"],
    ["bidi marks", "\u202eevil\u2066\u200f\u061c", "\\u202eevil\\u2066\\u200f\\u061c"],
    ["NUL and DEL", "\u0000\u007f", "\\u0000\\u007f"],
    ["half a pair", "\ud800x", "\\ud800x"]
  ]
  it.each(rows)("is shown on one line, with %s escaped", (_, text, shown) => {
    assert.strictEqual(ForeignText.shown(text), shown)
  })

  it("stays as it is where it moves and hides nothing", () => {
    for (const text of ["客户端凭证无效", "Ünïcödé 👍 \\u000a", 'a "b" {c}', ""]) {
      assert.strictEqual(ForeignText.shown(text), text)
      assert.strictEqual(ForeignText.shown(ForeignText.shown(text)), text)
    }
  })

  it("is shown without the secrets that it quotes", () => {
    const secrets = [Redacted.make("s3cret"), undefined, Redacted.make("")]
    assert.strictEqual(ForeignText.without("s3cret and s3cret$&", secrets), "<redacted> and <redacted>$&")
  })

  it("of what was thrown is had, whatever that is", () => {
    const said = (thrown: unknown) => messageOf(Cause.die(thrown))
    assert.strictEqual(said(new Error("e")), "e")
    assert.strictEqual(said(Object.assign(new Error("e"), { message: undefined })), "undefined")
    assert.strictEqual(said(Object.create(null)), "an error that cannot be shown")
  })

  it.effect("takes one line of a log", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => void lines.push(message))
      yield* Effect.forEach([Logs.debug, Logs.info, Logs.warning, Logs.error], (log) => log("a\nb")).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Logger.withMinimumLogLevel(LogLevel.All)
      )
      assert.deepStrictEqual(lines, Array<unknown>(4).fill(["a\\u000ab"]))
    })
  )
})
