import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Scope, TestClock } from "effect"
import { AioConfigError } from "../../../src/schemas/AioError.js"
import type { Instance } from "../../../src/schemas/Instance.js"
import { Discovery } from "../../../src/services/Discovery.js"
import { counted, given, orders, tagOf } from "../../support/discoveryWorld.js"
import { anInstance, aService } from "../../support/scriptedRegistry.js"

const plain = { endpoint: "" }
const http = anInstance("http", { ...plain, httpPort: 80 })
const grpc = anInstance("grpc", { ...plain, grpcPort: 90 })
const both = anInstance("both", { ...plain, httpPort: 80, grpcPort: 90 })
// As `registerInstance` sends an instance with a gRPC port alone.
const sent = anInstance("sent", { endpoint: "10.0.0.1:90", grpcPort: 90 })

const all = aService("orders", [http, grpc, both, sent])
const times = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.all(Array.from({ length: 12 }, () => effect))
const keysOf = <E, R>(picks: Effect.Effect<{ readonly instance: Instance }, E, R>) =>
  Effect.map(times(picks), (picked) => [...counted(picked.map(({ instance }) => instance.instanceKey)).keys()].sort())

describe("a call for a protocol", () => {
  given("goes only to instances with an address for it", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(all)
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders)), ["both", "grpc", "http", "sent"])
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders, { protocol: "any" })), [
        "both",
        "grpc",
        "http",
        "sent"
      ])
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders, { protocol: "http" })), ["both", "http"])
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders, { protocol: "grpc" })), ["both", "grpc", "sent"])
      const where = ({ instanceKey }: Instance) => instanceKey !== "both"
      const scoped = discovery.pickScoped(orders, { protocol: "http", where })
      assert.deepStrictEqual(yield* keysOf(Effect.scoped(scoped)), ["http"])
    })
  )

  given("is told the address", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(all)
      const picked: { readonly url: string } = yield* discovery.pick(orders, { protocol: "http" })
      assert.strictEqual(picked.url, "http://10.0.0.1:80")
      const address: string = yield* discovery.use(orders, (_, target) => Effect.succeed(target.address), {
        protocol: "grpc"
      })
      assert.strictEqual(address, "10.0.0.1:90")
      const client = yield* discovery.client(orders, (_, { url }) => Effect.succeed(url), { protocol: "http" })
      const urls = yield* times(client.use((url, { instanceKey }) => Effect.succeed(`${instanceKey} ${url}`)))
      assert.deepStrictEqual([...counted(urls).keys()].sort(), ["both http://10.0.0.1:80", "http http://10.0.0.1:80"])
      const scoped: { readonly address: string } = yield* Effect.scoped(
        discovery.pickScoped(orders, { protocol: "grpc" })
      )
      assert.strictEqual(scoped.address, "10.0.0.1:90")
    })
  )

  given("fails over among them alone", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(all)
      const tried: Array<string> = []
      const failed = yield* Effect.exit(
        discovery.use(
          orders,
          ({ instanceKey }) => {
            tried.push(instanceKey)
            return Effect.fail({ code: "ECONNREFUSED" })
          },
          { protocol: "http", attempts: 10 }
        )
      )
      assert.isTrue(Exit.isFailure(failed))
      assert.deepStrictEqual(tried.sort(), ["both", "http"])
    })
  )

  given("fails with AioNoInstances where no instance has one", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", [sent]))
      const never = () => Effect.dieMessage("called without an address")
      assert.strictEqual(yield* tagOf(discovery.pick(orders, { protocol: "http" })), "AioNoInstances")
      const scope = yield* Scope.make()
      const scoped = Scope.extend(discovery.pickScoped(orders, { protocol: "http" }), scope)
      assert.strictEqual(yield* tagOf(scoped), "AioNoInstances")
      assert.strictEqual(yield* tagOf(discovery.use(orders, never, { protocol: "http" })), "AioNoInstances")
      const client = yield* discovery.client(orders, never, { protocol: "http" })
      assert.strictEqual(yield* tagOf(client.use(never)), "AioNoInstances")
    })
  )

  given("follows a list in which an instance begins to speak it", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(aService("orders", [both, grpc]))
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders, { protocol: "http" })), ["both"])
      registry.answers(aService("orders", [anInstance("both", { ...plain, grpcPort: 90 }), http]))
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* keysOf(discovery.pick(orders, { protocol: "http" })), ["http"])
    })
  )

  given(
    "goes to another network where the preferred one does not speak it",
    ({ discovery, registry }) =>
      Effect.gen(function* () {
        const on = (key: string, network: string, ports: Partial<Instance>) =>
          anInstance(key, { ...plain, ...ports, endpoints: [{ host: key, network, priority: 1 }] })
        registry.answers(
          aService("orders", [on("in", "internal", { grpcPort: 90 }), on("out", "external", { httpPort: 80 })])
        )
        assert.deepStrictEqual(yield* keysOf(discovery.pick(orders)), ["in"])
        assert.strictEqual((yield* discovery.pick(orders, { protocol: "http" })).url, "http://out:80")
      }),
    { network: ["internal", "external"] }
  )

  given("is explained", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(all)
      const where = ({ instanceKey }: Instance) => instanceKey !== "both"
      const explanation = yield* discovery.explain(orders, { protocol: "http", where })
      assert.deepStrictEqual(
        explanation.instances.map(({ instance, isChosen, obstacle }) => [
          instance.instanceKey,
          isChosen,
          obstacle?._tag
        ]),
        [
          ["both", false, "Where"],
          ["grpc", false, "Protocol"],
          ["http", true, undefined],
          ["sent", false, "Protocol"]
        ]
      )
      assert.include(Discovery.renderExplanation(explanation), "sent  has no HTTP address")
      const other = yield* discovery.explain(orders, { protocol: "grpc" })
      assert.include(Discovery.renderExplanation(other), "http  has no gRPC address")
    })
  )

  given("names the field of a protocol that is none", ({ discovery, registry }) =>
    Effect.gen(function* () {
      registry.answers(all)
      const options: { readonly protocol: "http" } = JSON.parse('{"protocol":"smtp"}')
      const never = () => Effect.dieMessage("called")
      const client = yield* discovery.client(orders, never, options)
      const calls: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        discovery.pick(orders, options),
        Effect.scoped(discovery.pickScoped(orders, options)),
        discovery.use(orders, never, options),
        client.use(never),
        discovery.explain(orders, options)
      ]
      const expected = new AioConfigError({
        field: "protocol",
        problem: 'is "smtp"',
        expected: '"any", "http" or "grpc"'
      })
      for (const call of calls) assert.deepStrictEqual(yield* Effect.flip(call), expected)
    })
  )
})
