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
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Duration, Effect, Option, Redacted } from "effect"
import * as ControlPlane from "effect-aio/ControlPlane"

const config = Config.all({
  listen: Config.string("AIO_LISTEN").pipe(Config.withDefault("127.0.0.1:50051")),
  clientKey: Config.option(Config.nonEmptyString("CLIENT_KEY")),
  clientSecret: Config.option(Config.redacted(Config.nonEmptyString("CLIENT_SECRET"))),
  tokenTtl: Config.duration("AIO_TOKEN_TTL").pipe(Config.withDefault(Duration.hours(24)))
})

const file = (name: string) => Config.map(Config.nonEmptyString(name), (path) => ({ file: path }))

// Any of the files means TLS: with one of them forgotten, a server in plain text would be a surprise.
const tls = Effect.gen(function* () {
  const names = ["AIO_TLS_CERT_FILE", "AIO_TLS_KEY_FILE", "AIO_TLS_CA_FILE"]
  const given = yield* Effect.forEach(names, (name) => Config.option(file(name)))
  if (given.every(Option.isNone)) return undefined
  return yield* Config.all({
    certificate: file("AIO_TLS_CERT_FILE"),
    privateKey: file("AIO_TLS_KEY_FILE"),
    ca: Config.map(Config.option(file("AIO_TLS_CA_FILE")), Option.getOrUndefined)
  })
})

const program = Effect.gen(function* () {
  const { clientKey, clientSecret, listen, tokenTtl } = yield* config
  const client = {
    clientKey: Option.getOrUndefined(clientKey),
    clientSecret: Option.getOrUndefined(clientSecret)
  }
  const encryption = yield* tls
  const { address, credentials } = yield* ControlPlane.make({ listen, tokenTtl, clients: [client], tls: encryption })

  yield* Console.log(`control plane listening on ${address}`)
  const secret = Option.isNone(clientSecret) ? Redacted.value(credentials.clientSecret) : "$CLIENT_SECRET"
  yield* Console.log(
    `try: ${encryption === undefined ? "" : "AIO_TLS=true "}AIO_REGISTRY_ADDR=${address} AIO_CLIENT_KEY=${credentials.clientKey} AIO_CLIENT_SECRET=${secret} AIO_ENV=dev npm run demo`
  )
  return yield* Effect.never
})

program.pipe(
  Effect.scoped,
  // One sentence is what helps here; a stack trace would hide it.
  Effect.tapError((error) => Console.error(error._tag === "AioConfigError" ? error.message : String(error))),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
