import { assert, describe, it, vi } from "@effect/vitest"
import { Either } from "effect"
import { DeadKeys } from "../../../src/core/registry/DeadKeys.js"
import * as RegistryModel from "../../../src/core/registry/RegistryModel.js"
import * as PlaneLimits from "../../../src/schemas/PlaneLimits.js"
import type * as Messages from "../../../src/wire/Messages.js"
import {
  answer,
  heartbeat,
  instance,
  key,
  listed,
  newKey,
  refusal,
  T,
  withService
} from "../../support/registryModel.js"

const HOUR = 60 * 60 * 1_000

describe("RegistryModel: what is forgotten", () => {
  const world = () => {
    const model = withService()
    return {
      model,
      register: (instance_key: string, now: number, changes: Messages.RegisterInstanceRequest = {}) =>
        answer(model.register(instance({ instance_key, ...changes }), { now, newKey }))
    }
  }

  it.each([
    ["60 s", "60", 60_000],
    ["a day", "86400", 24 * HOUR],
    ["292 years, of which a day counts", "9223372036", 24 * HOUR]
  ])("a record, an hour after the end of its lease of %s", (_, ttl_seconds, lease) => {
    const { model, register } = world()
    register("silent", T, { ttl_seconds })
    register("other", T + lease + HOUR)
    assert.notStrictEqual(heartbeat(model, "silent", T + lease + HOUR), "0")
    register("other", T + 2 * (lease + HOUR) + 1)
    assert.strictEqual(heartbeat(model, "silent", T + 2 * (lease + HOUR) + 1), "0")
  })

  it("a record behind 100,000 services without instances, which are not stepped over at once", () => {
    const model = new RegistryModel.RegistryModel({}, 0, { ...PlaneLimits.standard, services: 100_001 })
    for (let i = 0; i < 100_000; i++) model.ensure({ project: "empty", name: String(i) }, T)
    const last = answer(model.ensure({ project: "shop", name: "last" }, T)).service?.id ?? ""
    const register = (instance_key: string, now: number) =>
      answer(model.register(instance({ instance_key, service_id: last }), { now, newKey }))
    register("silent", T)
    const seen = vi.spyOn(Map.prototype, Symbol.iterator)
    register("other", T + 2 * HOUR)
    const looked = seen.mock.calls.length
    seen.mockRestore()
    assert.isAtMost(looked, 10_001)
    for (let i = 1; i <= 11; i++) register("other", T + (2 + i) * HOUR)
    assert.strictEqual(model.renew({ service_id: last, instance_key: "silent" }, T + 14 * HOUR).expires_at, "0")
  })

  it("a dead key, a day after its record was deleted", () => {
    const { model, register } = world()
    register("dead", T)
    model.deleteInstance(key("dead"), T)
    register("dead", T + 24 * HOUR - 1)
    assert.strictEqual(heartbeat(model, "dead", T + 24 * HOUR - 1), "0")
    register("dead", T + 24 * HOUR)
    assert.notStrictEqual(heartbeat(model, "dead", T + 24 * HOUR), "0")
  })

  it("the oldest dead keys, where there are more than 100,000", () => {
    const dead = new DeadKeys()
    for (let i = 0; i < 100_002; i++) dead.add(String(i), { id: String(i), firstSeenAt: T }, T)
    const found = ["0", "1", "2", "100001"].map((each) => dead.find(each, T)?.id)
    assert.deepStrictEqual(found, [undefined, undefined, "2", "100001"])
  })

  it.each([
    ["every registration has a key of its own", 100, (i: number) => String(i)],
    ["one registration comes in a minute", 60_000, () => "other"]
  ])("all of it in time, though %s", (_, every, keyOf) => {
    const { model, register } = world()
    for (let i = 0; i < 10_000; i++) register(`old-${i}`, T)
    // As of T, when all of them were online.
    const old = () => listed(model, T).filter((each) => each.startsWith("old")).length
    assert.strictEqual(old(), 10_000)
    const passed = HOUR + 60_000
    for (let at = 0; at <= 11 * 60_000; at += every) register(keyOf(at), T + passed + at)
    assert.strictEqual(old(), 0)
  })

  it("all of it in time, though one heartbeat a minute is all that comes", () => {
    const { model, register } = world()
    for (let i = 0; i < 10_000; i++) register(String(i), T)
    // What the round under way has passed waits for the end of the next one: an hour, the TTL, and two rounds.
    for (let minute = 0; minute <= 82; minute++) heartbeat(model, "0", T + minute * 60_000)
    assert.deepStrictEqual(listed(model, T), ["0"])
  })

  it("a bounded number at once, however long nothing came", () => {
    const { model, register } = world()
    for (let i = 0; i < 50_000; i++) register(String(i), T)
    register("other", T + 24 * HOUR)
    assert.isAtLeast(listed(model, T).length, 40_000)
  })
})

