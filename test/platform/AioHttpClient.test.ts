import { FetchHttpClient, HttpBody, HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Option, Predicate, Stream } from "effect"
import * as DiscoveryCached from "../../src/layers/DiscoveryCached.js"
import * as AioHttpClient from "../../src/platform/AioHttpClient.js"
import type { Instance } from "../../src/schemas/Instance.js"
import { Discovery } from "../../src/services/Discovery.js"
import { type HttpServer, httpServer } from "../support/httpServers.js"
import { anInstance, aService, scriptedRegistry, unavailable } from "../support/scriptedRegistry.js"
import { collectSpans } from "../support/spans.js"
import { deadPort } from "../support/wireServers.js"

const on = (key: string, port: number, overrides: Partial<Instance> = {}): Instance =>
  anInstance(key, { host: "127.0.0.1", endpoint: "", httpPort: port, ...overrides })

const service = (name: string, instances: ReadonlyArray<Instance>, project = "shop") =>
  aService(name, instances, { project })

interface Setting {
  readonly client?: AioHttpClient.Options
  readonly discovery?: Partial<DiscoveryCached.Options>
}

/** The wrapped client over `fetch`, and discovery of these services. */
const world = (services: ReadonlyArray<ReturnType<typeof service>>, { client, discovery }: Setting = {}) =>
  Effect.gen(function* () {
    const registry = scriptedRegistry()
    registry.answers(...services)
    const found = Layer.provide(DiscoveryCached.layer({ env: "test", ...discovery }), registry.layer)
    const layer = AioHttpClient.layer(client).pipe(
      Layer.provideMerge(Layer.merge(found, FetchHttpClient.layer)),
      Layer.build
    )
    const context = yield* layer
    return {
      http: Context.get(context, HttpClient.HttpClient),
      discovery: Context.get(context, Discovery),
      forService: (ref: { readonly project: string; readonly name: string }) =>
        Effect.provide(AioHttpClient.forService(ref), context),
      registry
    }
  })

const payments = (servers: ReadonlyArray<HttpServer>) =>
  service(
    "payments",
    servers.map(({ port }, i) => on(`pay-${i}`, port))
  )

const textOf = (response: HttpClientResponse.HttpClientResponse) =>
  Effect.map(response.text, (text) => `${response.status} ${text}`)
const countOf = (servers: ReadonlyArray<HttpServer>) => servers.map(({ seen }) => seen.length)
const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((a, b) => a + b, 0)
const times = <A, E, R>(n: number, effect: Effect.Effect<A, E, R>) =>
  Effect.all(Array.from({ length: n }, () => effect))

/** The tags in a failure and its causes, and what they say. */
const failureOf = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    const tags: Array<string> = []
    let message = ""
    let part: unknown = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
    while (Predicate.isObject(part)) {
      if (Predicate.hasProperty(part, "_tag")) tags.push(String(part._tag))
      if (Predicate.hasProperty(part, "message")) message += `${String(part.message)}\n`
      // A text on Effect 3, and an error of its own on Effect 4.
      const reason = Predicate.hasProperty(part, "reason") ? part.reason : undefined
      if (Predicate.hasProperty(reason, "_tag")) tags.push(String(reason._tag).replace(/Error$/, ""))
      else if (typeof reason === "string") tags.push(reason)
      part = Predicate.hasProperty(part, "cause") ? part.cause : undefined
    }
    return { tags: tags.join(" "), message }
  })

