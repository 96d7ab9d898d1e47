import { assert, describe, it } from "@effect/vitest"
import type { LeaseState, RegistrationStatus } from "effect-aio"
import * as Readiness from "../../src/platform/Readiness.js"

const status = (state: LeaseState, wasLive: boolean): RegistrationStatus => ({
  service: { project: "shop", name: "orders", spec: { large: true } },
  instanceKey: "a",
  state,
  wasLive
})

const well = { isWell: true, isStopping: false, always: false }

const states: ReadonlyArray<readonly [state: LeaseState, wasLive: boolean, first: boolean, always: boolean]> = [
  ["Registering", false, false, false],
  ["Live", true, true, true],
  ["Suspect", true, true, true],
  ["Lost", true, true, false],
  ["Registering", true, true, false],
  ["Paused", false, false, false],
  ["Paused", true, true, false],
  ["Draining", true, false, false],
  ["Stopped", true, false, false]
]

describe("Readiness", () => {
  for (const [state, wasLive, first, always] of states) {
    it(`of a lease that is ${state} and was ${wasLive ? "" : "never "}live: ${first}, and with "always" ${always}`, () => {
      const registrations = [status(state, wasLive)]
      assert.strictEqual(Readiness.judge({ ...well, registrations }).ready, first)
      assert.strictEqual(Readiness.judge({ ...well, registrations, always: true }).ready, always)
    })
  }

  it("needs every registration, and at least one", () => {
    const registrations = [status("Live", true), status("Registering", false)]
    assert.isFalse(Readiness.judge({ ...well, registrations }).ready)
    assert.deepStrictEqual(Readiness.judge({ ...well, registrations: [] }).problems, ["nothing is registered"])
  })

  it("tells all problems at once, and of a service its name only", () => {
    const registrations = [status("Draining", true)]
    assert.deepStrictEqual(Readiness.judge({ isWell: false, isStopping: true, always: false, registrations }), {
      ready: false,
      problems: ["the server is stopping", "the app's own check fails", "shop/orders as a is being deregistered"],
      registrations: [
        { service: { project: "shop", name: "orders" }, instanceKey: "a", state: "Draining", wasLive: true }
      ]
    })
  })
})
