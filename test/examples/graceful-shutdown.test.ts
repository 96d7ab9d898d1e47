import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Logger, Redacted, Schedule } from "effect"
import { Registry } from "effect-aio"
import { ControlPlane, layerWithClient } from "effect-aio/ControlPlane"
import * as Program from "../support/program.js"

const world = Layer.merge(layerWithClient({ shutdownGrace: "50 millis" }), Logger.remove(Logger.defaultLogger))

const listed = Effect.map(
  Effect.flatMap(Registry, (registry) => registry.listServices({ project: "effect-aio" })),
  (services) => services.flatMap(({ instances }) => instances)
)

const get = (url: string) => Effect.tryPromise(() => fetch(url).then((response) => response.text()))

describe("examples/graceful-shutdown.ts", () => {
  it.live(
    "deregisters, serves on while it drains, accepts nothing more, and finishes what it has begun",
    () =>
      Effect.gen(function* () {
        const { address, credentials } = yield* ControlPlane
        const program = yield* Program.start("examples/graceful-shutdown.ts", {
          AIO_REGISTRY_ADDR: address,
          AIO_CLIENT_KEY: credentials.clientKey,
          AIO_CLIENT_SECRET: Redacted.value(credentials.clientSecret),
          AIO_ENV: "dev",
          AIO_DRAIN_DELAY: "4 seconds"
        })
        yield* program.says("serving on port")
        const [instance] = yield* listed
        assert.strictEqual(instance?.host, "127.0.0.1")
        const url = `http://127.0.0.1:${instance?.httpPort}`
        yield* program.kill("SIGTERM")
        yield* Effect.repeat(listed, {
          until: (instances) => instances.length === 0,
          schedule: Schedule.spaced("50 millis")
        }).pipe(Effect.timeout("10 seconds"))
        // A consumer that has not noticed yet.
        assert.strictEqual(yield* get(url), "done\n")
        assert.notInclude(program.output(), "accepting nothing more")
        yield* Effect.sleep("2700 millis")
        const slow = yield* Effect.fork(get(`${url}/slow`))
        yield* program.says("accepting nothing more")
        assert.notInclude(program.output(), "every request is answered")
        assert.isTrue(Exit.isFailure(yield* Effect.exit(get(url))))
        assert.strictEqual(yield* slow, "done\n")
        const [elapsed, exited] = yield* Effect.timed(program.exited)
        assert.deepStrictEqual(exited, { code: 0, signal: null })
        assert.include(program.output(), "every request is answered")
        assert.isBelow(Duration.toMillis(elapsed), 10_000)
      }).pipe(Effect.scoped, Effect.provide(world)),
    120_000
  )
})
