import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as GoJson from "../../../src/core/registry/GoJson.js"
import type * as RegistryModel from "../../../src/core/registry/RegistryModel.js"
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

describe("RegistryModel: leases", () => {
  it("lists an instance until ttl milliseconds after its last heartbeat, to the millisecond", () => {
    const model = withService()
    answer(model.register(instance(), { now: T, newKey }))
    assert.deepStrictEqual(listed(model, T + 59_999), ["a"])
    assert.deepStrictEqual(listed(model, T + 60_000), [])
    assert.strictEqual(heartbeat(model, "a", T + 90_000), String(Math.floor((T + 150_000) / 1_000)))
    assert.deepStrictEqual(listed(model, T + 149_999), ["a"])
  })

  it("takes a forced instance off the lists until its next heartbeat", () => {
    const model = withService()
    answer(model.register(instance(), { now: T, newKey }))
    model.endLease(key("a"))
    assert.deepStrictEqual(listed(model, T), [])
    assert.notStrictEqual(heartbeat(model, "a", T), "0")
    assert.deepStrictEqual(listed(model, T), ["a"])
  })

  it("never revives a deleted key: registered again it is listed for one ttl, and every heartbeat answers 0", () => {
    for (const end of [
      (model: RegistryModel.RegistryModel) => model.deleteInstance(key("a"), T),
      (model: RegistryModel.RegistryModel) => answer(model.deregister({ service_id: "1", instance_key: "a" }, T))
    ]) {
      const model = withService()
      answer(model.register(instance(), { now: T, newKey }))
      end(model)
      assert.deepStrictEqual(listed(model, T), [])
      assert.strictEqual(heartbeat(model, "a", T), "0")
      answer(model.register(instance(), { now: T, newKey }))
      assert.deepStrictEqual(listed(model, T + 59_999), ["a"])
      assert.strictEqual(heartbeat(model, "a", T + 30_000), "0")
      assert.deepStrictEqual(listed(model, T + 60_000), [])
      answer(model.register(instance(), { now: T, newKey }))
      answer(model.deregister({ service_id: "1", instance_key: "a" }, T))
      assert.deepStrictEqual(listed(model, T), [])
    }
  })

  it("revives a deleted key where the quirk is off", () => {
    const model = withService({ deadKeys: false })
    answer(model.register(instance(), { now: T, newKey }))
    model.deleteInstance(key("a"), T)
    answer(model.register(instance(), { now: T, newKey }))
    assert.notStrictEqual(heartbeat(model, "a", T), "0")
  })

  it("goes on renewing an instance whose service is deleted, and shows it nowhere", () => {
    const model = withService()
    answer(model.register(instance(), { now: T, newKey }))
    model.deleteService("1")
    assert.notStrictEqual(heartbeat(model, "a", T), "0")
    assert.deepStrictEqual(answer(model.list({}, T)).services, [])
    assert.match(refusal(model.get({ id: "1" }, T)), /^5 Err: /)
    assert.match(refusal(model.register(instance(), { now: T, newKey })), /^5 Err: /)
    assert.match(refusal(model.ensure({ project: "shop", name: "orders" }, T)), /^13 Err: .*duplicate key/)
  })

  it("answers 0 to a heartbeat of an unknown lease: unknown key, other service, no id", () => {
    const model = withService()
    answer(model.ensure({ project: "shop", name: "payments" }, T))
    answer(model.register(instance(), { now: T, newKey }))
    assert.deepStrictEqual(
      [
        heartbeat(model, "b", T),
        heartbeat(model, "a", T, "2"),
        heartbeat(model, "a", T, "-1"),
        model.renew({}, T).expires_at
      ],
      ["0", "0", "0", "0"]
    )
  })

  it("answers 0 to everybody while the database is down, refuses the rest, and has lost nothing", () => {
    const model = withService()
    answer(model.register(instance(), { now: T, newKey }))
    model.isDatabaseDown = true
    assert.strictEqual(heartbeat(model, "a", T), "0")
    assert.match(refusal(model.register(instance(), { now: T, newKey })), /^13 /)
    assert.match(refusal(model.list({}, T)), /^13 /)
    assert.strictEqual(model.snapshot(T).total, 1)
    model.isDatabaseDown = false
    assert.notStrictEqual(heartbeat(model, "a", T), "0")
    assert.deepStrictEqual(listed(model, T), ["a"])
  })

  it("forgets everything when it is cleared, and gives no id twice", () => {
    const model = withService()
    answer(model.register(instance(), { now: T, newKey }))
    model.clear()
    assert.strictEqual(heartbeat(model, "a", T), "0")
    assert.strictEqual(answer(model.ensure({ project: "shop", name: "orders" }, T)).service?.id, "2")
  })
})

