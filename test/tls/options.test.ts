import { generateKeyPairSync } from "node:crypto"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import * as Connection from "../../src/grpc/client/Connection.js"
import type * as AioConfig from "../../src/schemas/AioConfig.js"
import { asValues, certificateFiles, type Issued, makeAuthority } from "../support/certificates.js"

const authority = Effect.runSync(Effect.cached(makeAuthority("Our Authority")))
const client = Effect.flatMap(authority, ({ issue }) => issue({ name: "orders-7" }))

const refusal = (tls: AioConfig.Tls) =>
  Effect.scoped(Effect.flip(Connection.make({ address: "registry.example.com:50051", tls })))

const half = (text: string): string => text.slice(0, Math.floor(text.length / 2))

const encrypted = () =>
  generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "hunter2" }
  }).privateKey

/** What makes of a good certificate and key a bad one, and what is said of it. */
interface Bad {
  readonly what: string
  readonly field: "certificate" | "privateKey"
  readonly make: (good: Issued) => string
  readonly problem: RegExp
}

const bad: ReadonlyArray<Bad> = [
  { what: "an empty certificate", field: "certificate", make: () => " \n", problem: /is empty$/ },
  { what: "garbage for a certificate", field: "certificate", make: () => "\0\x01garbage", problem: /is no PEM cert/ },
  {
    what: "a key for a certificate",
    field: "certificate",
    make: ({ privateKey }) => privateKey,
    problem: /is no PEM certificate$/
  },
  {
    what: "half a certificate",
    field: "certificate",
    make: ({ certificate }) => half(certificate),
    problem: /ends in the middle of a certificate$/
  },
  {
    what: "a chain that ends in the middle of its second certificate",
    field: "certificate",
    make: ({ certificate }) => `${certificate}\n${half(certificate)}`,
    problem: /ends in the middle of a certificate$/
  },
  {
    what: "a certificate that was tampered with",
    field: "certificate",
    make: ({ certificate }) => `${certificate}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
    problem: /cannot be parsed: certificate 2 of 2$/
  },
  { what: "an empty key", field: "privateKey", make: () => "", problem: /is empty$/ },
  { what: "half a key", field: "privateKey", make: ({ privateKey }) => half(privateKey), problem: /cannot be parsed/ },
  {
    what: "a certificate for a key",
    field: "privateKey",
    make: ({ certificate }) => certificate,
    problem: /cannot be parsed as a PEM private key$/
  },
  { what: "a key with a passphrase", field: "privateKey", make: encrypted, problem: /is encrypted with a passphrase$/ },
  {
    what: "another key",
    field: "privateKey",
    make: () =>
      generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "sec1", format: "pem" }).toString(),
    problem: /is not the key of the first one in tls\.certificate$/
  }
]

describe("certificates that cannot be used fail with AioConfigError that names the field and the file:", () => {
  it.live.each(bad)("$what", ({ field, make, problem }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const good = yield* client
        const made = make(good)
        const files = yield* certificateFiles
        const fromFiles = { ...(yield* files.writeBoth(good)), [field]: yield* files.write("bad.pem", made) }
        const fromValues = { ...asValues(good), [field]: { value: Redacted.make(made) } }
        for (const [source, where] of [
          [fromFiles, `(${files.path("bad.pem")}) `],
          [fromValues, ""]
        ] as const) {
          const error = yield* refusal(source)
          assert.strictEqual(error._tag, "AioConfigError")
          assert.strictEqual(error.field, `tls.${field}`)
          assert.isTrue(error.problem.startsWith(where))
          assert.match(error.problem, problem)
          const shown = `${error.message} ${error.stack} ${JSON.stringify(error)} ${inspect(error, { depth: 9 })}`
          for (const line of good.privateKey.split("\n").filter((line) => line !== "" && !line.startsWith("-----"))) {
            assert.notInclude(shown, line)
          }
        }
      })
    )
  )

  it.scopedLive("a file that is not there, or is none", () =>
    Effect.gen(function* () {
      const good = asValues(yield* client)
      const files = yield* certificateFiles
      for (const field of ["ca", "certificate", "privateKey"]) {
        const missing = yield* refusal({ ...good, [field]: { file: files.path("missing.pem") } })
        assert.strictEqual(missing.field, `tls.${field}`)
        assert.strictEqual(missing.problem, `(${files.path("missing.pem")}) cannot be read (ENOENT)`)
        const directory = yield* refusal({ ...good, [field]: { file: files.path(".") } })
        assert.match(directory.problem, /cannot be read \(EISDIR\)$/)
      }
    })
  )

  it.live("a certificate that has expired, or is not valid yet", () =>
    Effect.gen(function* () {
      const { issue } = yield* authority
      const expired = yield* refusal(asValues(yield* issue({ name: "orders-7", validity: "expired" })))
      assert.strictEqual(expired.field, "tls.certificate")
      assert.match(expired.problem, /^expired on 20\d\d-\d\d-\d\dT/)
      const early = yield* refusal(asValues(yield* issue({ name: "orders-7", validity: "early" })))
      assert.strictEqual(early.field, "tls.certificate")
      assert.match(early.problem, /^is not valid before 20\d\d-\d\d-\d\dT/)
    })
  )

  it.live("authorities that are none, or have all expired", () =>
    Effect.gen(function* () {
      const old = yield* makeAuthority("Old", "expired")
      for (const [value, problem] of [
        [half((yield* authority).certificate), /ends in the middle/],
        ["garbage", /is no PEM certificate/],
        ["", /is empty/],
        [old.certificate, /^expired on 20/]
      ] as const) {
        const error = yield* refusal({ ca: { value } })
        assert.strictEqual(error.field, "tls.ca")
        assert.match(error.problem, problem)
      }
    })
  )

  it.live("one of certificate and key without the other", () =>
    Effect.gen(function* () {
      const { certificate, privateKey } = asValues(yield* client)
      const keyless = yield* refusal({ certificate })
      assert.strictEqual(keyless.field, "tls.privateKey")
      assert.strictEqual(keyless.problem, "is missing, and tls.certificate is set")
      const bare = yield* refusal({ privateKey })
      assert.strictEqual(bare.field, "tls.certificate")
      assert.strictEqual(bare.problem, "is missing, and tls.privateKey is set")
    })
  )
})

describe("other options of TLS that make no sense fail likewise:", () => {
  it.live.each(["", "https://registry", "registry:50051", "regis try"])("the server name %j", (serverName) =>
    Effect.gen(function* () {
      const error = yield* refusal({ serverName })
      assert.strictEqual(error.field, "tls.serverName")
      assert.include(error.problem, JSON.stringify(serverName))
    })
  )

  it.live.each([Duration.zero, "-1 seconds", "25 hours", Duration.infinity, Number.NaN] as const)(
    "the reload interval %s",
    (reloadInterval) =>
      Effect.gen(function* () {
        const error = yield* refusal({ reloadInterval })
        assert.strictEqual(error.field, "tls.reloadInterval")
        assert.strictEqual(error.expected, "1ms to 1 day")
      })
  )
})
