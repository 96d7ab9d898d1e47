import { Agent, get } from "node:http"
import { Effect, Layer, ManagedRuntime } from "effect"
import { peakEwma, roundRobin, type Strategy } from "../../src/core/balancing/Balancing.js"
import { PCGRandom } from "../../src/internal/random.js"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as RegistryMemory from "../../src/layers/RegistryMemory.js"
import { Discovery } from "../../src/services/Discovery.js"
import { Registry } from "../../src/services/Registry.js"
import type { Contestant, Row } from "../harness/Row.js"
import { RATE } from "../support/slowPeer.js"
import { serve } from "../support/slowServers.js"

const orders = { project: "shop", name: "orders" }

const register = (ports: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const { service } = yield* registry.ensureService(orders)
    yield* Effect.forEach(ports, (port) =>
      registry.registerInstance({
        serviceId: service.id,
        instanceKey: `orders-${port}`,
        env: "bench",
        host: "127.0.0.1",
        httpPort: Number(port),
        ttl: "1 day"
      })
    )
  })

const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const contestant = (strategy: Strategy): Contestant => ({
  name: strategy.name,
  start: async (address) => {
    const runtime = ManagedRuntime.make(
      DiscoveryCached.layer({ env: "bench", balancing: strategy }).pipe(Layer.provideMerge(RegistryMemory.layer()))
    )
    await runtime.runPromise(register(address.split(",")))
    const discovery = await runtime.runPromise(Discovery)
    const agent = new Agent({ keepAlive: true })
    const call = discovery.use(orders, (_, { httpUrl = "" }) =>
      Effect.async<void, Error>((resume) => {
        const request = get(httpUrl, { agent }, (response) => {
          response.resume().once("end", () => resume(Effect.void))
        })
        request.once("error", (error) => resume(Effect.fail(error)))
      })
    )
    const random = new PCGRandom(2)
    return async (operations) => {
      const millis: Array<number> = []
      const calls: Array<Promise<void>> = []
      let dueAt = performance.now()
      for (let i = 0; i < operations; i++) {
        // Calls come at random, however long those before them take.
        dueAt -= (1_000 / RATE) * Math.log(1 - random.number())
        const early = dueAt - performance.now()
        if (early > 0) await sleep(early)
        const startedAt = performance.now()
        calls.push(runtime.runPromise(call).then(() => void millis.push(performance.now() - startedAt)))
      }
      await Promise.all(calls)
      millis.sort((a, b) => a - b)
      return (millis[Math.floor(0.99 * millis.length)] ?? 0) * 1e6
    }
  }
})

/** `slow-peer-p99` over real connections: ten servers in a process of their own, one of them ten times slower. */
const row: Row = {
  measure: "told",
  operations: 300,
  unit: { name: "ms", nanos: 1e6 },
  goal: 0.5,
  goalKind: "ratio",
  subject: contestant(peakEwma),
  reference: contestant(roundRobin),
  serve
}

export default row
