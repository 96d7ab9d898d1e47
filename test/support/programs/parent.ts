/** Starts a ticker that ticks to TICKER_PORT, and waits to be killed. */
import { Effect } from "effect"
import * as Program from "../program.js"

const port = process.env.TICKER_PORT ?? ""
Effect.runFork(
  Effect.scoped(Effect.zipRight(Program.start("test/support/programs/ticker.ts", { TICKER_PORT: port }), Effect.never))
)
