import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Cause, Effect, Either, Exit, Layer, LogLevel, Option, Redacted, Stream } from "effect"
import * as AuthorizedCall from "../../../src/grpc/client/AuthorizedCall.js"
import * as Connection from "../../../src/grpc/client/Connection.js"
import * as Methods from "../../../src/grpc/Methods.js"
import * as AuthClient from "../../../src/layers/AuthClient.js"
import * as RegistryGrpc from "../../../src/layers/RegistryGrpc.js"
import { ServiceId } from "../../../src/schemas/Ids.js"
import { Auth } from "../../../src/services/Auth.js"
import { Registry } from "../../../src/services/Registry.js"
import { hear } from "../../support/logs.js"
import { all as allMetrics } from "../../support/metrics.js"
import { collectSpans } from "../../support/spans.js"
import { expectNothingUncaught } from "../../support/uncaught.js"
import { grpcServer, type Handlers, type Reply, type UnaryCall } from "../../support/wireServers.js"

expectNothingUncaught()

const clientKey = "ck-hidden-5309"
const secret = "cs-hidden-8675"
const token = "tkn-hidden-4711"
const hidden = [clientKey, secret, token]

const responseBytes = (path: string, message: object): Buffer => {
  const [, service = "", method = ""] = path.split("/")
  return Methods.serviceDefinition(service)[method]?.responseSerialize(message) ?? assert.fail(path)
}

const { auth, registry } = Methods
const answer = (path: string, message: object) => (_: UnaryCall, reply: Reply) =>
  reply(null, responseBytes(path, message))
const fails =
  (code: number, quoted: ReadonlyArray<string> = [token]) =>
  (_: UnaryCall, reply: Reply) =>
    reply({ code, details: `Err: no ${quoted.join(" ")}\n  trace ${quoted.join(" ")}` })
const inAnHour = () => String(Math.floor(Date.now() / 1_000) + 3_600)

const service = { id: "1", project: "shop", name: "orders", spec_json: "{" }
const instance = { id: "1", service_id: "1", instance_key: "", meta_json: "{" }

const wellBehaved = (): { readonly handlers: Required<Handlers>; readonly received: Array<string> } => {
  const received: Array<string> = []
  const authenticated = (handler: (call: UnaryCall, reply: Reply) => void) => (call: UnaryCall, reply: Reply) => {
    received.push(call.request.toString(), String(call.metadata.get("authorization")))
    handler(call, reply)
  }
  const tokenAnswer = { access_token: token, expires_at: inAnHour(), token_type: "Bearer" }
  const { authenticateClient, renewToken } = auth
  const { deregisterInstance, ensureService, getServiceByID, heartbeatStream, listServices, registerInstance } =
    registry
  return {
    received,
    handlers: {
      unary: {
        [authenticateClient.path]: authenticated(answer(authenticateClient.path, tokenAnswer)),
        [renewToken.path]: authenticated(answer(renewToken.path, tokenAnswer)),
        [listServices.path]: authenticated(
          answer(listServices.path, { services: [{ service, instances: [instance] }], total: 1 })
        ),
        [ensureService.path]: authenticated(fails(3)),
        [getServiceByID.path]: authenticated((_, reply) => reply(null, Buffer.from([0xff]))),
        [registerInstance.path]: authenticated(fails(5)),
        [deregisterInstance.path]: authenticated(answer(deregisterInstance.path, { success: true }))
      },
      bidi: {
        [heartbeatStream.path]: (call) => {
          received.push(String(call.metadata.get("authorization")))
          call.once("data", () => {
            call.write(responseBytes(heartbeatStream.path, { expires_at: "1" }))
            call.emit("error", { code: 13, details: `enough of ${token}` })
          })
        }
      }
    }
  }
}

const everyCall = Effect.gen(function* () {
  const client = yield* Registry
  const { invalidate, token: acquire } = yield* Auth
  const id = ServiceId.make("1")
  const key = { serviceId: id, instanceKey: "k" }
  const outcomes: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
    yield* Effect.exit(client.listServices()),
    yield* Effect.exit(client.deregisterInstance(key)),
    yield* Effect.exit(client.ensureService({ project: "shop", name: "orders" })),
    yield* Effect.exit(client.getService(id)),
    yield* Effect.exit(
      client.registerInstance({ serviceId: id, instanceKey: "k", env: "dev", host: "h", httpPort: 1 })
    ),
    yield* Effect.exit(Stream.runDrain(client.heartbeats(Stream.make(key)))),
    yield* Effect.exit(client.ensureService({ project: "", name: "" })),
    yield* Effect.exit(Effect.flatMap(acquire, invalidate)),
    yield* Effect.exit(Effect.map(acquire, (held) => held))
  ]
  return outcomes
})

/** Runs every call against a server, and gives all that is visible of it. */
const everythingVisible = (handlers: Handlers) =>
  Effect.gen(function* () {
    const server = yield* grpcServer(handlers)
    const seen: Array<unknown> = []
    const log = hear(({ annotations, cause, messages }) => {
      seen.push(["log", messages, Cause.pretty(cause), annotations])
    }, LogLevel.All)
    const { spans, tracer } = collectSpans()
    const client = RegistryGrpc.layer().pipe(
      Layer.provideMerge(AuthClient.layer({ clientKey, clientSecret: Redacted.make(secret) })),
      Layer.provideMerge(Connection.layer({ address: server.address }))
    )
    const outcomes = yield* everyCall.pipe(
      Effect.withSpan("everything"),
      Effect.provide(client),
      Effect.withTracer(tracer),
      Effect.provide(log)
    )
    for (const { attributes, events, exit, name } of spans) seen.push(["span", name, [...attributes], events, exit])
    for (const exit of outcomes) {
      seen.push(["outcome", exit, String(exit), JSON.stringify(exit)])
      if (Exit.isFailure(exit)) {
        seen.push(Cause.pretty(exit.cause, { renderErrorCause: true }))
        for (const error of Option.toArray(Cause.failureOption(exit.cause)))
          seen.push(error, String(error), JSON.stringify(error))
      }
    }
    seen.push(...allMetrics())
    return {
      outcomes,
      text: inspect(seen, { depth: Number.POSITIVE_INFINITY, maxArrayLength: null, showHidden: true })
    }
  })

const tagOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) => {
      const failure = Option.getOrUndefined(Cause.failureOption(cause))
      return typeof failure === "object" && failure !== null && "_tag" in failure ? failure._tag : "no failure"
    }
  })

const holdsNothingHidden = (text: string) => {
  for (const part of hidden) {
    assert.notInclude(text, part)
    assert.notInclude(text, Buffer.from(part).toString("base64").slice(0, -2))
    assert.notInclude(text, Buffer.from(part).toString("hex"))
    assert.notInclude(text, [...Buffer.from(part)].join(", "))
  }
}

describe("key, secret and token", () => {
  it("show in no status that a plain client is given for what was thrown", () => {
    const status = AuthorizedCall.toStatus(Cause.die(new Error(`${secret} is no JSON, nor is ${token}`)))
    assert.deepStrictEqual(status, { code: 14, details: "the call could not be made" })
  })

  it.scopedLive("show in no status of a plain client whose server quotes them", () =>
    Effect.gen(function* () {
      const { path } = registry.listServices
      const server = yield* grpcServer({ unary: { [path]: fails(3) } })
      const held = { value: Redacted.make(token), expiresAt: 0, acquiredAt: 0, generation: 1 }
      const { ours } = yield* AuthorizedCall.interceptors((_, attempt) => attempt(held))
      const client = new grpc.Client(server.address, grpc.credentials.createInsecure())
      const identity = (bytes: Buffer) => bytes
      const error = yield* Effect.async<unknown>((resume) => {
        const options = { interceptors: [ours] }
        client.makeUnaryRequest(path, identity, identity, Buffer.alloc(0), new grpc.Metadata(), options, (failure) =>
          resume(Effect.succeed(failure))
        )
      })
      client.close()
      assert.include(String(error), "Err: no <redacted>")
      assert.notInclude(inspect(error, { depth: 20, showHidden: true }), token)
    })
  )

  it.scopedLive("show in no error of a stream whose token cannot be sent", () =>
    Effect.gen(function* () {
      const connection = yield* Connection.make({ address: "127.0.0.1:1" })
      const opened = connection.bidiCall(
        registry.heartbeatStream,
        Redacted.make(`${token}\n`),
        Stream.never,
        Either.right
      )
      const exit = yield* Effect.exit(Stream.runDrain(opened))
      assert.isTrue(Exit.isFailure(exit))
      assert.notInclude(inspect(exit, { depth: 20, showHidden: true }), token)
    })
  )

  it.scopedLive(
    "reach the server, and no log, span, error or metric of calls that succeed and of calls that fail",
    () =>
      Effect.gen(function* () {
        const { handlers, received } = wellBehaved()
        const { outcomes, text } = yield* everythingVisible(handlers)
        assert.deepStrictEqual(outcomes.map(tagOf), [
          "success",
          "success",
          "AioRpcError",
          "AioWireError",
          "AioRpcError",
          "AioRpcError",
          "AioConfigError",
          "success",
          "success"
        ])
        for (const part of hidden) assert.include(received.join(), part)
        assert.include(text, "xiaozhizhang.registry.v1.RegistryService/ListServices")
        assert.include(text, "left out what did not decode")
        assert.include(text, "rpc.client.call.duration")
        holdsNothingHidden(text)
      })
  )

  const refusals: ReadonlyArray<
    readonly [what: string, handler: (call: UnaryCall, reply: Reply) => void, tag: string]
  > = [
    ["are refused, and quoted", fails(16, [clientKey, secret]), "AioCredentialsRejected"],
    ["cannot be checked, and are quoted", fails(13, [clientKey, secret]), "AioRpcError"],
    ["are answered with bytes that are no protobuf", (_, reply) => reply(null, Buffer.from([0xff])), "AioWireError"],
    [
      "are answered with an expired token",
      answer(auth.authenticateClient.path, { access_token: token, expires_at: "1", token_type: "Bearer" }),
      "AioWireError"
    ],
    [
      "are answered with a token that no header can carry",
      answer(auth.authenticateClient.path, { access_token: `${token}\n`, expires_at: inAnHour(), token_type: "" }),
      "AioWireError"
    ],
    [
      "are answered with an empty token",
      answer(auth.authenticateClient.path, { access_token: "", expires_at: "1", token_type: "Bearer" }),
      "AioWireError"
    ]
  ]

  it.scopedLive.each(refusals)("show nowhere when they %s", ([, handler, tag]) =>
    Effect.gen(function* () {
      const { handlers } = wellBehaved()
      const unary = { ...handlers.unary, [auth.authenticateClient.path]: handler }
      const { outcomes, text } = yield* everythingVisible({ ...handlers, unary })
      assert.strictEqual(outcomes[0] === undefined ? "none" : tagOf(outcomes[0]), tag)
      assert.include(text, "xiaozhizhang.user.v1.ClientAuthService/AuthenticateClient")
      holdsNothingHidden(text)
    })
  )
})
