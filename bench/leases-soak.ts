/**
 * `npm run bench:soak -- [--minutes N]`: keeps 10,000 leases against a control plane in a process of its own, and prints the used
 * heap every 10 s. Ends with 1 if that grows steadily, or a lease is not live.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { summarize } from "./harness/statistics.js"
import { heapUsed, registered, serve, sleep } from "./support/leases.js"

const EVERY_MILLIS = 10_000
const GROWTH = 1.02

/** Of four parts of the time the first is left out, in which code is compiled; each other one holds more than the one before. */
const growsSteadily = (heaps: ReadonlyArray<number>): boolean => {
  const quarter = heaps.length / 4
  const part = (index: number) => summarize(heaps.slice(index * quarter, (index + 1) * quarter)).median
  return part(2) > part(1) && part(3) > part(2) && part(3) > part(1) * GROWTH
}

if (process.argv[2] === "plane") {
  process.on("disconnect", () => process.exit())
  process.send?.(await serve())
} else {
  const { values } = parseArgs({ options: { minutes: { type: "string", default: "30" } } })
  const samples = Math.max(4, (Number(values.minutes) * 60_000) / EVERY_MILLIS)
  const plane = fork(fileURLToPath(import.meta.url), ["plane"])
  plane.on("exit", () => process.exit(1))
  const [address] = await once(plane, "message")
  const { registrations } = await registered(String(address))
  const heaps: Array<number> = []
  while (heaps.length < samples) {
    await sleep(EVERY_MILLIS)
    heaps.push(heapUsed())
    console.log(`${(heaps.length * EVERY_MILLIS) / 1_000} s: ${((heaps.at(-1) ?? 0) / 2 ** 20).toFixed(2)} MiB`)
  }
  const states = await Effect.runPromise(Effect.forEach(registrations, ({ state }) => state))
  const live = states.filter((state) => state === "Live").length
  const grows = growsSteadily(heaps)
  console.log(`${live} of ${states.length} leases are live; the heap ${grows ? "grows" : "does not grow"} steadily`)
  plane.kill()
  process.exit(grows || live < states.length ? 1 : 0)
}
