import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import * as AuthClient from "../../src/layers/AuthClient.js"
import { Auth } from "../../src/services/Auth.js"
import type { Contestant, Row } from "../harness/Row.js"
import * as FakeConnection from "../support/fakeConnection.js"

const contestant = (name: string, loop: (operations: number) => Effect.Effect<void, unknown, Auth>): Contestant => ({
  name,
  start: async () => {
    const auth = AuthClient.layer({ clientKey: "key", clientSecret: Redacted.make("secret") })
    const runtime = ManagedRuntime.make(Layer.provide(auth, FakeConnection.make().layer))
    // From here on the token is at hand.
    await runtime.runPromise(Effect.flatMap(Auth, ({ token }) => token))
    return (operations) => runtime.runPromise(loop(operations))
  }
})

/** What a fresh token costs who asks for it: both sides yield the service, and one of them its token as well. */
const row: Row = {
  measure: "time",
  operations: 200_000,
  unit: { name: "ns", nanos: 1 },
  goal: 1_000,
  goalKind: "absolute",
  value: "over the reference",
  subject: contestant("yield* the service and its token", (operations) =>
    Effect.gen(function* () {
      for (let done = 0; done < operations; done++) {
        const auth = yield* Auth
        yield* auth.token
      }
    })
  ),
  reference: contestant("yield* the service", (operations) =>
    Effect.gen(function* () {
      for (let done = 0; done < operations; done++) {
        yield* Auth
      }
    })
  )
}

export default row
