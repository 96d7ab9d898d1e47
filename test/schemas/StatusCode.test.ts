import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import * as StatusCode from "../../src/schemas/StatusCode.js"

const yes = true
const no = false

// What each code means to this library. A new predicate gets a column here.
const table: ReadonlyArray<
  readonly [
    name: keyof typeof StatusCode.StatusCode,
    isRetryable: boolean,
    countsAgainstInstance: boolean,
    dropsToken: boolean,
    endsRenewal: boolean,
    isHopeless: boolean
  ]
> = [
  // name                retryable counts drops ends  hopeless
  ["OK", no, no, no, no, no],
  ["CANCELLED", no, no, no, no, no],
  ["UNKNOWN", no, yes, no, no, no],
  ["INVALID_ARGUMENT", no, no, no, no, yes],
  ["DEADLINE_EXCEEDED", no, yes, no, no, no],
  ["NOT_FOUND", no, no, no, yes, no],
  ["ALREADY_EXISTS", no, no, no, no, no],
  ["PERMISSION_DENIED", no, no, no, yes, yes],
  ["RESOURCE_EXHAUSTED", no, no, no, no, no],
  ["FAILED_PRECONDITION", no, no, no, no, yes],
  ["ABORTED", no, no, no, no, no],
  ["OUT_OF_RANGE", no, no, no, no, yes],
  ["UNIMPLEMENTED", no, no, no, no, yes],
  ["INTERNAL", no, yes, no, no, no],
  ["UNAVAILABLE", yes, yes, no, no, no],
  ["DATA_LOSS", no, yes, no, no, no],
  ["UNAUTHENTICATED", no, no, yes, yes, no]
]

describe("status codes", () => {
  it.each(table.map((row, code) => [code, row[0], row] as const))(
    "%d is %s, and means what the table says",
    (code, name, [, isRetryable, countsAgainstInstance, dropsToken, endsRenewal, isHopeless]) => {
      assert.strictEqual(StatusCode.StatusCode[name], code)
      assert.strictEqual(StatusCode.name(code), name)
      assert.deepStrictEqual(
        {
          isRetryable: StatusCode.isRetryable(code),
          countsAgainstInstance: StatusCode.countsAgainstInstance(code),
          dropsToken: StatusCode.dropsToken(code),
          endsRenewal: StatusCode.endsRenewal(code),
          isHopeless: StatusCode.isPermanent(code)
        },
        { isRetryable, countsAgainstInstance, dropsToken, endsRenewal, isHopeless }
      )
    }
  )

  it("are the seventeen that gRPC knows", () => {
    assert.strictEqual(table.length, 17)
    const known = Object.entries(status).filter(([, code]) => typeof code === "number")
    assert.deepStrictEqual(Object.fromEntries(known), { ...StatusCode.StatusCode })
  })

  it.each([17, 42, -1, 1.5, Number.NaN])("%d is none, has a name all the same, and means nothing", (code) => {
    assert.strictEqual(StatusCode.name(code), `CODE(${code})`)
    const { countsAgainstInstance, dropsToken, endsRenewal, isPermanent, isRetryable } = StatusCode
    for (const predicate of [countsAgainstInstance, dropsToken, endsRenewal, isPermanent, isRetryable]) {
      assert.isFalse(predicate(code))
    }
  })

  it("have as many predicates as the table has columns", () => {
    const predicates = Object.values(StatusCode).filter(
      (value) => typeof value === "function" && value !== StatusCode.name
    )
    assert.strictEqual(predicates.length, (table[0]?.length ?? 0) - 1)
  })
})
