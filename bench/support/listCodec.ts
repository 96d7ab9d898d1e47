/** The contestants of the list-10k rows: from bytes to objects, nothing sent. */
import { strictEqual } from "node:assert"
import { Effect, Either } from "effect"
import * as Methods from "../../src/grpc/Methods.js"
import * as Slices from "../../src/internal/slices.js"
import * as Wire from "../../src/wire/Wire.js"
import type { Contestant, Row } from "../harness/Row.js"
import { countInstances, type ListOptions, renewed } from "./lists.js"

const repeated = (name: string, list: ListOptions, decode: (bytes: Buffer) => Promise<number>): Contestant => ({
  name,
  start: async () => {
    const next = renewed(list)
    return async (operations) => {
      for (let done = 0; done < operations; done++) {
        strictEqual(await decode(next()), list.services * list.instancesEach)
      }
    }
  }
})

const read = (bytes: Buffer): Effect.Effect<number, unknown> =>
  Effect.suspend(() => {
    const reading = Wire.readListServices(bytes)
    return Effect.zipRight(
      Slices.run(reading.step),
      Effect.suspend(() => Either.map(reading.result(), ({ value }) => countInstances(value)))
    )
  })

/** As `RegistryGrpc` reads a list, slices and all, beside `@grpc/proto-loader` with `longs: String`, which makes plain objects. */
export const row = (goal: number, list: ListOptions): Row => ({
  measure: "cpu",
  operations: 4,
  unit: { name: "ms CPU/list", nanos: 1e6 },
  goal,
  goalKind: "ratio",
  subject: repeated("bytes to domain", list, (bytes) => Effect.runPromise(read(bytes))),
  reference: repeated("bytes to plain objects, proto-loader", list, async (bytes) =>
    countInstances(Methods.registry.listServices.deserialize(bytes).services)
  )
})
