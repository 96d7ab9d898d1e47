/**
 * A control plane with PLANE_LIMITS (JSON) that says its address and its first client. On SIGUSR2 it collects its garbage and says how
 * much memory is in use.
 */
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Redacted } from "effect"
import * as ControlPlane from "effect-aio/ControlPlane"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

process.on("SIGUSR2", () => {
  collect()
  const { external, heapUsed } = process.memoryUsage()
  console.log(`memory ${heapUsed + external}`)
})

Effect.gen(function* () {
  const plane = yield* ControlPlane.make({ limits: JSON.parse(process.env.PLANE_LIMITS ?? "{}") })
  const { clientKey, clientSecret } = plane.credentials
  yield* Console.log(`plane ${plane.address} ${clientKey} ${Redacted.value(clientSecret)}`)
  return yield* Effect.never
}).pipe(Effect.scoped, NodeRuntime.runMain({ disablePrettyLogger: true }))
