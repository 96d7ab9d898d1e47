import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Either, Schema } from "effect"
import * as ForeignText from "../../src/internal/foreignText.js"
import * as AioError from "../../src/schemas/AioError.js"

const {
  AioConfigError,
  AioCredentialsRejected,
  AioLeaseStopped,
  AioNoInstances,
  AioRpcError,
  AioServiceNotFound,
  AioWireError
} = AioError

const errors: ReadonlyArray<readonly [tag: AioError.AioError["_tag"], error: AioError.AioError, message: string]> = [
  [
    "AioConfigError",
    new AioConfigError({ field: "address", problem: "is empty", expected: "host:port" }),
    "address is empty; expected host:port"
  ],
  [
    "AioCredentialsRejected",
    new AioCredentialsRejected({ code: 16, details: "客户端凭证无效" }),
    "the registry refused the client key or secret (UNAUTHENTICATED: 客户端凭证无效); check both, and that the client is enabled"
  ],
  [
    "AioRpcError",
    new AioRpcError({ method: "RegistryService/ListServices", code: 14, details: "No connection established" }),
    "RegistryService/ListServices: UNAVAILABLE: No connection established"
  ],
  [
    "AioWireError",
    new AioWireError({
      protoMessage: "Instance",
      field: "meta_json",
      actual: '"{"',
      problem: "expected a JSON object"
    }),
    'Instance.meta_json: expected a JSON object (got "{")'
  ],
  [
    "AioServiceNotFound",
    new AioServiceNotFound({ project: "shop", serviceName: "orders", env: "dev" }),
    "the registry knows no service shop/orders"
  ],
  [
    "AioNoInstances",
    new AioNoInstances({ project: "shop", serviceName: "orders", env: "dev" }),
    "shop/orders has no instance in env dev"
  ],
  [
    "AioLeaseStopped",
    new AioLeaseStopped({
      project: "shop",
      serviceName: "orders",
      instanceKey: "orders-1",
      reason: "its scope closed"
    }),
    "the lease of shop/orders under key orders-1 is stopped: its scope closed"
  ]
]

describe("the family of errors", () => {
  it.each(errors)("%s says what happened in one line", (tag, error, message) => {
    assert.strictEqual(error._tag, tag)
    assert.strictEqual(error.message, message)
    assert.notMatch(error.message, /\n/)
    assert.include(String(error), message)
    assert.include(Cause.pretty(Cause.fail(error)), message)
    assert.instanceOf(error, Error)
  })

  it.each(errors)("%s says it in one line, whatever its fields hold", (_, error) => {
    const sent: unknown = JSON.parse(
      JSON.stringify(Schema.encodeSync(AioError.AioError)(error), (key, value: unknown) =>
        typeof value === "string" && key !== "_tag" ? "a\n\u001b[31m\u2028\u202eb" : value
      )
    )
    const { message } = Schema.decodeUnknownSync(AioError.AioError)(sent)
    assert.include(message, "a\\u000a\\u001b[31m\\u2028\\u202eb")
    assert.strictEqual(ForeignText.shown(message), message)
  })

  it.each(errors)("%s carries the mark of the family", (_, error) => {
    assert.strictEqual(AioError.TypeId, "~effect-aio/AioError")
    assert.strictEqual(error[AioError.TypeId], AioError.TypeId)
    assert.isTrue(AioError.isAioError(error))
  })

  it.each(errors)("%s comes back from a wire as it was", (_, error) => {
    const sent: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(AioError.AioError)(error)))
    const received = Schema.decodeUnknownSync(AioError.AioError)(sent)
    assert.strictEqual(received._tag, error._tag)
    assert.strictEqual(received.message, error.message)
    assert.strictEqual(received.constructor, error.constructor)
    assert.isTrue(AioError.isAioError(received))
    assert.deepStrictEqual(Schema.encodeSync(AioError.AioError)(received), sent)
  })

  it("has a member of each tag in its schema", () => {
    assert.deepStrictEqual(
      AioError.AioError.members.map(({ identifier }) => identifier.replace("effect-aio/", "")).sort(),
      errors.map(([tag]) => tag).sort()
    )
  })

  it("keeps a cause on its way through the schema", () => {
    const error = new AioRpcError({ method: "m", code: 1, details: "d", cause: new Error("the reason") })
    const sent: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(AioError.AioError)(error)))
    const received = Schema.decodeUnknownSync(AioRpcError)(sent)
    assert.instanceOf(received.cause, Error)
    assert.include(String(received.cause), "the reason")
  })

  it.effect("can be caught by tag, and by the family's guard from among others", () =>
    Effect.gen(function* () {
      const notFound = new AioServiceNotFound({ project: "shop", serviceName: "orders", env: "dev" })
      const failing: Effect.Effect<never, AioError.AioError> = Effect.fail(notFound)
      assert.strictEqual(yield* Effect.catchTag(failing, "AioServiceNotFound", Effect.succeed), notFound)
      const amongOthers: Effect.Effect<never, AioError.AioError | "another"> = failing
      assert.strictEqual(yield* Effect.catchIf(amongOthers, AioError.isAioError, Effect.succeed), notFound)
    })
  )
})

