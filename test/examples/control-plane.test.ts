import { networkInterfaces } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { certificateFiles, makeAuthority } from "../support/certificates.js"
import { type Run, runExample } from "./runExample.js"

const TIMEOUT = 60_000

const start = (env: Record<string, string>) =>
  runExample("control-plane", { env: { AIO_LISTEN: "127.0.0.1:0", ...env }, interruptAt: "npm run demo" })

const assertOneSentence = ({ exitCode, stderr }: Run, sentence: string) => {
  assert.strictEqual(exitCode, 1)
  assert.strictEqual(stderr.trimEnd(), sentence)
}

// An address of this machine that others could dial, where it has one.
const [outside] = Object.values(networkInterfaces())
  .flatMap((found) => found ?? [])
  .filter(({ family, internal }) => family === "IPv4" && !internal)

describe.concurrent("npm run control-plane", () => {
  it.live(
    "prints what a client needs, and takes what is set to nothing for not set",
    () =>
      Effect.map(start({ AIO_TOKEN_TTL: "", CLIENT_KEY: "", AIO_TLS_CA_FILE: "" }), ({ stderr, stdout }) => {
        assert.strictEqual(stderr, "")
        assert.match(
          stdout,
          /^try: AIO_REGISTRY_ADDR=127\.0\.0\.1:\d+ AIO_CLIENT_KEY=ck_\w+ AIO_CLIENT_SECRET=cs_\w+ AIO_ENV=dev npm run demo$/m
        )
      }),
    TIMEOUT
  )

  it.live.skipIf(outside === undefined)(
    "says that credentials travel in plain text to an address that is not on loopback",
    () =>
      Effect.map(start({ AIO_LISTEN: `${outside?.address}:0`, CLIENT_SECRET: "x" }), ({ stdout }) =>
        assert.match(stdout, /^try: AIO_ALLOW_INSECURE=true AIO_REGISTRY_ADDR=.* AIO_CLIENT_SECRET=\$CLIENT_SECRET /m)
      ),
    TIMEOUT
  )

  it.scopedLive(
    "names the files and the name that a client of a TLS server needs",
    () =>
      Effect.gen(function* () {
        const files = yield* certificateFiles
        const { issue } = yield* makeAuthority("Our Authority")
        const own = yield* files.writeBoth(yield* issue({ name: "registry" }))
        const env = { AIO_TLS_CERT_FILE: own.certificate.file, AIO_TLS_KEY_FILE: own.privateKey.file }
        const { stdout } = yield* start({ ...env, AIO_TLS_CA_FILE: own.certificate.file })
        assert.match(stdout, /^try: AIO_TLS=true .* AIO_TLS_CA_FILE=ca\.pem .*AIO_TLS_CERT_FILE=client\.pem/m)
      }),
    TIMEOUT
  )

  const refusals: ReadonlyArray<readonly [env: Record<string, string>, sentence: string]> = [
    [{ AIO_TOKEN_TTL: "3600" }, 'AIO_TOKEN_TTL is "3600"; expected a second or more, such as 24 hours'],
    [{ AIO_TOKEN_TTL: "0" }, 'AIO_TOKEN_TTL is "0"; expected a second or more, such as 24 hours'],
    [{ AIO_TOKEN_TTL: "0 seconds" }, 'AIO_TOKEN_TTL is "0 seconds"; expected a second or more, such as 24 hours'],
    [
      { AIO_LISTEN: "50051" },
      'AIO_LISTEN is "50051"; expected host:port, such as 127.0.0.1:50051, or port 0 for any free port'
    ],
    [{ AIO_TLS_CERT_FILE: "tls.crt" }, "AIO_TLS_KEY_FILE is not set; expected a PEM file, as there is another for TLS"]
  ]
  for (const [env, sentence] of refusals) {
    it.live(
      `refuses ${JSON.stringify(env)} in one sentence`,
      () => Effect.map(start(env), (run) => assertOneSentence(run, sentence)),
      TIMEOUT
    )
  }
})
