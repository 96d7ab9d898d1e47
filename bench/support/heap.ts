import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

/** What the heap holds after a collection, buffers included. */
export const heapBytes = (): number => {
  // What the first leaves for finalizers to let go of, the second takes.
  for (let times = 0; times < 2; times++) collect()
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}