describe("RegistryModel: records", () => {
  it("shows the time of the last registration as created_at until the next heartbeat", () => {
    const model = withService()
    const createdAt = (now: number) => answer(model.get({ id: "1" }, now)).service?.instances[0]?.created_at
    answer(model.register(instance(), { now: T, newKey }))
    answer(model.register(instance(), { now: T + 10_000, newKey }))
    assert.strictEqual(createdAt(T + 10_000), String(Math.floor(T / 1_000) + 10))
    heartbeat(model, "a", T + 20_000)
    assert.strictEqual(createdAt(T + 20_000), String(Math.floor(T / 1_000)))
  })

  it("keeps the id of a key and replaces all else", () => {
    const model = withService()
    answer(model.register(instance({ meta_json: '{"a":1}', http_port: "80" }), { now: T, newKey }))
    answer(model.register(instance({ env: "prod" }), { now: T, newKey }))
    const [found, ...others] = answer(model.get({ id: "1" }, T)).service?.instances ?? []
    assert.deepStrictEqual(others, [])
    assert.include(found, { id: "1", env: "prod", meta_json: "", http_port: "0" })
  })

  it("filters by project and env exactly, newest service first, and keeps services without instances", () => {
    const model = withService()
    answer(model.ensure({ project: "shop", name: "payments" }, T))
    answer(model.ensure({ project: "bank", name: "orders" }, T))
    answer(model.register(instance(), { now: T, newKey }))
    answer(model.register(instance({ instance_key: "b", env: "prod" }), { now: T, newKey }))
    const names = answer(model.list({ project: "shop" }, T)).services.map(({ service }) => service?.name)
    assert.deepStrictEqual(names, ["payments", "orders"])
    assert.deepStrictEqual(listed(model, T, { project: "shop", env: "prod" }), ["b"])
    assert.deepStrictEqual(listed(model, T, { env: "PROD" }), [])
    assert.strictEqual(answer(model.list({}, T)).total, 3)
  })

  it.each([
    ["service_id first", { service_id: "0", host: "", env: "" }, "3 service_id 不能为空"],
    ["then host", { host: "", endpoint: "", env: "" }, "3 host 不能为空"],
    ["then the addresses", { endpoint: "", env: "" }, "3 必须提供 endpoint 或 endpoints"],
    ["then their form", { endpoints_json: "[", env: "" }, "3 endpoints_json 格式错误"],
    ["then env", { service_id: "99", env: "" }, "3 Err: env 不能为空"],
    ["then the service", { service_id: "99", env: "e".repeat(33) }, "5 Err: 查询记录失败 -> record not found"],
    [
      "then the lengths",
      { env: "e".repeat(33) },
      "13 ERROR: value too long for type character varying(32) (SQLSTATE 22001)"
    ],
    ["counted in characters", { host: "😀".repeat(128) }, "accepted"]
  ])("checks a registration in the server's order: %s", (_, changes, expected) => {
    assert.strictEqual(refusal(withService().register(instance(changes), { now: T, newKey })), expected)
  })

  it.each([
    ["", "60", 60],
    ["0", "60", 60],
    ["-5", "60", 60],
    ["1", "1", 1],
    ["9223372036", "9223372036", 9_223_372_036],
    ["9223372036854775807", "9223372036854775807", -1]
  ])("takes ttl_seconds %j for %s, expiring in %d s", (ttl_seconds, kept, lasts) => {
    const model = withService()
    const request = ttl_seconds === "" ? instance({ ttl_seconds: "0" }) : instance({ ttl_seconds })
    const { expires_at } = answer(model.register(request, { now: T, newKey }))
    assert.strictEqual(Number(expires_at), Math.floor(T / 1_000) + lasts)
    const [found] = answer(model.get({ id: "1" }, T)).service?.instances ?? []
    assert.strictEqual(found?.ttl_seconds, lasts > 0 ? kept : undefined)
  })

  it("makes up a key for who has none", () => {
    assert.strictEqual(
      answer(withService().register(instance({ instance_key: "" }), { now: T, newKey })).instance_key,
      "generated"
    )
  })

  it("holds fifty thousand instances and lists them within seconds", () => {
    const model = withService()
    for (let i = 0; i < 50_000; i++) answer(model.register(instance({ instance_key: String(i) }), { now: T, newKey }))
    const started = process.cpuUsage()
    assert.strictEqual(listed(model, T).length, 50_000)
    assert.isBelow(process.cpuUsage(started).user / 1_000, 10_000)
  })
})

