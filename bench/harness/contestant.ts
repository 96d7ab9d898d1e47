/**
 * The process of a contestant, or of a row's server: `contestant.js ROW_FILE subject|reference|server ADDRESS`. Says that
 * it is ready, then answers every message with what that slice took.
 */
import { pathToFileURL } from "node:url"
import type { Cost, Row } from "./Row.js"

const [, , file = "", role = "", address = ""] = process.argv
const { default: row }: { readonly default: Row } = await import(pathToFileURL(file).href)

const say = (message: unknown): void => void process.send?.(message)

const cost = async (work: () => Promise<void>): Promise<Cost> => {
  const cpu = process.cpuUsage()
  const time = process.hrtime.bigint()
  await work()
  const timeNanos = Number(process.hrtime.bigint() - time)
  const { system, user } = process.cpuUsage(cpu)
  return { cpuNanos: (system + user) * 1_000, timeNanos }
}

// An exit, not an end of its own accord: keeps alive nothing, and lets --cpu-prof write its file.
process.on("disconnect", () => process.exit(0))

if (role === "server") {
  say(await row.serve?.())
} else {
  const slice = await (role === "subject" ? row.subject : row.reference).start(address)
  process.on("message", async (operations: number) => say(await cost(() => slice(operations))))
  say("ready")
}
