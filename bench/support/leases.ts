/**
 * Ten thousand leases of a minute, kept by one process, against the control plane in a process of its own.
 */
import { strictEqual } from "node:assert"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as grpc from "@grpc/grpc-js"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Redacted, Scope } from "effect"
import * as ControlPlane from "../../src/control-plane/ControlPlane.js"
import * as Connection from "../../src/grpc/client/Connection.js"
import * as AuthClient from "../../src/layers/AuthClient.js"
import * as HeartbeatStream from "../../src/layers/HeartbeatStream.js"
import * as RegistryGrpc from "../../src/layers/RegistryGrpc.js"
import { Heartbeat, type NewRegistration } from "../../src/services/Heartbeat.js"
import * as Metrics from "../../src/telemetry/Metrics.js"
import * as Clocks from "../../test/support/clocks.js"
import { read as readMetric } from "../../test/support/metrics.js"
import { authenticate, load, unary } from "./bareClient.js"

export const LEASES = 10_000

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

const TTL_SECONDS = 60
const ENV = "bench"
const service = { project: "shop", name: "orders" }

/** Two contestants must not keep the same instances alive. */
const keys = (): ReadonlyArray<string> => Array.from({ length: LEASES }, (_, i) => `orders-${process.pid}-${i}`)

export const serve = async (): Promise<string> => {
  const runtime = ManagedRuntime.make(
    ControlPlane.layer({ clients: [{ clientKey: "key", clientSecret: Redacted.make("secret") }] })
  )
  const { address } = await runtime.runPromise(ControlPlane.ControlPlane)
  return address
}

/** A clock whose wall can be moved, as when the machine was suspended. */
const makeClock = () => {
  const live = Clocks.real()
  let ahead = 0
  const clock = Clocks.make({ ...live, millis: () => live.millis() + ahead })
  return {
    layer: Layer.setClock(clock),
    jump: () => {
      ahead += 60_000
    }
  }
}

const renewals = readMetric(Metrics.heartbeats, { result: "renewed" })

/** Registers all, and gives them when all of them are live. */
export const registered = async (address: string) => {
  const clock = makeClock()
  const connection = Connection.layer({ address })
  const auth = AuthClient.layer({ clientKey: "key", clientSecret: Redacted.make("secret") })
  const runtime = ManagedRuntime.make(
    HeartbeatStream.layer({ env: ENV, tuning: { heartbeat: { registrationsPerSecond: 500 } } }).pipe(
      Layer.provide(RegistryGrpc.layer()),
      Layer.provide(auth),
      Layer.provide(connection),
      // Ten thousand lines that say what a lease has become are not what is measured.
      Layer.provideMerge(Logger.minimumLogLevel(LogLevel.Error)),
      Layer.provideMerge(clock.layer)
    )
  )
  const scope = await runtime.runPromise(Scope.make())
  const register = Effect.gen(function* () {
    const heartbeat = yield* Heartbeat
    const all = yield* Effect.forEach(keys(), (instanceKey) => {
      const registration: NewRegistration = {
        service,
        instance: { host: "10.0.1.7", httpPort: 8080, instanceKey },
        startup: "background"
      }
      return heartbeat.registerSelf(registration)
    })
    yield* Effect.forEach(all, ({ awaitLive }) => awaitLive, { discard: true })
    return all
  })
  const registrations = await runtime.runPromise(Scope.extend(register, scope))
  const [first] = registrations
  // Who has slept doubts all of its leases, and asks for each of them at once.
  const beatAll = Effect.gen(function* () {
    const before = (yield* renewals).count
    clock.jump()
    yield* first?.state ?? Effect.void
    while ((yield* renewals).count - before < LEASES) yield* Effect.sleep(2)
  })
  return { registrations, beatAll: () => runtime.runPromise(beatAll) }
}

interface Ensured {
  readonly service: { readonly id: string }
}

interface Beat {
  readonly service_id: string
  readonly instance_key: string
}

interface Answer {
  readonly expires_at: string
}

type Duplex = grpc.ClientDuplexStream<Beat, Answer>
/** A generated client has its rpcs as methods that no type knows. */
type Open = (metadata: grpc.Metadata) => Duplex

const STREAMS = 16
const AT_ONCE = 64

/** Sixteen streams, and the leases dealt out among them: what someone writes who knows that answers come in order. */
export const bareLeases = async (address: string) => {
  const token = await authenticate(address)
  const Registry = load("registry.proto", "xiaozhizhang.registry.v1.RegistryService")
  const client = new Registry(address, grpc.credentials.createInsecure())
  const ensure = unary<Ensured>(client, "EnsureService")
  const register = unary<unknown>(client, "RegisterInstance")
  const { id } = (await ensure(service, token)).service
  const beats = keys().map((instance_key): Beat => ({ service_id: id, instance_key }))
  let next = 0
  const lane = async () => {
    for (let beat = beats[next++]; beat !== undefined; beat = beats[next++]) {
      await register(
        { ...beat, env: ENV, host: "10.0.1.7", endpoint: "10.0.1.7:8080", ttl_seconds: TTL_SECONDS },
        token
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  const metadata = new grpc.Metadata()
  metadata.set("authorization", `Bearer ${token}`)
  const open = Reflect.get(client, "HeartbeatStream") as Open
  const streams = Array.from({ length: STREAMS }, () => {
    const call = open.call(client, metadata)
    const waiting: Array<(answer: Answer) => void> = []
    call.on("data", (answer: Answer) => waiting.shift()?.(answer))
    return { call, waiting }
  })
  return beats.map((beat, index) => (): Promise<void> => {
    const { call, waiting } = streams[index % STREAMS] ?? raise("no such stream")
    return new Promise((resolve) => {
      waiting.push((answer) => {
        strictEqual(answer.expires_at === "0", false)
        resolve()
      })
      call.write(beat)
    })
  })
}

const raise = (sentence: string): never => {
  throw new Error(sentence)
}

/** Beats for ever, as often as the library does. */
export const keepAlive = (beat: () => Promise<void>): void => {
  const later = () => setTimeout(now, ((TTL_SECONDS * 1_000) / 3) * (0.9 + 0.1 * Math.random()))
  const now = () => void beat().then(later)
  setTimeout(now, ((TTL_SECONDS * 1_000) / 3) * Math.random())
}

/** Bytes on the heap that something holds on to. */
export const heapUsed = (): number => {
  collectGarbage()
  return process.memoryUsage().heapUsed
}

export const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
