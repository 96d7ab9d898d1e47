/**
 * A control plane of your own, for any client in any language: `npm run control-plane`.
 *
 * AIO_LISTEN      where to listen; default 127.0.0.1:50051, port 0 for any free port
 * CLIENT_KEY      the one client's key and secret; made up, and printed once, where they are not set
 * CLIENT_SECRET
 * AIO_TOKEN_TTL   how long a token lasts; default 24 hours
 *
 * AIO_TLS_CERT_FILE   the server's certificate (PEM), for TLS; default: plain text
 * AIO_TLS_KEY_FILE    its private key
 * AIO_TLS_CA_FILE     who must have signed the clients' certificates; default: clients need none
 */
import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Duration, Effect, Option, Redacted } from "effect"
import { Address, AioConfigError } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"

const options = ["AIO_LISTEN", "AIO_TOKEN_TTL", "AIO_TLS_CERT_FILE", "AIO_TLS_KEY_FILE", "AIO_TLS_CA_FILE"] as const

/** What is set to nothing is not set. */
const text = (name: (typeof options)[number] | "CLIENT_KEY" | "CLIENT_SECRET") =>
  Effect.map(Config.option(Config.nonEmptyString(name)), Option.getOrUndefined)

const tokenTtl = Effect.gen(function* () {
  const given = yield* text("AIO_TOKEN_TTL")
  if (given === undefined) return Duration.hours(24)
  const ttl = Option.filter(
    yield* Effect.option(Config.duration("AIO_TOKEN_TTL")),
    Duration.greaterThanOrEqualTo(Duration.seconds(1))
  )
  return yield* Effect.mapError(
    ttl,
    () =>
      new AioConfigError({
        field: "AIO_TOKEN_TTL",
        problem: `is ${JSON.stringify(given)}`,
        expected: "a second or more, such as 24 hours"
      })
  )
})

interface Files {
  readonly certificate: string
  readonly privateKey: string
  readonly ca: string | undefined
}

// Any of the files means TLS: with one of them forgotten, a server in plain text would be a surprise.
const files = Effect.gen(function* () {
  const certificate = yield* text("AIO_TLS_CERT_FILE")
  const privateKey = yield* text("AIO_TLS_KEY_FILE")
  const ca = yield* text("AIO_TLS_CA_FILE")
  if (certificate !== undefined && privateKey !== undefined) return { certificate, privateKey, ca }
  if (certificate ?? privateKey ?? ca) {
    return yield* new AioConfigError({
      field: certificate === undefined ? "AIO_TLS_CERT_FILE" : "AIO_TLS_KEY_FILE",
      problem: "is not set",
      expected: "a PEM file, as there is another for TLS"
    })
  }
  return undefined
})

const tls = ({ ca, certificate, privateKey }: Files) => ({
  certificate: { file: certificate },
  privateKey: { file: privateKey },
  ca: ca === undefined ? undefined : { file: ca }
})

// The control plane speaks of its options; here they came from the environment.
const variables: Record<string, (typeof options)[number]> = {
  listen: "AIO_LISTEN",
  "tls.certificate": "AIO_TLS_CERT_FILE",
  "tls.privateKey": "AIO_TLS_KEY_FILE",
  "tls.ca": "AIO_TLS_CA_FILE"
}
const inTermsOfVariables = (error: AioConfigError) =>
  new AioConfigError({
    field: variables[error.field] ?? error.field,
    problem: error.problem,
    expected: error.expected
  })

/** What a client must be told beside address, key, secret and env. */
const extras = (address: string, { ca, certificate }: Files) => {
  const shown = new X509Certificate(readFileSync(certificate))
  const host = address.slice(0, address.lastIndexOf(":"))
  const isNamed = shown.checkIP(host.replace(/^\[|\]$/g, "")) ?? shown.checkHost(host)
  const name = isNamed === undefined ? /DNS:([\w.-]+)/.exec(shown.subjectAltName ?? "")?.[1] : undefined
  return [
    // Who signed another certificate than one that signed itself, only its owner knows.
    ` AIO_TLS_CA_FILE=${shown.checkIssued(shown) ? certificate : "ca.pem"}`,
    name === undefined ? "" : ` AIO_TLS_SERVER_NAME=${name}`,
    ca === undefined ? "" : " AIO_TLS_CERT_FILE=client.pem AIO_TLS_KEY_FILE=client-key.pem"
  ].join("")
}

const program = Effect.gen(function* () {
  const clientKey = yield* text("CLIENT_KEY")
  const clientSecret = yield* text("CLIENT_SECRET")
  const encryption = yield* files
  const { address, credentials } = yield* ControlPlane.make({
    listen: (yield* text("AIO_LISTEN")) ?? "127.0.0.1:50051",
    tokenTtl: yield* tokenTtl,
    clients: [{ clientKey, clientSecret: clientSecret === undefined ? undefined : Redacted.make(clientSecret) }],
    tls: encryption === undefined ? undefined : tls(encryption)
  }).pipe(Effect.catchTag("AioConfigError", (error) => Effect.fail(inTermsOfVariables(error))))

  yield* Console.log(`control plane listening on ${address}`)
  const [{ isLoopback }] = yield* Address.parse("AIO_LISTEN", address)
  const secret = clientSecret === undefined ? Redacted.value(credentials.clientSecret) : "$CLIENT_SECRET"
  const before = encryption !== undefined ? "AIO_TLS=true " : isLoopback ? "" : "AIO_ALLOW_INSECURE=true "
  const after = encryption === undefined ? "" : extras(address, encryption)
  yield* Console.log(
    `try: ${before}AIO_REGISTRY_ADDR=${address} AIO_CLIENT_KEY=${credentials.clientKey} AIO_CLIENT_SECRET=${secret} AIO_ENV=dev${after} npm run demo`
  )
  return yield* Effect.never
})

program.pipe(
  Effect.scoped,
  // One sentence is what helps here; a stack trace would hide it.
  Effect.tapError((error) => Console.error(error._tag === "AioConfigError" ? error.message : String(error))),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
