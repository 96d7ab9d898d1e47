import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect } from "effect"
import { Balancer } from "../../../src/grpc/resolver/Balancer.js"
import { policy, Resolver } from "../../../src/grpc/resolver/Resolver.js"
import { register } from "../../../src/grpc/resolver/register.js"
import * as ServiceConfig from "../../../src/grpc/resolver/ServiceConfig.js"
import * as Targets from "../../../src/grpc/resolver/Targets.js"
import { call, client, server } from "../../platform/resolverWorld.js"

const { experimental } = Grpc

/** The kinds of what is handed to a hook, in order. */
const kinds = (values: ReadonlyArray<unknown>) =>
  values.map((value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value))

/** What is declared of grpc-js' experimental API may change in a minor version: the hooks stand on these shapes. */
describe("the grpc-js that is installed", () => {
  it("has the functions and classes that the hooks are built with", () => {
    const arities = {
      registerResolver: experimental.registerResolver.length,
      registerLoadBalancerType: experimental.registerLoadBalancerType.length,
      createChildChannelControlHelper: experimental.createChildChannelControlHelper.length,
      LeafLoadBalancer: experimental.LeafLoadBalancer.length,
      splitHostPort: experimental.splitHostPort.length,
      subchannelAddressToString: experimental.subchannelAddressToString.length,
      uriToString: experimental.uriToString.length
    }
    assert.deepStrictEqual(arities, {
      registerResolver: 2,
      registerLoadBalancerType: 3,
      createChildChannelControlHelper: 2,
      LeafLoadBalancer: 4,
      splitHostPort: 1,
      subchannelAddressToString: 1,
      uriToString: 1
    })
    const leaf = Object.getOwnPropertyNames(experimental.LeafLoadBalancer.prototype)
    assert.includeMembers(leaf, ["startConnecting", "getConnectivityState", "getPicker", "exitIdle", "destroy"])
    assert.deepStrictEqual(experimental.statusOrFromValue(1), { ok: true, value: 1 })
    const failure = experimental.statusOrFromError({ code: 14, details: "no" })
    assert.isFalse(failure.ok)
    assert.deepStrictEqual(
      { complete: experimental.PickResultType.COMPLETE, queue: experimental.PickResultType.QUEUE },
      { complete: 0, queue: 1 }
    )
    assert.strictEqual(experimental.SUBCHANNEL_ARGS_EXCLUDE_KEY_PREFIX, "grpc.internal.no_subchannel")
  })

  it.scopedLive("hands each hook what it expects, from the target to the end of a call", () =>
    Effect.gen(function* () {
      const seen: Record<string, ReadonlyArray<unknown>> = {}
      class SeenResolver extends Resolver {
        constructor(...args: ConstructorParameters<typeof Resolver>) {
          seen.resolver = args
          super(...args)
        }
      }
      class SeenBalancer extends Balancer {
        override updateAddressList(...args: Parameters<Balancer["updateAddressList"]>): boolean {
          seen.update = args
          return super.updateAddressList(...args)
        }
      }
      register()
      experimental.registerResolver("aioseen", SeenResolver)
      const config = { getLoadBalancerName: () => policy, toJsonObject: () => ({}) }
      experimental.registerLoadBalancerType(
        policy,
        SeenBalancer,
        Object.assign(
          class {
            getLoadBalancerName = config.getLoadBalancerName
            toJsonObject = config.toJsonObject
          },
          { createFromJson: () => config }
        )
      )
      const a = yield* server("a")
      class OnePicked extends Targets.Picked {
        address = a.address
        begin = () => {
          seen.begin = []
        }
        end = (...args: ReadonlyArray<unknown>) => {
          seen.end = args
        }
        pass = () => {}
      }
      class OneInstance extends Targets.Instances {
        pick = () => new OnePicked()
        onThrow = (cause: unknown) => {
          seen.thrown = [cause]
        }
      }
      const release = Targets.take("hooks", {
        follow: (target, tell) => {
          seen.target = [target]
          tell({ _tag: "Known", addresses: [a.address], instances: new OneInstance() })
          return () => {
            seen.stopped = []
          }
        },
        onThrow: () => {}
      })
      const calling = yield* client("aioseen://hooks/shop/orders%20now", { "grpc.max_send_message_length": 1_000 })
      assert.strictEqual(yield* call(calling), "a")
      assert.deepStrictEqual(seen.target, [{ project: "shop", service: "orders now" }])
      assert.deepStrictEqual(kinds(seen.resolver ?? []), ["object", "function", "object"])
      assert.deepStrictEqual(seen.resolver?.[0], { scheme: "aioseen", authority: "hooks", path: "shop/orders%20now" })
      assert.deepStrictEqual(kinds(seen.update ?? []), ["object", "object", "object", "string"])
      assert.deepStrictEqual(seen.begin, [])
      assert.deepStrictEqual(kinds(seen.end ?? []), ["number", "string"])
      assert.isUndefined(seen.thrown)
      calling.close()
      assert.deepStrictEqual(seen.stopped, [])
      release?.()
    })
  )
})

describe("the authority of a target", () => {
  const authorityOf = (path: string) => Resolver.getDefaultAuthority({ scheme: "aio", authority: "", path })

  it("has no character that HTTP/2 refuses there", () => {
    assert.strictEqual(authorityOf("shop/orders"), "shop.orders")
    assert.strictEqual(authorityOf("Shop/my%20orders%2Fü"), "Shop.my-orders.-")
    assert.strictEqual(authorityOf("shop/%"), "aio")
  })
})

describe("the service config of a target", () => {
  it("is the client's, with our policy and the timeouts that were meant", () => {
    const name = [{ service: "a.B" }]
    const text = JSON.stringify({
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        { name, timeout: "0.5s" },
        { name: [], timeout: "3s" },
        { name: [], timeout: { seconds: 1, nanos: 5 } },
        { name: [{}], waitForReady: true }
      ],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 }
    })
    assert.deepStrictEqual(ServiceConfig.make(policy, { "grpc.service_config": text }), {
      loadBalancingConfig: [{ [policy]: {} }],
      methodConfig: [
        { name, timeout: { seconds: 0, nanos: 500_000_000 } },
        { name: [], timeout: { seconds: 3, nanos: 0 } },
        { name: [], timeout: { seconds: 1, nanos: 5 } },
        { name: [{}], waitForReady: true }
      ],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 }
    })
    assert.deepStrictEqual(ServiceConfig.make(policy, {}), {
      loadBalancingConfig: [{ [policy]: {} }],
      methodConfig: []
    })
  })
})

describe("a name", () => {
  const source = (told: Array<string>, name: string): Targets.Source => ({
    follow: ({ service }) => {
      told.push(`${name} follows ${service}`)
      return () => told.push(`${name} stops ${service}`)
    },
    onThrow: () => {}
  })

  it("is held by one source at a time, and its followers go from one to the next", () => {
    const told: Array<string> = []
    const tell = (state: Targets.State) => told.push(state._tag)
    const target = { project: "shop", service: "orders" }
    const stop = Targets.follow("held", target, tell)
    const release = Targets.take("held", source(told, "one"))
    assert.isUndefined(Targets.take("held", source(told, "two")))
    release?.()
    release?.()
    const last = Targets.take("held", source(told, "three"))
    stop()
    last?.()
    assert.deepStrictEqual(told, [
      "Failed",
      "one follows orders",
      "one stops orders",
      "Failed",
      "three follows orders",
      "three stops orders"
    ])
  })
})
