import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type AioConfig, AioConfigError, Heartbeat, Registry } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as Deadline from "../../src/grpc/client/Deadline.js"
import * as Methods from "../../src/grpc/Methods.js"
import { runExample } from "../examples/runExample.js"
import { asValues, certificateFiles, makeAuthority } from "../support/certificates.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { eventually, logged } from "./world.js"

expectNothingUncaught()

const authority = Effect.runSync(Effect.cached(makeAuthority("Our Authority")))
const named = (name: string) => Effect.flatMap(authority, ({ issue }) => issue({ name }))

/** What a call without a token is answered: that the server can be reached is what counts here. */
const reached = (address: string, tls: boolean | AioConfig.Tls) =>
  Effect.scoped(
    Effect.gen(function* () {
      const connection = yield* Connection.make({ address, tls })
      const deadline = Deadline.after(5_000)
      const error = yield* Effect.flip(
        connection.unary(Methods.registry.listServices, { project: "", env: "" }, { deadline })
      )
      return error.message
    })
  )

describe("a control plane with TLS", () => {
  it.scopedLive("serves clients that trust it, and none in plain text", () =>
    Effect.gen(function* () {
      const { certificate } = yield* authority
      const { address } = yield* ControlPlane.make({ tls: asValues(yield* named("registry")) })
      assert.match(yield* reached(address, { ca: { value: certificate } }), /UNAUTHENTICATED/)
      assert.match(yield* reached(address, true), /tls\.ca/)
      assert.match(yield* reached(address, false), /AIO_TLS=true/)
    })
  )

  it.live("has a client joined to it that registers and finds by mutual TLS", () =>
    Effect.gen(function* () {
      const ca = { value: (yield* authority).certificate }
      const options = {
        tls: { ...asValues(yield* named("registry")), ca },
        clientTls: { ...asValues(yield* named("orders")), ca }
      }
      const keys = Effect.gen(function* () {
        const heartbeat = yield* Heartbeat
        const registry = yield* Registry
        const { instanceKey } = yield* heartbeat.registerSelf({
          service: { project: "shop", name: "orders" },
          instance: { host: "127.0.0.1", httpPort: 8080 }
        })
        const [listed] = yield* registry.listServices({ project: "shop" })
        assert.deepStrictEqual(
          listed?.instances.map((instance) => instance.instanceKey),
          [yield* instanceKey]
        )
      })
      yield* Effect.scoped(keys).pipe(Effect.provide(ControlPlane.layerWithClient(options)))
    })
  )

  it.scopedLive("takes a certificate that is renewed on disk, under the calls of those who are connected", () =>
    logged(() =>
      Effect.gen(function* () {
        const files = yield* certificateFiles
        const own = yield* files.writeBoth(yield* named("registry"))
        const { address } = yield* ControlPlane.make({ tls: { ...own, reloadInterval: "20 millis" } })
        const former = { ca: { value: (yield* authority).certificate } }
        const connection = yield* Connection.make({ address, tls: former })
        const call = Effect.suspend(() =>
          connection.unary(Methods.registry.listServices, { project: "", env: "" }, { deadline: Deadline.after(5_000) })
        )
        assert.match((yield* Effect.flip(call)).message, /UNAUTHENTICATED/)

        const successor = yield* makeAuthority("Successor")
        yield* files.writeBoth(yield* successor.issue({ name: "registry" }))
        const next = { ca: { value: successor.certificate } }
        yield* eventually(
          "the new certificate is shown",
          Effect.map(reached(address, next), (said) => said.includes("UNAUTHENTICATED"))
        )
        assert.match(yield* reached(address, former), /tls\.ca/)
        assert.match((yield* Effect.flip(call)).message, /UNAUTHENTICATED/)
      })
    )
  )

  it.scopedLive("does not start with certificates that cannot be used", () =>
    Effect.gen(function* () {
      const { issue } = yield* authority
      const good = asValues(yield* named("registry"))
      const bad: ReadonlyArray<readonly [tls: AioConfig.ServerTls, field: string]> = [
        [{ ...good, certificate: { file: "/nowhere/tls.crt" } }, "tls.certificate"],
        [{ ...good, privateKey: asValues(yield* named("another")).privateKey }, "tls.privateKey"],
        [{ ...good, ca: { value: "garbage" } }, "tls.ca"],
        [asValues(yield* issue({ name: "registry", validity: "expired" })), "tls.certificate"]
      ]
      for (const [tls, field] of bad) {
        const error = yield* Effect.flip(Layer.launch(ControlPlane.layer({ tls })))
        assert.instanceOf(error, AioConfigError)
        assert.strictEqual(error.field, field)
      }
    })
  )
})

describe("npm run control-plane", () => {
  it.scopedLive(
    "serves TLS with the files of its environment, and says what clients need",
    () =>
      Effect.gen(function* () {
        const files = yield* certificateFiles
        const own = yield* files.writeBoth(yield* named("registry"))
        const env = {
          AIO_LISTEN: "127.0.0.1:0",
          AIO_TLS_CERT_FILE: own.certificate.file,
          AIO_TLS_KEY_FILE: own.privateKey.file
        }
        const run = yield* runExample("control-plane", { env, interruptAt: "try: " })
        assert.match(run.stdout, /try: AIO_TLS=true AIO_REGISTRY_ADDR=127\.0\.0\.1:/)
      }),
    30_000
  )

  it.live(
    "does not start in plain text where one of the files is forgotten",
    () =>
      Effect.gen(function* () {
        const run = yield* runExample("control-plane", { env: { AIO_TLS_KEY_FILE: "/etc/tls/tls.key" } })
        assert.notStrictEqual(run.exitCode, 0)
        assert.match(run.stderr, /AIO_TLS_CERT_FILE/)
      }),
    30_000
  )
})
