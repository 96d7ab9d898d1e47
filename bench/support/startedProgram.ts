import { deepStrictEqual } from "node:assert"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Contestant } from "../harness/Row.js"

const file = fileURLToPath(new URL("startUp.js", import.meta.url))

/** Starts the program of `startUp.ts` again and again, with this process's Node, and tells the mean of what it said. */
export const contestant = (name: string, field: "cpuNanos" | "bytes"): Contestant => ({
  name,
  start: async () => async (operations) => {
    let sum = 0
    for (let done = 0; done < operations; done++) {
      const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", file])
      const said: Readonly<Record<"instances" | "cpuNanos" | "bytes", number>> = JSON.parse(stdout)
      deepStrictEqual(said.instances, 1)
      sum += said[field]
    }
    return sum / operations
  }
})