describe("a host of a service", () => {
  it.scopedLive("is an instance of it, with the path and the query of the request", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all([httpServer(), httpServer()])
      const { http } = yield* world([payments(servers)])
      const answers = yield* times(
        4,
        Effect.flatMap(http.get("http://payments.shop.aio/charge/a%20b?x=1", { urlParams: { y: "2" } }), textOf)
      )
      assert.deepStrictEqual(answers, ["200 hello", "200 hello", "200 hello", "200 hello"])
      const seen = "GET /charge/a%20b?x=1&y=2"
      assert.deepStrictEqual(
        servers.map((server) => server.seen),
        [
          [seen, seen],
          [seen, seen]
        ]
      )
    })
  )

  it.scopedLive("has a project with dots, another suffix, decoded labels and a dot at its end", () =>
    Effect.gen(function* () {
      const [dotted, unicode] = yield* Effect.all([httpServer(), httpServer()])
      const { http } = yield* world(
        [
          service("payments", [on("a", dotted.port)], "shop.eu"),
          service("zählung", [on("b", unicode.port)], "shop.eu")
        ],
        { client: { suffix: "svc.internal" } }
      )
      assert.strictEqual((yield* http.get("http://payments.shop.eu.svc.internal./one")).status, 200)
      assert.strictEqual((yield* http.get("http://zählung.shop.eu.svc.internal/two")).status, 200)
      assert.deepStrictEqual([dotted.seen, unicode.seen], [["GET /one"], ["GET /two"]])
    })
  )

  it.scopedLive("may lead to a URL with a path of its own", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const instance = anInstance("a", { endpoint: `http://127.0.0.1:${server.port}/api/?v=1` })
      const { http } = yield* world([service("payments", [instance])])
      yield* http.get("http://payments.shop.aio/charge?x=1")
      assert.deepStrictEqual(server.seen, ["GET /api/charge?x=1"])
    })
  )

  it.scopedLive("is called over https where meta says so, and https never over plain text", () =>
    Effect.gen(function* () {
      const plain = yield* httpServer()
      const { http } = yield* world([
        service("payments", [on("a", plain.port)]),
        service("secure", [on("b", plain.port, { meta: { scheme: "https" } })])
      ])
      const refused = yield* failureOf(http.get("https://payments.shop.aio/"))
      assert.strictEqual(refused.tags.split(" ").at(-1), "AioNoInstances")
      // A handshake at a server of plain text fails: nothing was read as a request.
      assert.include((yield* failureOf(http.get("http://secure.shop.aio/"))).tags, "Transport")
      assert.deepStrictEqual(plain.seen, [])
    })
  )
})

describe("the span of a request", () => {
  it.scopedLive("is that of the wrapped client, and names the instance", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const { http } = yield* world([payments([server])])
      const { spans, tracer } = collectSpans()
      yield* http
        .get("http://payments.shop.aio/charge")
        .pipe(Effect.withSpan("caller"), Effect.provide(Layer.setTracer(tracer)))
      // `http.client GET` on Effect 3, and `GET` on Effect 4.
      assert.deepStrictEqual(
        spans.map(({ name }) => name.split(" ").at(-1)),
        ["caller", "GET"]
      )
      const [caller, request] = spans
      // With the scheme and the port on Effect 3 alone.
      assert.include(String(request?.attributes.get("server.address")), "127.0.0.1")
      assert.strictEqual(request?.attributes.get("server.port"), server.port)
      assert.strictEqual(Option.getOrUndefined(request?.parent ?? Option.none())?.spanId, caller?.spanId)
    })
  )
})

describe("other URLs", () => {
  it.scopedLive("go to the wrapped client as they are", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const { http, registry } = yield* world([])
      assert.strictEqual((yield* http.get(`http://127.0.0.1:${server.port}/a`)).status, 200)
      assert.include((yield* failureOf(http.get("/relative"))).tags, "InvalidUrl")
      assert.deepStrictEqual([server.seen, registry.calls()], [["GET /a"], []])
    })
  )

  it.scopedLive("fail with InvalidUrl where their host has the suffix and names no service", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const { http } = yield* world([payments([server])])
      for (const url of ["payments.aio", "payments..aio", "payments.shop.aio:81", "user:pass@payments.shop.aio"]) {
        const { tags } = yield* failureOf(http.get(`http://${url}/`))
        assert.include(tags, "InvalidUrl", url)
      }
      const { message, tags } = yield* failureOf(http.get("http://unknown.shop.aio/"))
      assert.include(tags, "InvalidUrl")
      assert.include(tags, "AioServiceNotFound")
      assert.include(message, "AioHttpClient.forService({ project, name })")
      assert.deepStrictEqual(server.seen, [])
    })
  )

  for (const what of ["port", "address at the same port"] as const) {
    it.scopedLive(`of a redirect to another ${what} count nothing against the instance, and send nothing twice`, () =>
      Effect.gen(function* () {
        const gone = yield* deadPort
        const redirect = httpServer(({ headers }) => {
          const [, port] = (headers.host ?? "").split(":")
          const location = what === "port" ? `http://127.0.0.1:${gone}/` : `http://127.0.0.2:${port}/`
          return { status: 307, headers: { location } }
        })
        const servers = yield* Effect.all([redirect, redirect])
        const { discovery, http } = yield* world([payments(servers)])
        const { tags } = yield* failureOf(http.post("http://payments.shop.aio/", { body: HttpBody.text("once") }))
        assert.include(tags, "Transport")
        assert.strictEqual(sum(countOf(servers)), 1)
        const { instances } = yield* discovery.explain({ project: "shop", name: "payments" })
        assert.deepStrictEqual(
          instances.map(({ obstacle }) => obstacle),
          [undefined, undefined]
        )
      })
    )
  }
})

