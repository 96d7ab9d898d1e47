import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import {
  Clock,
  Config,
  ConfigProvider,
  Effect,
  Exit,
  Fiber,
  Inspectable,
  Layer,
  Logger,
  Metric,
  Option,
  Random,
  Redacted,
  Schedule,
  Scope,
  Stream,
  TestClock
} from "effect"
import { AioConfigError, AioRpcError, type Auth, AuthClient, Credentials, Metrics, StatusCode } from "effect-aio"
import { Connection } from "../../src/grpc/client/Connection.js"
import * as Methods from "../../src/grpc/Methods.js"
import * as Fibers from "../../src/internal/fibers.js"
import * as TokenPort from "../../src/layers/auth/TokenPort.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as Clocks from "../support/clocks.js"
import * as ManualClock from "../support/manualClock.js"
import { read as readMetric } from "../support/metrics.js"
import { collectSpans } from "../support/spans.js"

const { DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, UNAVAILABLE } =
  StatusCode.StatusCode

const SECRET = "cs_very_secret"

interface Asked {
  readonly method: "AuthenticateClient" | "RenewToken"
  readonly token: string | undefined
  readonly at: number
}

const base64Url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** As the real server makes them, but for the signature. Issued by a clock that is `skew` seconds ahead. */
const jwt = (now: number, lifetimeSeconds: number, skew = 0) => {
  const iat = Math.floor(now / 1_000) + skew
  const exp = iat + lifetimeSeconds
  return {
    access_token: `${base64Url({ alg: "HS256", typ: "JWT" })}.${base64Url({ iat, nbf: iat, exp })}.sig`,
    expires_at: String(exp),
    token_type: "Bearer"
  }
}

/** Never dialled: a channel connects with its first call. */
const unusedChannel = new grpc.Channel("dns:127.0.0.1:1", grpc.credentials.createInsecure(), {})

/** A server behind `Connection` that issues tokens of an hour, until it is told otherwise. */
const makeServer = () => {
  const asked: Array<Asked> = []
  const server = {
    asked,
    lifetimeSeconds: 3_600,
    skewSeconds: 0,
    delay: "0 millis" as "0 millis" | "3 seconds" | "5 seconds" | "45 seconds" | "1 hour",
    authenticate: undefined as AioRpcError | undefined,
    renew: undefined as AioRpcError | "hangs" | undefined,
    answer: undefined as Messages.AuthenticateClientResponse | undefined,
    defect: false,
    count: (method: Asked["method"]) => asked.filter((one) => one.method === method).length
  }
  const connection: Connection.Service = {
    deadlineMillis: 30_000,
    addresses: 1,
    reconnects: Stream.never,
    localHost: Effect.dieMessage("not scripted"),
    channel: unusedChannel,
    unary: (method, _request, options) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const name = method.path.endsWith("RenewToken") ? "RenewToken" : "AuthenticateClient"
        asked.push({
          method: name,
          token: options.token === undefined ? undefined : Redacted.value(options.token),
          at: now
        })
        if (server.delay !== "0 millis") yield* Effect.sleep(server.delay)
        if (server.defect) return yield* Effect.dieMessage("a bug")
        const error = name === "RenewToken" ? server.renew : server.authenticate
        if (error === "hangs") return yield* Effect.never
        if (error !== undefined) return yield* error
        const issuedAt = yield* Clock.currentTimeMillis
        const response = server.answer ?? jwt(issuedAt, server.lifetimeSeconds, server.skewSeconds)
        return method.deserialize(encode(response))
      }),
    bidiCall: () => Stream.die("not used here")
  }
  return { server, layer: Layer.succeed(Connection, connection) }
}

const definition = Methods.serviceDefinition(Methods.serviceNames.auth).AuthenticateClient
const encode = (response: Messages.AuthenticateClientResponse): Buffer => {
  if (definition === undefined) throw new Error("no AuthenticateClient")
  return definition.responseSerialize(response)
}

const rpcError = (code: number, method = "ClientAuthService/RenewToken") =>
  new AioRpcError({ method, code, details: "scripted" })

