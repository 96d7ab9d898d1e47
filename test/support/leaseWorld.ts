import { it } from "@effect/vitest"
import { Effect, Layer, Logger, LogLevel, Option, Random, type Scope, Stream } from "effect"
import {
  Aio,
  AioRpcError,
  type Auth,
  type Discovery,
  Heartbeat,
  type NewRegistration,
  type Registry,
  RegistryMemory,
  StatusCode
} from "effect-aio"
import * as ManualClock from "./manualClock.js"

export const orders: NewRegistration = {
  service: { project: "shop", name: "orders" },
  instance: { host: "10.0.0.1", httpPort: 8080 }
}

/** The same under a key of this name. */
export const ordersAs = (instanceKey: string, overrides: Partial<NewRegistration> = {}): NewRegistration => ({
  ...orders,
  ...overrides,
  instance: { ...orders.instance, instanceKey, ...overrides.instance }
})

export const rpcError = (code: number, method = "RegistryService/RegisterInstance") =>
  new AioRpcError({ method, code, details: "ordered by a test" })

export const unavailable = rpcError(StatusCode.StatusCode.UNAVAILABLE)

/** What is logged, as `LEVEL text`, in place of the console. */
export const captureLogs = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${(Array.isArray(message) ? message : [message]).map(String).join(" ")}`)
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

type World = Scope.Scope | Heartbeat | Discovery | Registry | Auth | RegistryMemory.RegistryMemory

/** A test whose clock only `TestClock.adjust` moves. The layers outlive its own scope, as an app's do. */
export const test = <A, E>(
  sentence: string,
  body: Effect.Effect<A, E, World> | ((lines: ReadonlyArray<string>) => Effect.Effect<A, E, World>)
) =>
  it.effect(sentence, () => {
    const logs = captureLogs()
    return Effect.scoped(Effect.isEffect(body) ? body : body(logs.lines)).pipe(
      Effect.provide(Layer.provideMerge(Aio.layerMemory, logs.layer)),
      Logger.withMinimumLogLevel(LogLevel.Info),
      Effect.withRandom(Random.make(sentence)),
      Effect.withClock(ManualClock.make().clock)
    )
  })

export const registerSelf = (registration: NewRegistration = orders) =>
  Effect.flatMap(Heartbeat, (heartbeat) => heartbeat.registerSelf(registration))

export const control = RegistryMemory.RegistryMemory

export const callsTo = (...methods: ReadonlyArray<RegistryMemory.RegistryMemory.Method>) =>
  Effect.map(
    Effect.flatMap(control, (memory) => memory.calls),
    (calls) => calls.filter(({ method }) => methods.includes(method))
  )

export const beatsSent = Effect.map(callsTo("heartbeats"), (calls) => calls.filter(({ key }) => Option.isSome(key)))

export const listed = Effect.map(
  Effect.flatMap(control, (memory) => memory.snapshot),
  (services) => services.flatMap(({ instances }) => instances)
)

export const listedKeys = Effect.map(listed, (instances) => instances.map(({ instanceKey }) => instanceKey))

/** What a registration is told, from now on. */
export const collected = <A>(stream: Stream.Stream<A>) =>
  Effect.gen(function* () {
    const seen: Array<A> = []
    yield* Effect.forkScoped(Stream.runForEach(stream, (value) => Effect.sync(() => seen.push(value))))
    yield* Effect.yieldNow()
    return seen
  })