describe("forService", () => {
  it.scopedLive("calls a service whose name is no host, by paths", () =>
    Effect.gen(function* () {
      const [server, other] = yield* Effect.all([httpServer(), httpServer()])
      const { forService } = yield* world([service("Pay Ments", [on("a", server.port)], "Der Laden")])
      const http = yield* forService({ project: "Der Laden", name: "Pay Ments" })
      for (const path of ["", "charge", "/charge?x=1"]) yield* http.get(path)
      yield* http.get(`http://127.0.0.1:${other.port}/elsewhere`)
      assert.deepStrictEqual(server.seen, ["GET /", "GET /charge", "GET /charge?x=1"])
      assert.deepStrictEqual(other.seen, ["GET /elsewhere"])
      assert.include((yield* failureOf(http.get("//other.example/"))).tags, "InvalidUrl")
    })
  )
})

describe("an ill instance", () => {
  for (const status of [502, 503, 504]) {
    it.scopedLive(`that answers ${status} is passed over by idempotent requests, and ejected`, () =>
      Effect.gen(function* () {
        const servers = yield* Effect.all([httpServer(() => ({ status })), httpServer()])
        const { http } = yield* world([payments(servers)])
        const answers = yield* times(40, Effect.flatMap(http.get("http://payments.shop.aio/"), textOf))
        assert.deepStrictEqual([...new Set(answers)], ["200 hello"])
        assert.deepStrictEqual(countOf(servers), [5, 40])
      })
    )
  }

  it.scopedLive("that answers 500 is not tried elsewhere, and is ejected without filterStatusOk", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all([httpServer(() => ({ status: 500, body: "ill" })), httpServer()])
      const { http } = yield* world([payments(servers)])
      const answers = yield* times(40, Effect.flatMap(http.get("http://payments.shop.aio/"), textOf))
      assert.strictEqual(answers.filter((answer) => answer === "500 ill").length, 5)
      assert.deepStrictEqual(countOf(servers), [5, 35])
    })
  )

  it.scopedLive("gives its last answer, with its body, where all are ill", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all([
        httpServer(() => ({ status: 503, body: "busy" })),
        httpServer(() => ({ status: 503, body: "busy" }))
      ])
      const { http } = yield* world([payments(servers)])
      assert.strictEqual(yield* Effect.flatMap(http.get("http://payments.shop.aio/"), textOf), "503 busy")
      const strict = HttpClient.filterStatusOk(http)
      assert.include((yield* failureOf(strict.get("http://payments.shop.aio/"))).tags, "StatusCode")
      assert.deepStrictEqual(countOf(servers), [2, 2])
    })
  )

  it.scopedLive("gets a request again only where that is idempotent, by its method or its key", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all([httpServer(() => ({ status: 503 })), httpServer(() => ({ status: 503 }))])
      const { http } = yield* world([payments(servers)], {
        discovery: { tuning: { outlier: { ejection: 0 } } }
      })
      const sent = (request: HttpClientRequest.HttpClientRequest) =>
        Effect.gen(function* () {
          const before = sum(countOf(servers))
          yield* http.execute(request)
          return sum(countOf(servers)) - before
        })
      const url = "http://payments.shop.aio/"
      const text = HttpClientRequest.bodyText("body")
      const stream = HttpClientRequest.bodyStream(Stream.succeed(new TextEncoder().encode("body")))
      const key = HttpClientRequest.setHeader("Idempotency-Key", "1")
      const counts = yield* Effect.all({
        get: sent(HttpClientRequest.get(url)),
        put: sent(text(HttpClientRequest.put(url))),
        delete: sent(HttpClientRequest.make("DELETE")(url)),
        post: sent(text(HttpClientRequest.post(url))),
        patch: sent(text(HttpClientRequest.patch(url))),
        postWithKey: sent(key(text(HttpClientRequest.post(url)))),
        putOfStream: sent(stream(HttpClientRequest.put(url)))
      })
      assert.deepStrictEqual(counts, {
        get: 2,
        put: 2,
        delete: 2,
        post: 1,
        patch: 1,
        postWithKey: 2,
        putOfStream: 1
      })
    })
  )

  it.scopedLive("that is killed under 64 calls in flight fails no idempotent call after the first second", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all([httpServer(() => ({ after: 5 })), httpServer(() => ({ after: 5 }))])
      const { http } = yield* world([payments(servers)])
      const now = Effect.sync(() => performance.now())
      const began = yield* now
      const failed: Array<number> = []
      let answered = 0
      const call = Effect.gen(function* () {
        const exit = yield* Effect.exit(Effect.flatMap(http.get("http://payments.shop.aio/"), textOf))
        if (Exit.isSuccess(exit) && exit.value === "200 hello") answered++
        else failed.push((yield* now) - began)
      })
      const caller: Effect.Effect<void> = Effect.flatMap(now, (at) =>
        at - began > 3_000 ? Effect.void : Effect.zipRight(call, caller)
      )
      const running = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 64 }, () => caller),
          { concurrency: "unbounded" }
        )
      )
      yield* Effect.sleep("300 millis")
      yield* servers[0].kill
      yield* Fiber.join(running)
      assert.isAbove(answered, 10)
      assert.deepStrictEqual(
        failed.filter((at) => at > 1_000),
        []
      )
    })
  )

  it.scopedLive("where all are: retryTransient sends at most what the retry budget allows", () =>
    Effect.gen(function* () {
      const servers = yield* Effect.all(Array.from({ length: 3 }, () => httpServer(() => ({ status: 503 }))))
      const { http } = yield* world([payments(servers)])
      const callers = 100
      const began = performance.now()
      const retrying = HttpClient.retryTransient(http, { times: 3 })
      yield* Effect.all(
        Array.from({ length: callers }, () => retrying.get("http://payments.shop.aio/")),
        { concurrency: 16 }
      )
      // Ten retries a second, counted over ten seconds.
      const floor = 10 * (10 + (performance.now() - began) / 1_000)
      assert.isAtLeast(sum(countOf(servers)), 4 * callers)
      assert.isAtMost(sum(countOf(servers)), 4 * callers * 1.2 + floor)
    })
  )

  it.scopedLive("that never answers is given up after the timeout of an attempt", () =>
    Effect.gen(function* () {
      const silent = yield* httpServer(() => undefined)
      const { http } = yield* world([payments([silent])], { client: { timeout: "100 millis" } })
      const { tags } = yield* failureOf(http.get("http://payments.shop.aio/"))
      assert.include(tags, "Transport")
      assert.include(tags, "AioRpcError")
    })
  )
})

