import * as Net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect, Redacted } from "effect"
import { Registry } from "effect-aio"
import * as ControlPlane from "effect-aio/ControlPlane"
import { type Run, runExample } from "./runExample.js"

const JWT = /eyJ[\w-]+\.[\w-]+\.[\w-]+/
const TIMEOUT = 60_000

const headings = ({ stdout }: Run) => stdout.split("\n").filter((line) => /^[0-9] /.test(line))

const assertSixSteps = (run: Run) => {
  assert.strictEqual(run.stderr, "")
  assert.strictEqual(run.exitCode, 0)
  assert.deepStrictEqual(
    headings(run).map((line) => line[0]),
    ["1", "2", "3", "4", "5", "6"]
  )
  assert.isBelow(run.seconds, 30)
  assert.notInclude(run.stdout, "\u001b")
  assert.notMatch(run.stdout, JWT)
}

const assertOneSentence = (run: Run, sentence: RegExp) => {
  assert.strictEqual(run.exitCode, 1)
  const lines = run.stderr.trimEnd().split("\n")
  assert.lengthOf(lines, 1, run.stderr)
  assert.match(run.stderr, sentence)
  assert.notMatch(run.stdout + run.stderr, /^\s+at /m)
  assert.isBelow(run.seconds, 30)
}

const credentials = { CLIENT_KEY: "key-of-the-demo", CLIENT_SECRET: "secret-of-the-demo" }

const plane = ControlPlane.layerWithClient({
  clients: [{ clientKey: credentials.CLIENT_KEY, clientSecret: Redacted.make(credentials.CLIENT_SECRET) }]
})

const environment = Effect.map(ControlPlane.ControlPlane, ({ address }) => ({ REGISTRY_ADDR: address, ...credentials }))

const left = Effect.gen(function* () {
  const registry = yield* Registry
  const services = yield* registry.listServices()
  return services.map(({ instances, service }) => `${service.project}/${service.name}: ${instances.length}`)
})

/** A server that accepts connections and never says a word. */
const mute = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<Net.Socket>()
    const server = Net.createServer((socket) => void sockets.add(socket.on("error", () => {})))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const close = () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      resume(Effect.succeed({ port: typeof address === "object" && address !== null ? address.port : 0, close }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

/** The port of a gRPC server that serves nothing. */
const stranger = Effect.acquireRelease(
  Effect.async<{ readonly port: number; readonly server: Grpc.Server }>((resume) => {
    const server = new Grpc.Server()
    server.bindAsync("127.0.0.1:0", Grpc.ServerCredentials.createInsecure(), (_, port) =>
      resume(Effect.succeed({ port, server }))
    )
  }),
  ({ server }) => Effect.sync(() => server.forceShutdown())
).pipe(Effect.map(({ port }) => port))

// Most of the time of these is spent waiting: they run side by side.
describe.concurrent("npm run demo", () => {
  it.live(
    "takes its six steps with a control plane of its own",
    () =>
      Effect.gen(function* () {
        const run = yield* runExample("quickstart")
        assertSixSteps(run)
        assert.notMatch(run.stdout, /c[ks]_[0-9a-f]{16}/)
        assert.include(run.stdout, "<redacted>")
        assert.match(run.stdout, /quickstart +3 instances/)
        // Each server answers twice, then b dies. It is called once more, or twice where the first call finds a connection that
        // is breaking rather than none, and then never again.
        const [before = "", after = ""] = run.stdout.split("b dies")
        for (const name of ["a", "b", "c"])
          assert.lengthOf(before.match(new RegExp(`hello from ${name}`, "g")) ?? [], 2)
        assert.lengthOf(after.match(/hello from [ac]/g) ?? [], 6)
        assert.notInclude(after, "hello from b")
        assert.oneOf((after.match(/no answer from b/g) ?? []).length, [1, 2])
        assert.notInclude(after.split("call 11")[1] ?? "", "no answer")
        assert.lengthOf(run.stdout.match(/^ +renewed /gm) ?? [], 5)
        assert.match(run.stdout, /quickstart +0 instances/)
      }),
    TIMEOUT
  )

  it.live(
    "takes the same steps against a registry that is given, and leaves nothing behind but a service",
    () =>
      Effect.gen(function* () {
        const run = yield* runExample("quickstart", { env: yield* environment })
        assertSixSteps(run)
        assert.notInclude(run.stdout, credentials.CLIENT_SECRET)
        assert.deepStrictEqual(yield* left, ["effect-aio/quickstart: 0"])
      }).pipe(Effect.provide(plane)),
    TIMEOUT
  )

  it.live(
    "deregisters when it is stopped half way",
    () =>
      Effect.gen(function* () {
        const run = yield* runExample("quickstart", { env: yield* environment, interruptAt: "   renewed" })
        assert.strictEqual(run.stderr, "")
        assert.lengthOf(headings(run), 5)
        assert.deepStrictEqual(yield* left, ["effect-aio/quickstart: 0"])
      }).pipe(Effect.provide(plane)),
    TIMEOUT
  )

  it.live(
    "says in one sentence that key or secret are wrong",
    () =>
      Effect.gen(function* () {
        const env = { ...(yield* environment), CLIENT_SECRET: "another" }
        assertOneSentence(yield* runExample("quickstart", { env }), /refused the client key or secret/)
      }).pipe(Effect.provide(plane)),
    TIMEOUT
  )

  it.scopedLive(
    "says in one sentence that a registry does not answer, after five seconds",
    () =>
      Effect.gen(function* () {
        const env = { REGISTRY_ADDR: `127.0.0.1:${(yield* mute).port}`, ...credentials }
        assertOneSentence(
          yield* runExample("quickstart", { env }),
          /the registry does not answer: .*(after|within) [0-9]/
        )
      }),
    TIMEOUT
  )

  it.scopedLive(
    "says in one sentence, and nothing before it, that a registry without authentication is no AIO registry",
    () =>
      Effect.gen(function* () {
        const env = { REGISTRY_ADDR: `127.0.0.1:${yield* stranger}`, AIO_AUTH: "disabled" }
        assertOneSentence(yield* runExample("quickstart", { env }), /UNIMPLEMENTED/)
      }),
    TIMEOUT
  )

  const refusals: ReadonlyArray<{ readonly problem: string; readonly address: string; readonly sentence: RegExp }> = [
    { problem: "nothing listens on the port", address: "127.0.0.1:1", sentence: /cannot be reached: .*127\.0\.0\.1:1/ },
    { problem: "the address has no port", address: "localhost", sentence: /"localhost" has no port/ },
    {
      problem: "credentials would travel in plain text",
      address: "192.0.2.1:50051",
      sentence: /"192\.0\.2\.1:50051" is not on loopback.*AIO_ALLOW_INSECURE=true/
    }
  ]
  for (const { address, problem, sentence } of refusals) {
    it.live(
      `says in one sentence that ${problem}`,
      () =>
        Effect.gen(function* () {
          const env = { REGISTRY_ADDR: address, ...credentials }
          assertOneSentence(yield* runExample("quickstart", { env }), sentence)
        }),
      TIMEOUT
    )
  }
})