describe("GoJson: what comes back of JSON", () => {
  it.each([
    ["", ""],
    ["{", ""],
    ["null", ""],
    ["[1]", ""],
    ['"x"', ""],
    ["{}", ""],
    ['{"a":1e400}', ""],
    ['{"b":1,"a":{"d":1,"c":2}}', '{"a":{"c":2,"d":1},"b":1}'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{ "n" : 9007199254740993 , "x" : 1.50 }', '{"n":9007199254740992,"x":1.5}'],
    [
      '{"a":1e21,"b":1e20,"c":1e-7,"d":0.000001,"e":-0}',
      '{"a":1e+21,"b":100000000000000000000,"c":1e-7,"d":0.000001,"e":-0}'
    ],
    [
      '{"h":"<a&b>","u":"\\u00e9\\u2028","t":"\\t\\u0001"}',
      '{"h":"\\u003ca\\u0026b\\u003e","t":"\\t\\u0001","u":"é\\u2028"}'
    ],
    ['{"l":"\\ud800"}', '{"l":"\ufffd"}'],
    ['{"\\uff5e":1,"\\ud83d\\ude00":2}', '{"～":1,"😀":2}'],
    ['{"__proto__":1,"t":true,"n":null}', '{"__proto__":1,"n":null,"t":true}'],
    ['{"a":[],"b":{},"c":[[],{"d":[1,"x",null]}]}', '{"a":[],"b":{},"c":[[],{"d":[1,"x",null]}]}'],
    ['{"a😀b":1,"a～b":2,"a😀":3,"a":4}', '{"a":4,"a～b":2,"a😀":3,"a😀b":1}'],
    ['{"a":[1,[1e999]]}', ""]
  ])("object %s", (text, expected) => {
    assert.strictEqual(GoJson.object(text), expected)
  })

  it.each([
    ["[]", ""],
    ["null", ""],
    ["[null]", '[{"host":"","network":"","priority":0}]'],
    ['[{"host":"a"}]', '[{"host":"a","network":"","priority":0}]'],
    ['[{"Priority":2,"HOST":"a","extra":1.5,"network":null}]', '[{"host":"a","network":"","priority":2}]'],
    ['[{"host":"1.5e3 \\" 2.0","priority":1}]', '[{"host":"1.5e3 \\" 2.0","network":"","priority":1}]']
  ])("endpoints %s", (text, expected) => {
    assert.deepStrictEqual(GoJson.endpoints(text), Either.right(expected))
  })

  it("writes ten thousand levels, and drops what is deeper as Go does", () => {
    const nested = (levels: number) => `{"a":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`
    assert.strictEqual(GoJson.object(nested(10_000)), nested(10_000))
    assert.strictEqual(GoJson.object(nested(10_001)), "")
    assert.strictEqual(GoJson.object(nested(1_000_000)), "")
    const brackets = JSON.stringify({ a: `\\"${"[".repeat(20_000)}` })
    assert.strictEqual(GoJson.object(brackets), brackets)
  })

  it("reads strings of megabytes", () => {
    const host = '"\\'.repeat(500_000)
    const expected = JSON.stringify([{ host, network: "", priority: 0 }])
    assert.deepStrictEqual(GoJson.endpoints(JSON.stringify([{ host, priority: 0 }])), Either.right(expected))
  })

  // A server has one thread: what one client sends must not keep it from the others.
  it.each([
    ["plain", ""],
    ["with surrogates", "😀"]
  ])("sorts 300,000 keys (%s) within seconds", (_, suffix) => {
    const keys = Array.from({ length: 300_000 }, (_, index) => `${(index * 7_919) % 300_000}${suffix}`)
    const text = `{${keys.map((key) => `"${key}":1`).join(",")}}`
    const started = process.cpuUsage()
    assert.strictEqual(GoJson.object(text).length, text.length)
    assert.isBelow(process.cpuUsage(started).user / 1_000, 10_000)
  })

  it.each([
    "[",
    '{"host":"x"}',
    '"x"',
    "[1]",
    '[{"host":1}]',
    '[{"priority":1.5}]',
    '[{"priority":1.0}]',
    '[{"priority":1e2}]',
    '[{"priority":"1"}]',
    '[{"priority":9223372036854775808}]',
    `[{"priority":${"9".repeat(2_000_000)}}]`,
    `[{"priority":-${"1".repeat(30)}}]`,
    `[{"x":${"[".repeat(10_001)}${"]".repeat(10_001)}}]`
  ])("endpoints %s is malformed", (text) => {
    assert.deepStrictEqual(GoJson.endpoints(text), Either.left("malformed"))
  })
})
