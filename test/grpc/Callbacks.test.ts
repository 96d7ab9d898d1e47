import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Logger } from "effect"
import * as Callbacks from "../../src/grpc/Callbacks.js"

describe("what a callback threw", () => {
  it.effect.each([
    ["an error", new Error("a bug: Bearer eyJ.a-b_c=, \nERROR forged\u2028line")],
    ["anything", "a bug: Bearer eyJ.a-b_c=, \nERROR forged\u2028line"]
  ])("is logged on one line and without the token: %s", ([, thrown]) => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause }) => void lines.push(Cause.pretty(cause)))
    return Effect.gen(function* () {
      const report = yield* Callbacks.report("Test", "a callback threw")
      report(thrown)
      const [said = "", ...frames] = lines.join("\n").split("\n")
      assert.include(said, "a bug: Bearer <redacted>, \\u000aERROR forged\\u2028line")
      for (const frame of frames) assert.match(frame, /^\s+at /)
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
})
