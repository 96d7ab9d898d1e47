import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Stream } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import { StatusCode } from "../../src/schemas/StatusCode.js"
import { asValues, certificateFiles, type Issued, makeAuthority } from "../support/certificates.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { bytesMethod, grpcServer } from "../support/wireServers.js"
import { connect, failureOf, tlsServer } from "./world.js"

expectNothingUncaught()

const authority = Effect.runSync(Effect.cached(makeAuthority("Our Authority")))
const ours = Effect.flatMap(authority, ({ issue }) => issue({ name: "registry" }))
const client = Effect.flatMap(authority, ({ issue }) => issue({ name: "orders-7" }))

const trust = Effect.map(authority, ({ certificate }) => ({ ca: { value: certificate } }))

const serving = (server: Issued) => tlsServer({ server })
const asking = (server: Issued) =>
  Effect.flatMap(authority, ({ certificate }) => tlsServer({ server, clientCa: certificate }))

describe("TLS", () => {
  it.scopedLive("with an authority of one's own serves calls and streams", () =>
    Effect.gen(function* () {
      const { address, port } = yield* serving(yield* ours)
      const { serve, who } = yield* connect(address, yield* trust)
      assert.strictEqual(yield* who, `127.0.0.1:${port}/`)
      const answers = yield* Stream.runCollect(serve(Stream.make(Buffer.from("a"), Buffer.from("b"))))
      assert.strictEqual([...answers].length, 2)
    })
  )

  it.scopedLive("takes the authority from a file, or as a redacted value", () =>
    Effect.gen(function* () {
      const { address, port } = yield* serving(yield* ours)
      const { certificate } = yield* authority
      const files = yield* certificateFiles
      for (const ca of [yield* files.write("ca.pem", certificate), { value: Redacted.make(certificate) }]) {
        const { who } = yield* connect(address, { ca })
        assert.strictEqual(yield* who, `127.0.0.1:${port}/`)
      }
    })
  )

  it.scopedLive("takes one authority of a bundle in which others have expired, with text between them", () =>
    Effect.gen(function* () {
      const { address, port } = yield* serving(yield* ours)
      const old = yield* makeAuthority("Old", "expired")
      const other = yield* makeAuthority("Other")
      const bundle = [old, other, yield* authority].map(({ certificate }) => `# an authority\r\n${certificate}\r\n`)
      const { who } = yield* connect(address, { ca: { value: bundle.join("") } })
      assert.strictEqual(yield* who, `127.0.0.1:${port}/`)
    })
  )

  it.scopedLive("is checked against the name, which may be another than the host", () =>
    Effect.gen(function* () {
      const { issue } = yield* authority
      const { address } = yield* serving(yield* issue({ name: "registry", names: ["registry.internal"] }))
      const { who } = yield* connect(address, { ...(yield* trust), serverName: "registry.internal" })
      assert.strictEqual(yield* who, "registry.internal/")
    })
  )

  it.scopedLive("lets credentials travel to an address that is not on loopback", () =>
    Effect.gen(function* () {
      for (const tls of [true, {}]) {
        const exit = yield* Effect.exit(Connection.make({ address: "registry.example.com:50051", tls }))
        assert.isTrue(Exit.isSuccess(exit))
      }
    })
  )

  it.scopedLive("that is off refuses them as ever, and is named as a way out", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Connection.make({ address: "registry.example.com:50051", tls: false }))
      assert.include(error.expected, "tls (AIO_TLS=true)")
    })
  )

  it.scopedLive("presents the client's certificate, from values or files", () =>
    Effect.gen(function* () {
      const { address, port } = yield* asking(yield* ours)
      const own = yield* client
      const files = yield* certificateFiles
      for (const identity of [asValues(own), yield* files.writeBoth(own)]) {
        const { who } = yield* connect(address, { ...(yield* trust), ...identity })
        assert.strictEqual(yield* who, `127.0.0.1:${port}/orders-7`)
      }
    })
  )
})

