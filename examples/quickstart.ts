/**
 * Six steps through effect-aio: `npm run demo`.
 *
 * Without REGISTRY_ADDR it starts a control plane in this process. With REGISTRY_ADDR, CLIENT_KEY and CLIENT_SECRET it
 * takes the same steps against that one, and leaves nothing behind there but the definition of one service. AIO_ENV is
 * `dev` unless it is set; an address that is not on loopback needs AIO_ALLOW_INSECURE=true.
 */
import * as Http from "node:http"
import type { AddressInfo } from "node:net"
import { styleText } from "node:util"
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Config, ConfigProvider, Console, Effect, Logger, LogLevel, Option, Schedule, Stream } from "effect"
import {
  Address,
  Aio,
  AioConfig,
  Auth,
  Discovery,
  Heartbeat,
  type Instance,
  isUnavailable,
  type Registration,
  Registry,
  StatusCode
} from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"

const service = { project: "effect-aio", name: "quickstart" }

const program = Effect.gen(function* () {
  const client = yield* createClient
  yield* authenticate.pipe(Effect.zipRight(whileRegistered), Effect.zipRight(showGone), Effect.provide(client))
})

// What is registered in a scope is deregistered where the scope ends: here, by Ctrl-C, or by a failure.
const whileRegistered = Effect.scoped(
  Effect.gen(function* () {
    const servers = yield* listServices
    yield* discover(servers)
    yield* registerMyself
    yield* heading("6  Stop")
  })
)

const createClient = Effect.gen(function* () {
  yield* heading("1  Create the client")
  const options = yield* settings
  yield* line("registry", String(options.address))
  yield* line("env", options.env)
  // An authentication has 30 seconds by default, for a busy registry: here the answer is wanted sooner.
  return Aio.layer({ ...options, tuning: { token: { acquireDeadline: "5 seconds" } } })
})

const authenticate = Effect.gen(function* () {
  yield* heading("2  Authenticate")
  const auth = yield* Auth
  const token = yield* auth.token
  yield* line("token", String(token.value))
  yield* line("expires", Number.isFinite(token.expiresAt) ? dateTime(token.expiresAt) : "never")
})

const listServices = Effect.gen(function* () {
  yield* heading("3  Start three servers and list the services")
  const registry = yield* Registry
  const servers = yield* Effect.all({ a: start("a"), b: start("b"), c: start("c") })
  const services = yield* registry.listServices()
  yield* line("services", String(services.length))
  const instances = yield* listed
  yield* line("quickstart", `${instances.length} instances`)
  for (const instance of instances) yield* line("", `${nameOf(instance)} at ${Address.httpUrl(instance)}`)
  return servers
})

const discover = (servers: { readonly b: Server }) =>
  Effect.gen(function* () {
    yield* heading("4  Discover one of them for each call, round-robin")
    const discovery = yield* Discovery
    const call = (n: number) =>
      discovery
        .use(
          service,
          (instance) =>
            Effect.tapError(get(instance), () =>
              line(`call ${n}`, red(`no answer from ${nameOf(instance)}, so another one is asked`))
            ),
          { idempotent: true }
        )
        .pipe(Effect.flatMap((answer) => line(`call ${n}`, answer)))
    yield* Effect.forEach([1, 2, 3, 4, 5, 6], call)
    yield* servers.b.die
    yield* line("b dies", "its lease is still renewed, so the registry goes on listing it")
    yield* Effect.forEach([7, 8, 9, 10, 11, 12], call)
  })

const registerMyself = Effect.gen(function* () {
  yield* heading("5  Register myself, and stay registered")
  const { registration } = yield* start("me")
  yield* line("key", yield* registration.instanceKey)
  yield* line("lease", `${yield* registration.state}, lasts 3 seconds, is renewed every second`)
  // Asks the registry what it has seen; heartbeats need no help.
  yield* Stream.repeatEffectWithSchedule(listed, Schedule.spaced("200 millis")).pipe(
    Stream.map((instances) => instances.find((instance) => nameOf(instance) === "me")),
    Stream.filter((instance) => instance !== undefined),
    Stream.changesWith((one, other) => one.lastHeartbeatAt === other.lastHeartbeatAt),
    Stream.take(5),
    Stream.interruptWhen(Effect.sleep("10 seconds")),
    Stream.runForEach(({ lastHeartbeatAt: at, ttlSeconds }) =>
      line("renewed", `${time(at)}, until ${time(at + ttlSeconds * 1_000)}`)
    )
  )
})

