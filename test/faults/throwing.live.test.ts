import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Cause, Effect, Layer, Logger, Option } from "effect"
import { Aio } from "effect-aio"
import * as Odd from "../support/oddServer.js"
import { collectSpans } from "../support/spans.js"
import * as Surfaces from "../support/surfaces.js"
import { expectNothingUncaught } from "../support/uncaught.js"

expectNothingUncaught()

const bug = (): never => {
  throw new Error("a bug of the user's")
}

type Part = "span" | "attribute" | "end"

/** Throws where it is told to, or when asked for it. */
const tracer = (part: Part) => {
  const bugIf = (here: Part) => () => (part === here ? bug() : undefined)
  return collectSpans({ onStart: bugIf("span"), onAttribute: bugIf("attribute"), onEnd: bugIf("end") }).tracer
}

// From Info on, as by default: of a fiber that fails, as one of a race does, Effect itself says so at Debug, and nothing catches
// what a logger throws there.
const throwingLogger = Logger.replace(Logger.defaultLogger, Logger.make(bug))
const silent = Logger.remove(Logger.defaultLogger)

const observers: ReadonlyArray<readonly [what: string, layer: Layer.Layer<never>]> = [
  ["tracer, when a span begins", Layer.merge(silent, Layer.setTracer(tracer("span")))],
  ["tracer, when a span is told of the server", Layer.merge(silent, Layer.setTracer(tracer("attribute")))],
  ["tracer, when a span ends", Layer.merge(silent, Layer.setTracer(tracer("end")))],
  ["logger", throwingLogger],
  ["tracer and logger", Layer.merge(throwingLogger, Layer.setTracer(tracer("end")))]
]

const answers: ReadonlyArray<Odd.Answer> = [
  Odd.messages(Buffer.alloc(0)),
  Odd.compressed("snappy"),
  Odd.status("abc"),
  Odd.trailersOnly("16")
]

const aioFor = (address: string) =>
  Aio.layer({
    address,
    auth: "disabled",
    env: "test",
    deadline: Surfaces.DEADLINE,
    tuning: { retries: { times: 0 } }
  })

/** How calls on every surface end, for each answer in turn. */
const outcomes = Effect.gen(function* () {
  const server = yield* Odd.make()
  const provided = Effect.provide(yield* Layer.build(aioFor(server.address)))
  const shared = yield* Surfaces.plainClient("shared", yield* provided(Aio.clientOptions))
  const interceptors = [yield* provided(Aio.interceptor)]
  const surfaces = [
    ...(yield* provided(Surfaces.ourSurfaces(server.address))),
    ...Surfaces.plainSurfaces("clientOptions", shared),
    ...Surfaces.plainSurfaces("interceptor", yield* Surfaces.plainClient(server.address, { interceptors }))
  ]
  return yield* Effect.forEach(answers, (answer) =>
    Effect.zipRight(
      server.answers(answer),
      Effect.forEach(surfaces, ({ call, name }) => Effect.map(call, (end) => `${name}: ${end}`), {
        concurrency: "unbounded"
      })
    )
  )
})

describe("scenario 41: what a user's tracer or logger throws", () => {
  for (const [what, layer] of observers) {
    it.scopedLive(`changes no call: ${what}`, () =>
      Effect.gen(function* () {
        const calm = yield* Effect.provide(outcomes, silent)
        assert.deepStrictEqual(yield* Effect.provide(outcomes, layer), calm)
      })
    )
  }
})

type Hook =
  | "none"
  | "start"
  | "sendMessage"
  | "halfClose"
  | "onReceiveMetadata"
  | "onReceiveMessage"
  | "onReceiveStatus"

const throwing =
  (hook: Hook): grpc.Interceptor =>
  (options, nextCall) => {
    const at = (here: Hook) => {
      if (here === hook) bug()
    }
    return new grpc.InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        at("start")
        next(metadata, {
          onReceiveMetadata: (received, pass) => {
            at("onReceiveMetadata")
            pass(received)
          },
          onReceiveMessage: (message, pass) => {
            at("onReceiveMessage")
            pass(message)
          },
          onReceiveStatus: (status, pass) => {
            at("onReceiveStatus")
            pass(status)
          }
        })
      },
      sendMessage: (message, next) => {
        at("sendMessage")
        next(message)
      },
      halfClose: (next) => {
        at("halfClose")
        next()
      }
    })
  }

const within = (call: Effect.Effect<string>): Effect.Effect<string> =>
  Effect.map(
    Effect.timeoutOption(call, "6 seconds"),
    Option.getOrElse(() => "open")
  )

const hooks: ReadonlyArray<Hook> = [
  "none",
  "start",
  "sendMessage",
  "halfClose",
  "onReceiveMetadata",
  "onReceiveMessage",
  "onReceiveStatus"
]

describe("scenario 41: what an interceptor or a callback of a plain client throws", () => {
  for (const hook of hooks) {
    it.scopedLive(`ends that call with INTERNAL: an interceptor of a call that shares the channel, at ${hook}`, () =>
      Effect.gen(function* () {
        const server = yield* Odd.make()
        const provided = Effect.provide(yield* Layer.build(aioFor(server.address)))
        const client = yield* Surfaces.plainClient("shared", yield* provided(Aio.clientOptions))
        const inOne = Surfaces.plainSurfaces("interceptor", client, { interceptors: [throwing(hook)] })
        const provider = () => throwing(hook)
        const inMany = Surfaces.plainSurfaces("provider", client, {
          interceptor_providers: [() => throwing("none"), provider, () => throwing("none")]
        })
        // A bidirectional call of these is not half-closed.
        const isMet = (name: string) => hook !== "none" && (hook !== "halfClose" || !name.endsWith("bidi"))
        const surfaces = [...inOne, ...inMany]
        assert.deepStrictEqual(
          yield* Effect.forEach(surfaces, ({ call, name }) => Effect.map(within(call), (end) => [name, end]), {
            concurrency: "unbounded"
          }),
          surfaces.map(({ name }) => [name, isMet(name) ? "INTERNAL" : "OK"])
        )
      }).pipe(Effect.provide(silent))
    )
  }

  for (const hook of ["onReceiveMetadata", "onReceiveMessage", "onReceiveStatus"] as const) {
    it.scopedLive(`is logged: an interceptor before Aio.interceptor, at ${hook}`, () => {
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, logLevel }) => void logged.push(`${logLevel.label} ${Cause.pretty(cause)}`))
      return Effect.gen(function* () {
        const server = yield* Odd.make()
        const provided = Effect.provide(yield* Layer.build(aioFor(server.address)))
        const interceptors = [throwing(hook), yield* provided(Aio.interceptor)]
        const client = yield* Surfaces.plainClient(server.address, { interceptors })
        const surfaces = Surfaces.plainSurfaces("interceptor", client)
        yield* Effect.forEach(surfaces, ({ call }) => Effect.forkScoped(call))
        while (logged.length < surfaces.length) yield* Effect.sleep("5 millis")
        for (const line of logged) assert.include(line, "ERROR Error: a bug of the user's")
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    })
  }
})