const test = (
  sentence: string,
  body: (
    server: ReturnType<typeof makeServer>["server"],
    auth: Auth.Service,
    scope: Scope.CloseableScope,
    another: Effect.Effect<Auth.Service, AioConfigError>
  ) => Effect.Effect<void, unknown>,
  options: Partial<AuthClient.Options> = {}
) =>
  it.effect(sentence, () =>
    Effect.gen(function* () {
      const { layer, server } = makeServer()
      const scope = yield* Scope.make()
      const another = AuthClient.make({ clientKey: "ck", clientSecret: Redacted.make(SECRET), ...options }).pipe(
        Scope.extend(scope),
        Effect.provide(layer)
      )
      yield* body(server, yield* another, scope, another)
      yield* Scope.close(scope, Exit.void)
    }).pipe(
      Effect.withRandom(Random.make("auth")),
      Effect.withClock(ManualClock.make().clock),
      Effect.provide(Logger.remove(Logger.defaultLogger))
    )
  )

/** A wall clock that is set as told, over a monotonic one that is TestClock's. */
const withWallClock =
  (wall: (monotonicMillis: number) => number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.clockWith((clock) => {
      const parts = Clocks.partsOf(clock)
      return Effect.withClock(effect, Clocks.make({ ...parts, millis: () => wall(parts.millis()) }))
    })

const spin = (steps: number): Effect.Effect<void> =>
  steps === 0 ? Effect.void : Effect.flatMap(Effect.void, () => spin(steps - 1))

const tokenAfter = <A, E>(effect: Effect.Effect<A, E>, millis: number) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(Effect.exit(effect))
    yield* TestClock.adjust(millis)
    return yield* Fiber.join(fiber)
  })