describe("what is no error of the family", () => {
  it.each([[new Error("x")], ["AioRpcError"], [{ _tag: "AioRpcError", code: 14 }], [null], [undefined], [14]])(
    "%s is not taken for one",
    (value) => {
      assert.isFalse(AioError.isAioError(value))
      assert.isFalse(AioError.isNotFound(value))
      assert.isFalse(AioError.isUnauthenticated(value))
      assert.isFalse(AioError.isUnavailable(value))
    }
  )

  it("an error of another copy of the package is one", () => {
    const foreign = Object.assign(new Error("x"), { _tag: "AioRpcError", [AioError.TypeId]: AioError.TypeId, code: 14 })
    assert.isTrue(AioError.isAioError(foreign))
    assert.isTrue(AioError.isUnavailable(foreign))
  })
})

describe("the predicates", () => {
  const rpc = (code: number) => new AioRpcError({ method: "m", code, details: "" })
  const predicates = {
    isNotFound: AioError.isNotFound,
    isUnauthenticated: AioError.isUnauthenticated,
    isUnavailable: AioError.isUnavailable
  }
  const holding = (value: unknown) =>
    Object.entries(predicates).flatMap(([name, predicate]) => (predicate(value) ? [name] : []))

  it.each(Array.from({ length: 17 }, (_, code) => [code]))(
    "hold for an rpc error of code %d where it has that meaning",
    (code) => {
      const expected: Record<number, string> = { 5: "isNotFound", 14: "isUnavailable", 16: "isUnauthenticated" }
      assert.deepStrictEqual(holding(rpc(code)), expected[code] === undefined ? [] : [expected[code]])
      assert.strictEqual(rpc(code).isRetryable, code === 14)
    }
  )

  it("hold for the other members where they have that meaning", () => {
    assert.deepStrictEqual(
      errors.filter(([tag]) => tag !== "AioRpcError").map(([tag, error]) => [tag, holding(error)]),
      [
        ["AioConfigError", []],
        ["AioCredentialsRejected", ["isUnauthenticated"]],
        ["AioWireError", []],
        ["AioServiceNotFound", ["isNotFound"]],
        ["AioNoInstances", []],
        ["AioLeaseStopped", []]
      ]
    )
    assert.deepStrictEqual(holding(new AioCredentialsRejected({ code: 7, details: "" })), ["isUnauthenticated"])
  })
})

describe("constructing an error", () => {
  it.each([17, 42, -1, 4_294_967_295])("does not throw for the code %d, which no specification knows", (code) => {
    const error = new AioRpcError({ method: "m", code, details: "odd" })
    assert.strictEqual(error.message, `m: CODE(${code}): odd`)
    assert.isFalse(error.isRetryable)
    assert.include(new AioCredentialsRejected({ code, details: "odd" }).message, `CODE(${code})`)
  })

  it("does not throw for empty texts, nor for any cause", () => {
    const cycle: Record<string, unknown> = {}
    cycle.itself = cycle
    for (const cause of [undefined, null, 1n, Symbol("s"), cycle, Object.create(null), () => {}]) {
      assert.isTrue(Either.isRight(Either.try(() => new AioRpcError({ method: "", code: 0, details: "", cause }))))
      assert.isTrue(
        Either.isRight(
          Either.try(() => new AioWireError({ protoMessage: "", field: "", actual: "", problem: "", cause }))
        )
      )
    }
  })
})
