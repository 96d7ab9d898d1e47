/**
 * The process of a contestant, or of a row's server: `contestant.js ROW_FILE subject|reference|server ADDRESS`. Says that
 * it is ready, then answers every message with what that slice took.
 */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { pathToFileURL } from "node:url"
import { type Cost, nothing, type Row } from "./Row.js"

const [, , file = "", role = "", address = ""] = process.argv
const { default: row }: { readonly default: Row } = await import(pathToFileURL(file).href)

const say = (message: unknown): void => void process.send?.(message)

const watched = async (work: () => Promise<number | void>): Promise<number> => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  // Before and after, so that its timer is there to be late, and has been.
  await setTimeout(5)
  delay.reset()
  await work()
  await setTimeout(5)
  delay.disable()
  return delay.max
}

const cost = async (work: () => Promise<number | void>): Promise<Cost> => {
  if (row.measure === "block") return { ...nothing, blockNanos: await watched(work) }
  const cpu = process.cpuUsage()
  const time = process.hrtime.bigint()
  const told = await work()
  const timeNanos = Number(process.hrtime.bigint() - time)
  const { system, user } = process.cpuUsage(cpu)
  return { cpuNanos: (system + user) * 1_000, timeNanos, blockNanos: 0, toldNanos: told ?? 0 }
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