describe("AuthClient", () => {
  test("rule 1: asks for nothing until a token is wanted, then authenticates once and keeps the token", (server, auth) =>
    Effect.gen(function* () {
      assert.lengthOf(server.asked, 0)
      const first = yield* auth.token
      const second = yield* auth.token
      assert.strictEqual(first, second)
      assert.deepStrictEqual(
        server.asked.map(({ method }) => method),
        ["AuthenticateClient"]
      )
    }))

  test("rule 6: 10,000 callers at once cause one authentication", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "3 seconds"
      const all = yield* Effect.fork(Effect.replicateEffect(auth.token, 10_000, { concurrency: "unbounded" }))
      yield* TestClock.adjust("3 seconds")
      assert.lengthOf(yield* Fiber.join(all), 10_000)
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 6: a caller that is interrupted, the first one too, disturbs no other", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "3 seconds"
      const first = yield* Effect.fork(auth.token)
      yield* TestClock.adjust("1 second")
      const second = yield* Effect.fork(auth.token)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(second)).generation, 1)
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 6: an interrupted only caller leaves a token behind for the next", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "3 seconds"
      const only = yield* Effect.fork(auth.token)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(only)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* auth.token).generation, 1)
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 2: in the refresh window callers get the present token at once, and one renewal runs", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      // The window is 5 minutes of the hour, less up to a fifth of it.
      yield* TestClock.adjust("56 minutes")
      server.delay = "5 seconds"
      const during = yield* Effect.replicateEffect(auth.token, 1_000, { concurrency: "unbounded" })
      assert.isTrue(during.every((token) => token === first))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* auth.token).generation, 2)
      assert.strictEqual(server.count("RenewToken"), 1)
      assert.strictEqual(server.asked[1]?.token, Redacted.value(first.value))
    }))

  test("rule 2: outside the refresh window nothing is renewed", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      yield* TestClock.adjust("54 minutes")
      yield* auth.token
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 2: a token of 60 seconds is not renewed on every call", (server, auth) =>
    Effect.gen(function* () {
      server.lifetimeSeconds = 60
      yield* auth.token
      for (let i = 0; i < 47; i++) {
        yield* TestClock.adjust("1 second")
        yield* auth.token
      }
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 3, scenario 13: every call succeeds while renewal fails for four of the last five minutes", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      yield* TestClock.adjust("55 minutes")
      server.renew = rpcError(UNAVAILABLE)
      for (let i = 0; i < 24; i++) {
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* auth.token).generation, 1)
      }
      assert.isAbove(server.count("RenewToken"), 4)
      // 1, 2, 4, 8, 16 and then 30 seconds at the most: never a storm, never given up.
      assert.isBelow(server.count("RenewToken"), 40)
      server.renew = undefined
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual((yield* auth.token).generation, 2)
      assert.strictEqual(server.count("AuthenticateClient"), 1)
    }))

  test(
    "rule 3: renewals that fail are tried again by the schedule of the app, which begins again with the next token",
    (server, auth) =>
      Effect.gen(function* () {
        for (const generation of [1, 2]) {
          yield* auth.token
          yield* TestClock.adjust("56 minutes")
          const before = server.count("RenewToken")
          server.renew = rpcError(UNAVAILABLE)
          assert.strictEqual((yield* auth.token).generation, generation)
          // At once, then after 10, 20 and 40 seconds.
          for (const [seconds, renewals] of [
            [9, 1],
            [2, 2],
            [18, 2],
            [2, 3],
            [38, 3],
            [2, 4]
          ] as const) {
            yield* TestClock.adjust(`${seconds} seconds`)
            assert.strictEqual(server.count("RenewToken") - before, renewals)
          }
          server.renew = undefined
          yield* TestClock.adjust("80 seconds")
        }
      }),
    { tuning: { token: { retry: Schedule.exponential("10 seconds") } } }
  )

  test("rule 2: in the last ten seconds callers wait for the renewal", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      yield* TestClock.adjust("3591 seconds")
      server.delay = "3 seconds"
      const exit = yield* tokenAfter(auth.token, 3_000)
      assert.strictEqual(Exit.isSuccess(exit) && exit.value.generation, 2)
    }))

  test("rule 3: in the last ten seconds too a renewal that fails fails no caller, and the token is used to its end", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      server.renew = rpcError(UNAVAILABLE)
      server.authenticate = rpcError(UNAVAILABLE)
      yield* TestClock.adjust("3591 seconds")
      for (let second = 3_591; second < 3_600; second++) {
        assert.strictEqual((yield* auth.token).generation, 1)
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
    }))

  test("rule 3: a token that was refused is not given again because another one is not to be had", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      server.authenticate = rpcError(UNAVAILABLE)
      yield* TestClock.adjust("10 seconds")
      yield* auth.invalidate(first)
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
    }))

  test("tells how many seconds the token has left, within half a minute", (_server, auth) =>
    Effect.gen(function* () {
      const left = Effect.map(Metric.value(Metrics.tokenTimeLeft), ({ value }) => value)
      yield* auth.token
      assert.strictEqual(yield* left, 3_600)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* left, 3_000)
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* left, 0)
    }))

  test(
    "takes other numbers than the default ones",
    (server, auth) =>
      Effect.gen(function* () {
        yield* auth.token
        yield* TestClock.adjust("29 minutes")
        yield* auth.token
        assert.strictEqual(server.count("RenewToken"), 0)
        yield* TestClock.adjust("2 minutes")
        const present = yield* auth.token
        assert.strictEqual(TokenPort.of(auth).unsafeSecondTry(present), 2_000)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(server.count("RenewToken"), 1)
        yield* TestClock.adjust("1 hour")
        server.authenticate = rpcError(UNAUTHENTICATED)
        const rejected = Effect.zipRight(Effect.flip(auth.token), TestClock.adjust("4 seconds"))
        const before = server.asked.length
        yield* rejected
        yield* rejected
        assert.strictEqual(server.asked.length, before + 1)
        yield* TestClock.adjust("2 seconds")
        yield* rejected
        assert.strictEqual(server.asked.length, before + 2)
      }),
    {
      tuning: {
        token: {
          refreshWindow: "30 minutes",
          refreshWindowFraction: 0.5,
          refreshSpread: 0,
          youngAge: "1 hour",
          youngDelay: "2 seconds",
          rejectionMemory: "10 seconds"
        }
      }
    }
  )

  test("rule 4: an expired token is not renewed but replaced by authenticating", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      yield* TestClock.adjust("2 hours")
      assert.strictEqual((yield* auth.token).generation, 2)
      assert.strictEqual(server.count("RenewToken"), 0)
      assert.strictEqual(server.count("AuthenticateClient"), 2)
    }))

  for (const code of [UNAUTHENTICATED, PERMISSION_DENIED, NOT_FOUND]) {
    test(`rule 4: a renewal answered ${StatusCode.name(code)} leads to authenticating afresh`, (server, auth) =>
      Effect.gen(function* () {
        yield* auth.token
        server.renew = rpcError(code)
        yield* TestClock.adjust("3595 seconds")
        assert.strictEqual((yield* auth.token).generation, 2)
        assert.strictEqual(server.count("AuthenticateClient"), 2)
      }))
  }

  for (const code of [UNAVAILABLE, INTERNAL]) {
    test(`rule 4: a renewal answered ${StatusCode.name(code)} never costs the server a password hash`, (server, auth) =>
      Effect.gen(function* () {
        yield* auth.token
        server.renew = rpcError(code)
        yield* TestClock.adjust("3595 seconds")
        assert.strictEqual((yield* auth.token).generation, 1)
        assert.isAbove(server.count("RenewToken"), 0)
        assert.strictEqual(server.count("AuthenticateClient"), 1)
      }))
  }

  test("rule 5: refused credentials are a typed error, the same for all callers of that second", (server, auth) =>
    Effect.gen(function* () {
      server.authenticate = rpcError(UNAUTHENTICATED, "ClientAuthService/AuthenticateClient")
      const errors = yield* Effect.replicateEffect(Effect.flip(auth.token), 100, { concurrency: "unbounded" })
      assert.isTrue(errors.every(({ _tag }) => _tag === "AioCredentialsRejected"))
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 6: a failure is forgotten after a second, and so is a defect", (server, auth) =>
    Effect.gen(function* () {
      server.authenticate = rpcError(UNAVAILABLE)
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
      assert.lengthOf(server.asked, 1)
      yield* TestClock.adjust("1 second")
      server.authenticate = undefined
      server.defect = true
      assert.isTrue(Exit.isFailure(yield* Effect.exit(auth.token)))
      yield* TestClock.adjust("1 second")
      server.defect = false
      assert.strictEqual((yield* auth.token).generation, 1)
    }))

  test("rule 8: an invalidated token is replaced, and one that was replaced already stays", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      yield* TestClock.adjust("5 seconds")
      yield* auth.invalidate(first)
      const second = yield* auth.token
      assert.strictEqual(second.generation, 2)
      yield* auth.invalidate(first)
      assert.strictEqual(yield* auth.token, second)
      assert.strictEqual(server.count("RenewToken"), 0)
    }))

  test("rule 8: a token that is refused within its first second is not given again", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      yield* auth.invalidate(first)
      const exit = yield* tokenAfter(auth.token, 1_000)
      assert.strictEqual(Exit.isSuccess(exit) && exit.value.generation, 2)
      assert.lengthOf(server.asked, 2)
    }))

  for (const skewSeconds of [-86_400, -600, 600, 86_400]) {
    test(`rule 7: clocks ${skewSeconds} seconds apart do not matter to a JWT: its life is its length`, (server, auth) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("10 days")
        server.skewSeconds = skewSeconds
        yield* auth.token
        yield* TestClock.adjust("50 minutes")
        yield* auth.token
        assert.lengthOf(server.asked, 1)
        yield* TestClock.adjust("11 minutes")
        yield* auth.token
        assert.lengthOf(server.asked, 2)
      }))
  }

  test("rule 7: the life of a token counts from when it was asked for", (server, auth) =>
    Effect.gen(function* () {
      server.lifetimeSeconds = 60
      server.delay = "5 seconds"
      // Issued after five seconds, and so told to live until 65: to be sure it is trusted until 60 less its grace of 3.
      yield* tokenAfter(auth.token, 5_000)
      yield* TestClock.adjust("53 seconds")
      const exit = yield* tokenAfter(auth.token, 5_000)
      assert.strictEqual(Exit.isSuccess(exit) && exit.value.generation, 2)
    }))

  test("rule 7: a token that is no JWT lives until its expires_at", (server, auth) =>
    Effect.gen(function* () {
      server.answer = { access_token: "opaque", expires_at: "3600", token_type: "Bearer" }
      yield* auth.token
      yield* TestClock.adjust("54 minutes")
      yield* auth.token
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 7: so does a JWT that does not say when it expires", (server, auth) =>
    Effect.gen(function* () {
      const { access_token } = jwt(0, 3_600)
      const [header] = access_token.split(".")
      server.answer = {
        access_token: `${header}.${base64Url({ iat: 0 })}.sig`,
        expires_at: "3600",
        token_type: "Bearer"
      }
      yield* auth.token
      yield* TestClock.adjust("54 minutes")
      yield* auth.token
      assert.lengthOf(server.asked, 1)
      server.answer = undefined
      yield* TestClock.adjust("7 minutes")
      yield* auth.token
      assert.isAbove(server.asked.length, 1)
    }))

  test("rule 7: an expires_at in milliseconds is a typed error that says so, and the token is not used", (server, auth) =>
    Effect.gen(function* () {
      server.answer = { access_token: "opaque-token", expires_at: "1795447616000", token_type: "Bearer" }
      const error = yield* Effect.flip(auth.token)
      assert.strictEqual(error._tag, "AioWireError")
      assert.match(error.message, /expires_at: .*look like milliseconds \(got 1795447616000\)$/)
      assert.isUndefined(TokenPort.of(auth).unsafeFresh())
    }))

  test("rule 7: the skew of the clocks is a gauge", (server, auth) =>
    Effect.gen(function* () {
      server.skewSeconds = 600
      yield* auth.token
      assert.strictEqual((yield* Metric.value(Metrics.clockSkew)).value, 600)
    }))

  test("rule 7: two tokens that are equal to the byte are told apart", (server, auth) =>
    Effect.gen(function* () {
      server.answer = { access_token: "opaque", expires_at: "3600", token_type: "Bearer" }
      const first = yield* auth.token
      yield* TestClock.adjust("10 seconds")
      yield* auth.invalidate(first)
      const second = yield* auth.token
      assert.strictEqual(Redacted.value(second.value), Redacted.value(first.value))
      assert.notStrictEqual(second.generation, first.generation)
      yield* auth.invalidate(first)
      assert.strictEqual(yield* auth.token, second)
      assert.lengthOf(server.asked, 2)
    }))

  test("rule 2: who waits for a token is bound by its own deadline alone, and the others go on waiting", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "5 seconds"
      const short = yield* Effect.fork(Effect.timeoutOption(auth.token, "1 second"))
      const long = yield* Effect.fork(Effect.timeoutOption(auth.token, "6 seconds"))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Option.isNone(yield* Fiber.join(short)))
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.join(long)))
      assert.lengthOf(server.asked, 1)
    }))

  test("rule 9: a fresh token costs no rpc, no span and no wait", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      const { spans, tracer } = collectSpans()
      const asked = Effect.replicateEffect(auth.token, 1_000)
      const again = yield* asked.pipe(Effect.withSpan("all of them"), Effect.withTracer(tracer))
      assert.isTrue(again.every((token) => token === first))
      assert.strictEqual(TokenPort.of(auth).unsafeFresh(), first)
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["all of them"]
      )
      assert.lengthOf(server.asked, 1)
    }))

  test("counts acquisitions by kind and result", (server, auth) =>
    Effect.gen(function* () {
      const count = (kind: string, result: string) =>
        Effect.map(readMetric(Metrics.tokenRefreshes, { kind, result }), ({ count }) => count)
      const counts = Effect.all([
        count("authenticate", "success"),
        count("authenticate", "failure"),
        count("renew", "success"),
        count("renew", "failure")
      ])
      const before = yield* counts
      server.authenticate = rpcError(UNAVAILABLE)
      yield* Effect.flip(auth.token)
      server.authenticate = undefined
      yield* TestClock.adjust("3 seconds")
      yield* auth.token
      server.renew = rpcError(UNAVAILABLE)
      yield* TestClock.adjust("3597 seconds")
      yield* auth.token
      server.renew = undefined
      yield* TestClock.adjust("2 seconds")
      yield* auth.token
      yield* TestClock.adjust("100 millis")
      const after = yield* counts
      assert.deepStrictEqual(
        after.map((one, index) => one - (before[index] ?? 0) > 0),
        [true, true, true, true]
      )
    }))

  for (const expires_at of ["0", "-1", "5"]) {
    test(`an opaque token with expires_at ${expires_at} ten seconds later is a typed error`, (server, auth) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("10 seconds")
        server.answer = { access_token: "opaque-token", expires_at, token_type: "Bearer" }
        const error = yield* Effect.flip(auth.token)
        assert.strictEqual(error._tag, "AioWireError")
        assert.notInclude(Inspectable.toStringUnknown(error), "opaque-token")
      }))
  }

  test("an empty token is a typed error", (server, auth) =>
    Effect.gen(function* () {
      server.answer = { access_token: "", expires_at: "3600", token_type: "Bearer" }
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioWireError")
    }))

  test("rule 6: closing the layer in mid-flight is a typed error, and so is asking afterwards", (server, auth, scope) =>
    Effect.gen(function* () {
      server.delay = "1 hour"
      const waiting = yield* Effect.fork(Effect.flip(auth.token))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "AioRpcError")
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
    }))

  test("rule 5: refused credentials are tried again after 30 seconds, then 60, then 2, 4 and 5 minutes", (server, auth) =>
    Effect.gen(function* () {
      server.authenticate = rpcError(UNAUTHENTICATED)
      for (let i = 0; i < 20 * 60; i += 5) {
        yield* Effect.exit(auth.token)
        yield* TestClock.adjust("5 seconds")
      }
      const attempts = server.asked.map(({ at }) => at / 1_000)
      assert.deepStrictEqual(attempts, [0, 30, 90, 210, 450, 750, 1_050])
    }))

  let secret = "wrong"
  test(
    "rule 5, scenario 12: a secret that was changed is tried at once, without a restart",
    (server, auth) =>
      Effect.gen(function* () {
        server.authenticate = rpcError(UNAUTHENTICATED)
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioCredentialsRejected")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioCredentialsRejected")
        assert.lengthOf(server.asked, 1)
        secret = "right"
        server.authenticate = undefined
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* auth.token).generation, 1)
      }),
    { clientSecret: Effect.sync(() => Redacted.make(secret)) }
  )

  test(
    "credentials that cannot be read are a typed error, and asked for again the next time",
    (server, auth) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioConfigError")
        assert.lengthOf(server.asked, 0)
      }),
    { clientSecret: Credentials.secretFromFile("/nowhere/at/all") }
  )

  test("rule 5, scenario 12: the client that was disabled uses its token to the end, and asks at most once in 30 seconds", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      server.renew = rpcError(PERMISSION_DENIED)
      server.authenticate = rpcError(UNAUTHENTICATED)
      yield* TestClock.adjust("56 minutes")
      for (let i = 0; i < 22; i++) {
        yield* auth.token
        yield* TestClock.adjust("10 seconds")
      }
      const authentications = server.asked.filter(({ method }) => method === "AuthenticateClient").map(({ at }) => at)
      const gaps = authentications.slice(2).map((at, index) => at - (authentications[index + 1] ?? 0))
      assert.isAtLeast(authentications.length, 2)
      assert.isTrue(gaps.every((gap) => gap >= 30_000))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioCredentialsRejected")
    }))

  test("rule 8: a token that is refused again and again is acquired ever more slowly, up to once a minute", (server, auth) =>
    Effect.gen(function* () {
      for (let i = 0; i < 600; i++) {
        const token = yield* Effect.fork(auth.token)
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.poll(token)
        if (Option.isSome(exit) && Exit.isSuccess(exit.value)) yield* auth.invalidate(exit.value.value)
        yield* Fibers.interruptFork(token)
      }
      assert.isBelow(server.asked.length, 60)
      assert.isAbove(server.asked.length, 10)
      const gaps = server.asked.slice(1).map(({ at }, index) => at - (server.asked[index]?.at ?? 0))
      assert.isTrue(gaps.every((gap) => gap >= 1_000))
    }))

  test("rule 8: a token that was accepted ends the slowness", (server, auth) =>
    Effect.gen(function* () {
      for (let i = 0; i < 60; i++) {
        const token = yield* Effect.fork(auth.token)
        yield* TestClock.adjust("1 second")
        const exit = yield* Fiber.poll(token)
        if (Option.isSome(exit) && Exit.isSuccess(exit.value)) yield* auth.invalidate(exit.value.value)
        yield* Fibers.interruptFork(token)
      }
      const slow = yield* tokenAfter(auth.token, 120_000)
      if (Exit.isFailure(slow)) return yield* Effect.dieMessage("no token in two minutes")
      TokenPort.of(auth).unsafeAccepted(slow.value)
      const before = server.asked.length
      yield* auth.invalidate(slow.value)
      yield* tokenAfter(auth.token, 1_000)
      assert.lengthOf(server.asked, before + 1)
    }))

  test("rule 8: an authentication has 30 seconds whatever its callers have, and a late token serves the next caller", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "45 seconds"
      const patient = yield* Effect.fork(Effect.flip(auth.token))
      assert.isTrue(Exit.isFailure(yield* tokenAfter(Effect.timeout(auth.token, "2 seconds"), 2_000)))
      yield* TestClock.adjust("28 seconds")
      const error = yield* Fiber.join(patient)
      assert.strictEqual(error._tag === "AioRpcError" && error.code, DEADLINE_EXCEEDED)
      // Within the pause callers fail at once, and the one that comes after it waits for either of two.
      assert.strictEqual(yield* Effect.flip(auth.token), error)
      const exit = yield* tokenAfter(Effect.delay(auth.token, "5 seconds"), 15_000)
      assert.strictEqual(Exit.isSuccess(exit) && exit.value.generation, 1)
      assert.lengthOf(server.asked, 2)
      // The other one was taken back.
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* auth.token).generation, 1)
    }))

  test("rule 8: a late token is there for the next caller though no other asked meanwhile", (server, auth) =>
    Effect.gen(function* () {
      server.delay = "45 seconds"
      yield* tokenAfter(auth.token, 30_000)
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual((yield* auth.token).generation, 1)
      assert.lengthOf(server.asked, 1)
    }))

  for (const failure of ["hangs", rpcError(INTERNAL)] as const) {
    const how = failure === "hangs" ? "is never answered" : "is answered INTERNAL"
    test(`scenario 51: where each renewal ${how} and authentication works, no call fails at the end of a token`, (server, auth) =>
      Effect.gen(function* () {
        yield* auth.token
        server.renew = failure
        yield* TestClock.adjust("58 minutes")
        for (let second = 58 * 60; second < 61 * 60; second++) {
          const exit = yield* tokenAfter(Effect.timeout(auth.token, "1 second"), 1_000)
          assert.isTrue(Exit.isSuccess(exit), `after ${second} seconds`)
        }
        assert.strictEqual((yield* auth.token).generation, 2)
        assert.strictEqual(server.count("AuthenticateClient"), 2)
      }))
  }

  test("scenario 51: a renewal that fails in the last moment of a token is not the answer for the calls after it", (server, auth) =>
    Effect.gen(function* () {
      yield* auth.token
      server.renew = rpcError(INTERNAL)
      yield* TestClock.adjust("3599700 millis")
      assert.strictEqual((yield* auth.token).generation, 1)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual((yield* auth.token).generation, 2)
      assert.deepStrictEqual([server.count("RenewToken"), server.count("AuthenticateClient")], [1, 2])
    }))

  test("rule 8: a token refused within its second is replaced a second after that was noticed", (server, auth) =>
    Effect.gen(function* () {
      const first = yield* auth.token
      yield* TestClock.adjust("300 millis")
      yield* auth.invalidate(first)
      const second = yield* Effect.fork(auth.token)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(server.count("AuthenticateClient"), 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(second)).generation, 2)
    }))

  test("rule 8: a registry that drowns in authentications is asked ever more rarely, and callers fail at once", (server, auth) =>
    Effect.gen(function* () {
      server.authenticate = rpcError(INTERNAL)
      for (let i = 0; i < 600; i++) {
        assert.strictEqual((yield* Effect.flip(auth.token))._tag, "AioRpcError")
        yield* TestClock.adjust("1 second")
      }
      assert.isBelow(server.asked.length, 60)
      server.authenticate = undefined
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* auth.token).generation, 1)
    }))

  test("rule 8: a registry that cannot be reached is asked each second: a refused connection costs it nothing", (server, auth) =>
    Effect.gen(function* () {
      server.authenticate = new AioRpcError({
        method: "ClientAuthService/AuthenticateClient",
        code: UNAVAILABLE,
        details: "No connection established. Last error: connect ECONNREFUSED"
      })
      for (let i = 0; i < 30; i++) {
        yield* Effect.flip(auth.token)
        yield* TestClock.adjust("1 second")
      }
      assert.lengthOf(server.asked, 30)
    }))

  test("rule 6: an interruption at whatever step of the first caller leaves no caller waiting for ever", (server, _auth, _scope, another) =>
    Effect.gen(function* () {
      server.delay = "3 seconds"
      // Effect lets others run every 2,048 steps of a fiber: whatever lies between two steps can be interrupted there.
      for (let steps = 2_000; steps < 2_060; steps++) {
        const fresh = yield* another
        const first = yield* Effect.fork(Effect.zipRight(spin(steps), fresh.token))
        yield* Effect.yieldNow()
        yield* Fibers.interruptFork(first)
        const exit = yield* tokenAfter(fresh.token, 4_000)
        assert.isTrue(Exit.isSuccess(exit), `after ${steps} steps`)
      }
    }))

  let reads = 0
  test(
    "a source of credentials that hangs costs a deadline, and is asked again",
    (_server, auth) =>
      Effect.gen(function* () {
        const waiting = yield* Effect.fork(Effect.flip(auth.token))
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "AioConfigError")
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* auth.token).generation, 1)
      }),
    { clientSecret: Effect.suspend(() => (reads++ === 0 ? Effect.never : Effect.succeed(Redacted.make(SECRET)))) }
  )

  it.effect(
    "rule 7: a wall clock that is set back by a day does not make the client keep a token that is no good",
    () =>
      Effect.gen(function* () {
        const { layer, server } = makeServer()
        const wall = withWallClock((monotonicMillis) => monotonicMillis + (monotonicMillis < 5_000 ? 86_400_000 : 0))
        const make = AuthClient.make({ clientKey: "ck", clientSecret: Redacted.make(SECRET) })
        const auth = yield* wall(Effect.provide(make, layer))
        const generation = Effect.map(
          tokenAfter(wall(auth.token), 2_000),
          Exit.map((token) => token.generation)
        )
        const first = yield* wall(auth.token)
        yield* TestClock.adjust("10 seconds")
        yield* auth.invalidate(first)
        assert.deepStrictEqual(yield* generation, Exit.succeed(2))
        yield* TestClock.adjust("59 minutes")
        yield* generation
        assert.deepStrictEqual(yield* generation, Exit.succeed(3))
        assert.lengthOf(server.asked, 3)
      }).pipe(
        Effect.scoped,
        Effect.withRandom(Random.make("auth")),
        Effect.provide(Logger.remove(Logger.defaultLogger))
      )
  )

  test(
    "a source of credentials that hangs and cannot be interrupted hangs neither its callers nor the end of the layer",
    (_server, auth, scope) =>
      Effect.gen(function* () {
        const waiting = yield* Effect.fork(Effect.flip(auth.token))
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "AioConfigError")
        yield* TestClock.adjust("1 second")
        const again = yield* Effect.fork(Effect.flip(auth.token))
        yield* TestClock.adjust("1 second")
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(again))._tag, "AioRpcError")
      }),
    { clientSecret: Effect.uninterruptible(Effect.never) }
  )

  test(
    "a source of credentials that throws is a typed error that does not quote what was thrown",
    (_server, auth) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(auth.token)
        const shown = `${exit} ${inspect(exit, { depth: 20, showHidden: true })}`
        assert.notInclude(shown, SECRET)
        const error = yield* Effect.flip(auth.token)
        assert.match(error.message, /^clientSecret threw a SyntaxError/)
      }),
    { clientSecret: Effect.sync(() => Redacted.make(JSON.parse(SECRET))) }
  )

  it.effect("credentials of Config are read as the layer sees it, whichever caller is the first to want a token", () =>
    Effect.gen(function* () {
      const { layer, server } = makeServer()
      const auth = yield* AuthClient.make({
        clientKey: Credentials.fromConfig(Config.string("KEY")),
        clientSecret: Credentials.fromConfig(Config.redacted("SECRET"))
      }).pipe(
        Effect.provide(layer),
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["KEY", "ck"],
              ["SECRET", SECRET]
            ])
          )
        )
      )
      yield* Effect.withConfigProvider(auth.token, ConfigProvider.fromMap(new Map()))
      assert.lengthOf(server.asked, 1)
    }).pipe(Effect.scoped)
  )

  let isReadable = true
  test(
    "rule 4: a renewal needs no credentials, so that a secret that cannot be read now costs nothing",
    (server, auth) =>
      Effect.gen(function* () {
        yield* auth.token
        isReadable = false
        yield* TestClock.adjust("3595 seconds")
        assert.strictEqual((yield* auth.token).generation, 2)
        assert.strictEqual(server.count("RenewToken"), 1)
      }),
    {
      clientSecret: Effect.suspend(() =>
        isReadable
          ? Effect.succeed(Redacted.make(SECRET))
          : Effect.fail(new AioConfigError({ field: "secret", problem: "is gone", expected: "a file" }))
      )
    }
  )

  it.effect("an empty key or secret is refused when the layer is built, naming the field", () =>
    Effect.gen(function* () {
      const { layer } = makeServer()
      const build = (clientKey: string, secret: string) =>
        AuthClient.make({ clientKey, clientSecret: Redacted.make(secret) }).pipe(
          Effect.scoped,
          Effect.provide(layer),
          Effect.flip
        )
      assert.strictEqual((yield* build("", "secret")).field, "clientKey")
      assert.strictEqual((yield* build("key", "")).field, "clientSecret")
    })
  )
})
