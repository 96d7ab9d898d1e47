import { networkInterfaces } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as LocalHost from "../../../src/grpc/client/LocalHost.js"

const at = (host: string) => ({ host, port: 50_051, isLoopback: false })

const own = Object.values(networkInterfaces())
  .flatMap((addresses = []) => addresses)
  .filter(({ family }) => family === "IPv4")
  .map(({ address }) => address)

describe("The address of this machine on the way to the registry", () => {
  for (const address of own) {
    it.live(`is ${address} where the registry is on that address as well, whether it listens or not`, () =>
      Effect.map(LocalHost.towards([at(address)]), (host) => assert.strictEqual(host, address))
    )
  }

  it.live("is that of the first address there is a way to", () =>
    Effect.map(LocalHost.towards([at("nobody.invalid"), at("localhost")]), (host) =>
      assert.include(["127.0.0.1", "::1"], host)
    )
  )

  it.live("is not known, and that is a typed error, where no name resolves", () =>
    Effect.map(Effect.flip(LocalHost.towards([at("nobody.invalid")])), (error) => {
      assert.strictEqual(error._tag, "AioRpcError")
      assert.strictEqual(error.code, 14)
      assert.include(error.message, "nobody.invalid")
    })
  )
})