describe("a handshake that fails says why, and what to set:", () => {
  it.scopedLive("an unknown authority", () =>
    Effect.gen(function* () {
      const { address } = yield* serving(yield* ours)
      for (const tls of [true, { ca: { value: (yield* makeAuthority("Another")).certificate } }]) {
        const { code, details } = yield* failureOf(address, tls)
        assert.strictEqual(code, StatusCode.UNAVAILABLE)
        assert.match(
          details,
          /established\. unable to verify the first certificate.* \(no trusted authority .* tls\.ca \(AIO_TLS_CA_FILE\)\)$/
        )
      }
    })
  )

  it.scopedLive("a certificate for another name", () =>
    Effect.gen(function* () {
      const { issue } = yield* authority
      const { address } = yield* serving(yield* issue({ name: "registry", names: ["registry.internal"] }))
      const { code, details } = yield* failureOf(address, yield* trust)
      assert.strictEqual(code, StatusCode.UNAVAILABLE)
      assert.match(
        details,
        /ERR_TLS_CERT_ALTNAME_INVALID.*for another name: see tls\.serverName \(AIO_TLS_SERVER_NAME\)/
      )
      const other = yield* failureOf(address, { ...(yield* trust), serverName: "registry.external" })
      assert.match(other.details, /registry\.external\. is not in the cert's altnames: DNS:registry\.internal/)
    })
  )

  it.scopedLive("a server's certificate that has expired, or is not valid yet", () =>
    Effect.gen(function* () {
      const { issue } = yield* authority
      for (const [validity, said] of [
        ["expired", /established\. certificate has expired \(it is the server's certificate/],
        ["early", /established\. certificate is not yet valid \(it is the server's .* clock is slow\)$/]
      ] as const) {
        const { address } = yield* serving(yield* issue({ name: "registry", validity }))
        const { code, details } = yield* failureOf(address, yield* trust)
        assert.strictEqual(code, StatusCode.UNAVAILABLE)
        assert.match(details, said)
      }
    })
  )

  it.scopedLive("a server that asks for a certificate, and is shown none", () =>
    Effect.gen(function* () {
      const { address } = yield* asking(yield* ours)
      const { code, details } = yield* failureOf(address, yield* trust)
      assert.strictEqual(code, StatusCode.UNAVAILABLE)
      assert.match(details, /certificate required.*the server asks for a client certificate: set tls\.certificate and/)
      assert.include(details, "(AIO_TLS_CERT_FILE, AIO_TLS_KEY_FILE)")
      assert.notInclude(details, "\n")
    })
  )

  it.scopedLive("a server that refuses the client's certificate without a word", () =>
    Effect.gen(function* () {
      const { address } = yield* asking(yield* ours)
      const foreign = yield* Effect.flatMap(makeAuthority("Another"), ({ issue }) => issue({ name: "orders-7" }))
      const { code, details } = yield* failureOf(address, { ...(yield* trust), ...asValues(foreign) })
      assert.strictEqual(code, StatusCode.UNAVAILABLE)
      assert.match(
        details,
        /the server ended the handshake, as it does when it refuses the client certificate: see tls/
      )
    })
  )

  it.scopedLive("a server in plain text", () =>
    Effect.gen(function* () {
      const { address } = yield* grpcServer({ unary: { [bytesMethod("Ask").path]: () => {} } })
      const { code, details } = yield* failureOf(address, true)
      assert.strictEqual(code, StatusCode.UNAVAILABLE)
      assert.match(details, /wrong version number.* \(the server does not speak TLS\)$/)
    })
  )

  it.scopedLive("a server that expects TLS", () =>
    Effect.gen(function* () {
      const { address } = yield* serving(yield* ours)
      const { code, details } = yield* failureOf(address, false)
      assert.strictEqual(code, StatusCode.UNAVAILABLE)
      assert.match(details, /when it expects TLS: see tls \(AIO_TLS=true\)\)$/)
    })
  )

  it.scopedLive("and a stream says the same", () =>
    Effect.gen(function* () {
      const { address } = yield* asking(yield* ours)
      const { serve } = yield* connect(address, yield* trust)
      const error = yield* Effect.flip(Stream.runDrain(serve(Stream.make(Buffer.from("a")))))
      assert.strictEqual(error._tag, "AioRpcError")
      assert.match(error.message, /the server asks for a client certificate: set tls\.certificate/)
    })
  )

  it.scopedLive("but a port without a listener is no matter of TLS", () =>
    Effect.gen(function* () {
      const { address, kill } = yield* serving(yield* ours)
      yield* kill
      for (const tls of [true, false]) {
        const { details } = yield* failureOf(address, tls)
        assert.match(details, /ECONNREFUSED/)
        assert.notInclude(details, "tls")
      }
    })
  )
})
