import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect, Exit } from "effect"
import { HealthCheck } from "effect-aio"
import { asValues, makeAuthority } from "../support/certificates.js"
import { anInstance } from "../support/scriptedRegistry.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { grpcServer } from "../support/wireServers.js"

expectNothingUncaught()

const instance = anInstance("a")

const ask = (check: HealthCheck.HealthCheck, grpcAddress: string) =>
  Effect.exit(check(instance, { instance, network: undefined, httpUrl: undefined, grpcAddress }))

describe("HealthCheck.grpc", () => {
  it.scopedLive("trusts the given authority, by the given name, and shows its own certificate", () =>
    Effect.gen(function* () {
      const authority = yield* makeAuthority("Our Authority")
      const server = yield* authority.issue({ name: "orders", names: ["orders.internal"] })
      const own = asValues(yield* authority.issue({ name: "checker" }))
      const ca = { value: authority.certificate }
      const pair = { cert_chain: Buffer.from(server.certificate), private_key: Buffer.from(server.privateKey) }
      const mutual = Grpc.ServerCredentials.createSsl(Buffer.from(authority.certificate), [pair], true)
      const serving = Buffer.from([8, 1])
      const check = {
        "/grpc.health.v1.Health/Check": (_: unknown, reply: Grpc.sendUnaryData<Buffer>) => reply(null, serving)
      }
      const { address } = yield* grpcServer({ unary: check }, 0, mutual)
      const serverName = "orders.internal"
      const passes = (tls: NonNullable<Parameters<typeof HealthCheck.grpc>[0]>["tls"]) =>
        Effect.map(ask(HealthCheck.grpc({ tls }), address), Exit.isSuccess)
      assert.isTrue(yield* passes({ ca, serverName, ...own }))
      assert.isFalse(yield* passes({ ca, serverName }))
      assert.isFalse(yield* passes({ ca, ...own }))
      assert.isFalse(yield* passes({ serverName, ...own }))
      assert.isFalse(yield* passes(true))
      assert.isFalse(yield* passes(false))
    })
  )

  it.scopedLive("says what is wrong with a certificate that cannot be read", () =>
    Effect.gen(function* () {
      const exit = yield* ask(HealthCheck.grpc({ tls: { ca: { value: "no certificate" } } }), "127.0.0.1:1")
      assert.match(String(exit), /tls\.ca/)
    })
  )
})