describe("without an instance", () => {
  it.scopedLive("a call fails with a typed error, and does not hang", () =>
    Effect.gen(function* () {
      const grpcOnly = anInstance("a", { endpoint: "10.0.0.1:90", grpcPort: 90 })
      const { http } = yield* world([service("payments", [grpcOnly]), service("empty", [])])
      for (const name of ["payments", "empty"]) {
        const { tags } = yield* failureOf(http.get(`http://${name}.shop.aio/`))
        assert.include(tags, "Transport")
        assert.include(tags, "AioNoInstances")
      }
    })
  )

  it.scopedLive("nor does it where the registry is away at the start", () =>
    Effect.gen(function* () {
      const { http, registry } = yield* world([])
      registry.fails(unavailable)
      const { tags } = yield* failureOf(http.get("http://payments.shop.aio/"))
      assert.include(tags, "Transport")
      assert.include(tags, "AioRpcError")
    })
  )
})

describe("options", () => {
  it.scoped("that make no sense are named", () =>
    Effect.gen(function* () {
      const registry = scriptedRegistry()
      const found = Layer.provide(DiscoveryCached.layer({ env: "test" }), registry.layer)
      const fieldOf = (options: AioHttpClient.Options) =>
        Effect.map(
          failureOf(
            Effect.scoped(
              Layer.build(Layer.provide(AioHttpClient.layer(options), Layer.merge(found, FetchHttpClient.layer)))
            )
          ),
          ({ message }) => message.split(" ")[0]
        )
      for (const suffix of ["", ".aio", "aio.", "AIO", "a b", "a/b", "aio:80", "aio.1"])
        assert.strictEqual(yield* fieldOf({ suffix }), "suffix", suffix)
      assert.strictEqual(yield* fieldOf({ attempts: 0 }), "attempts")
      assert.strictEqual(yield* fieldOf({ timeout: "2 days" }), "timeout")
    })
  )
})