const showGone = Effect.gen(function* () {
  yield* line("closed", "the scope of the four registrations, which deregistered them")
  yield* line("quickstart", `${(yield* listed).length} instances in the registry`)
})

/** The registry that the environment names; else one of our own, which ends with the program. */
const settings = Effect.gen(function* () {
  const given = yield* Config.option(
    Config.orElse(Config.nonEmptyString("AIO_REGISTRY_ADDR"), () => Config.nonEmptyString("REGISTRY_ADDR"))
  )
  if (Option.isSome(given)) return yield* Effect.mapError(AioConfig.config, AioConfig.toAioConfigError)
  const { address, credentials } = yield* ControlPlane.make()
  yield* line("", "REGISTRY_ADDR is not set: a control plane starts in this process")
  return { address, env: yield* Config.string("AIO_ENV"), ...credentials }
})

const defaults = ConfigProvider.fromJson({ AIO_ENV: "dev", AIO_DEADLINE: "5 seconds" })
const environment = ConfigProvider.orElse(ConfigProvider.fromEnv(), () => defaults)

interface Server {
  readonly registration: Registration
  readonly die: Effect.Effect<void>
}

/** A small HTTP server, registered. Its lease is short, so that renewals can be watched. */
const start = (name: string) =>
  Effect.gen(function* () {
    const heartbeat = yield* Heartbeat
    const server = yield* Effect.acquireRelease(
      Effect.async<Http.Server>((resume) => {
        const server = Http.createServer((_, response) => response.end(`hello from ${name}`))
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      die
    )
    const { port } = server.address() as AddressInfo
    const registration = yield* heartbeat.registerSelf({
      service,
      instance: { host: "127.0.0.1", httpPort: port, meta: { name } },
      ttl: "3 seconds",
      startup: "fail",
      startupTimeout: "5 seconds"
    })
    return { registration, die: die(server) }
  })

const die = (server: Http.Server) =>
  Effect.sync(() => {
    server.closeAllConnections()
    server.close()
  })

/** Our service's instances, as the registry lists them now. */
const listed = Effect.gen(function* () {
  const registry = yield* Registry
  const services = yield* registry.listServices({ project: service.project })
  const instances = services.find((found) => found.service.name === service.name)?.instances ?? []
  return instances.toSorted((one, other) => nameOf(one).localeCompare(nameOf(other)))
})

const get = (instance: Instance) =>
  Effect.fromNullable(Address.httpUrl(instance)).pipe(
    Effect.flatMap((url) => HttpClient.get(url)),
    Effect.flatMap((response) => response.text)
  )

const nameOf = (instance: Instance) => String(instance.meta.name)

// stdout.hasColors knows terminals, NO_COLOR and TERM; it is not there for a pipe or a file.
const paint = (style: "bold" | "dim" | "red") => (text: string) =>
  process.stdout.hasColors?.() ? styleText(style, text) : text
const red = paint("red")
const heading = (text: string) => Console.log(`\n${paint("bold")(text)}`)
const line = (label: string, text: string) => Console.log(`   ${paint("dim")(label.padEnd(12))}${text}`)
const time = (millis: number) => new Date(millis).toISOString().slice(11, 19)
const dateTime = (millis: number) => `${new Date(millis).toISOString().slice(0, 10)} ${time(millis)} UTC`

interface Problem {
  readonly message: string
  readonly code?: unknown
}

const sentence = (error: Problem) => {
  if (error.code === StatusCode.StatusCode.DEADLINE_EXCEEDED) return `the registry does not answer: ${error.message}`
  return isUnavailable(error) ? `the registry cannot be reached: ${error.message}` : error.message
}

/** One sentence for what a person can mend; a stack trace only for a bug. */
const report = (cause: Cause.Cause<Problem>) =>
  Cause.isInterruptedOnly(cause)
    ? Effect.void
    : Console.error(Option.match(Cause.failureOption(cause), { onNone: () => Cause.pretty(cause), onSome: sentence }))

program.pipe(
  Effect.scoped,
  Effect.tapErrorCause(report),
  // What goes wrong for good is told in one sentence (see report); what is tried again need not be said here.
  Effect.provide([FetchHttpClient.layer, Logger.minimumLogLevel(LogLevel.Error)]),
  Effect.withConfigProvider(environment),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