describe("RegistryModel: limits", () => {
  const manyKeys = `{${Array.from({ length: 350_000 }, (_, i) => `"${i}":1`).join()}}`
  const manyEndpoints = (count: number) => JSON.stringify(Array.from({ length: count }, () => ({ host: "a" })))
  const jsonOf = (length: number) => `{"a":"${"x".repeat(length - 8)}"}`

  it.each<readonly [what: string, changes: Messages.RegisterInstanceRequest, expected: string]>([
    [
      "a long key, before all else",
      { service_id: "0", instance_key: "k".repeat(257) },
      "8 instance_key is too long: limit instanceKeyBytes is 256"
    ],
    [
      "a key that is long in bytes",
      { instance_key: "😀".repeat(65) },
      "8 instance_key is too long: limit instanceKeyBytes is 256"
    ],
    ["the longest key", { instance_key: "é".repeat(128) }, "accepted"],
    ["meta of 350,000 keys", { meta_json: manyKeys }, "8 meta_json is too long: limit jsonBytes is 65536"],
    ["meta of 64 KiB", { meta_json: jsonOf(65_536) }, "accepted"],
    [
      "long endpoints",
      { endpoints_json: " ".repeat(65_537) },
      "8 endpoints_json is too long: limit jsonBytes is 65536"
    ],
    ["64 endpoints", { endpoints_json: manyEndpoints(64) }, "accepted"],
    [
      "65 endpoints",
      { endpoints_json: manyEndpoints(65) },
      "8 endpoints_json has too many endpoints: limit endpoints is 64"
    ]
  ])("refuse by name what one registration may not have: %s", (_, changes, expected) => {
    assert.strictEqual(refusal(withService().register(instance(changes), { now: T, newKey })), expected)
  })

  it("refuse a long key to be deregistered, and a spec of 3.9 MB", () => {
    const model = withService()
    assert.strictEqual(
      refusal(model.deregister({ instance_key: "k".repeat(257) }, T)),
      "8 instance_key is too long: limit instanceKeyBytes is 256"
    )
    assert.strictEqual(
      refusal(model.ensure({ spec_json: jsonOf(3_900_000) }, T)),
      "8 spec_json is too long: limit jsonBytes is 65536"
    )
  })

  const limited = (limits: PlaneLimits.PlaneLimits) => {
    const model = new RegistryModel.RegistryModel({}, 0, Either.getOrThrow(PlaneLimits.check(limits)))
    answer(model.ensure({ project: "shop", name: "orders" }, T))
    const register = (instance_key: string, now = T, changes: Messages.RegisterInstanceRequest = {}) =>
      refusal(model.register(instance({ instance_key, ...changes }), { now, newKey }))
    return { model, register }
  }

  it("refuse the 10,001st service by default, and go on giving those that are known", () => {
    const model = withService()
    for (let i = 1; i < 10_000; i++) answer(model.ensure({ project: "shop", name: String(i) }, T))
    assert.strictEqual(
      refusal(model.ensure({ project: "shop", name: "more" }, T)),
      "8 there are too many services: limit services is 10000"
    )
    assert.strictEqual(refusal(model.ensure({ project: "shop", name: "orders" }, T)), "accepted")
  })

  it("refuse the instance after the last, until one is deregistered or has gone", () => {
    const { model, register } = limited({ instances: 2 })
    const full = "8 there are too many instances: limit instances is 2"
    assert.deepStrictEqual(
      ["a", "b", "c", "a"].map((each) => register(each)),
      ["accepted", "accepted", full, "accepted"]
    )
    answer(model.deregister({ service_id: "1", instance_key: "a" }, T))
    assert.deepStrictEqual([register("c"), register("d")], ["accepted", full])
    assert.strictEqual(register("d", T + 2 * HOUR), "accepted")
    model.clear()
    answer(model.ensure({ project: "shop", name: "orders" }, T))
  })

  it("refuse JSON beyond what all may hold together, and count what goes and what is replaced", () => {
    const { model, register } = limited({ totalJson: 2_000 })
    const full = "8 services and instances hold too much JSON: limit totalJson is 2000"
    const thousand = { meta_json: jsonOf(1_000) }
    assert.deepStrictEqual(
      ["a", "b", "c", "a"].map((each) => register(each, T, thousand)),
      ["accepted", "accepted", full, "accepted"]
    )
    assert.strictEqual(refusal(model.ensure({ project: "shop", name: "new", spec_json: jsonOf(100) }, T)), full)
    assert.strictEqual(register("a"), "accepted")
    assert.strictEqual(register("c", T, thousand), "accepted")
    answer(model.deregister({ service_id: "1", instance_key: "b" }, T))
    assert.strictEqual(register("d", T, thousand), "accepted")
  })
})
