import { HttpClientError, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause } from "effect"
import { type Evidence, evidenceOf } from "../../../src/layers/balancing/FailureClassifier.js"
import { AioRpcError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"

const rpcError = (code: number, details = "") => new AioRpcError({ method: "m", code, details })
const wrapped = (cause: unknown) => new Error("it did not work", { cause })
const request = HttpClientRequest.get("http://127.0.0.1:1")
const httpStatus = (status: number) =>
  new HttpClientError.ResponseError({
    request,
    response: HttpClientResponse.fromWeb(request, new Response(null, { status })),
    reason: "StatusCode"
  })
const refused = { code: "ECONNREFUSED", syscall: "connect" }
const ring: { cause?: unknown } = {}
ring.cause = ring

const table: Record<Evidence, ReadonlyArray<readonly [string, unknown]>> = {
  Unreachable: [
    ["a refused connection", refused],
    ["a fetch that was refused", Object.assign(new TypeError("fetch failed"), { cause: refused })],
    ["a connection that timed out while it was made", { code: "ETIMEDOUT", syscall: "connect" }],
    ["an unknown host", { code: "ENOTFOUND", syscall: "getaddrinfo" }],
    ["fetch's own limit for connecting", { code: "UND_ERR_CONNECT_TIMEOUT" }],
    ["UNAVAILABLE, since no connection was made", rpcError(14, "No connection established. Last error: refused")],
    ["the same as grpc-js throws it", { code: 14, message: "14 UNAVAILABLE: No connection established" }],
    ["UNAVAILABLE, since the name does not resolve", rpcError(14, "Name resolution failed for target dns:x:1")],
    ["UNAVAILABLE, whose cause is a refused connection", { code: 14, cause: refused }],
    [
      "a request of @effect/platform that was refused",
      new HttpClientError.RequestError({ request, reason: "Transport", cause: wrapped(refused) })
    ]
  ],
  Disconnected: [
    ["a connection that was reset", { code: "ECONNRESET" }],
    ["a host that became unreachable while reading", { code: "EHOSTUNREACH", syscall: "read" }],
    ["a socket that closed under fetch", { code: "UND_ERR_SOCKET" }],
    ["UNAVAILABLE in the server's own words", rpcError(StatusCode.UNAVAILABLE, "shutting down")],
    ["UNAVAILABLE without a word", { code: 14 }],
    ["UNAVAILABLE, whose cause is an answer", { code: 14, cause: { code: 5 } }],
    [
      "a request of @effect/platform that did not get through",
      new HttpClientError.RequestError({ request, reason: "Transport" })
    ]
  ],
  Unavailable: [
    ["Effect's timeout", new Cause.TimeoutException()],
    ...[502, 503, 504].map((status) => [`HTTP ${status}`, httpStatus(status)] as const)
  ],
  Failed: [
    ...(["DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS"] as const).map(
      (name) => [name, rpcError(StatusCode[name])] as const
    ),
    ["HTTP 500", httpStatus(500)],
    ["INTERNAL as a cause", wrapped(rpcError(StatusCode.INTERNAL))]
  ],
  Uncounted: [
    ["NOT_FOUND, whatever its cause", { code: 5, cause: refused }],
    ["RESOURCE_EXHAUSTED", rpcError(StatusCode.RESOURCE_EXHAUSTED)],
    ["HTTP 404", httpStatus(404)],
    ["HTTP 501", httpStatus(501)],
    ["a request that makes no sense", new HttpClientError.RequestError({ request, reason: "InvalidUrl" })],
    ["a file that is not there", { code: "ENOENT" }],
    ["an error of the app's own", new Error("the card is declined")],
    ["an error that is its own cause", ring],
    ["null", null],
    ["undefined", undefined],
    ["a number", 14],
    ["a text", "ECONNREFUSED"],
    [
      "an error whose code throws",
      {
        get code(): number {
          throw new Error("no")
        }
      }
    ]
  ]
}

describe("FailureClassifier", () => {
  for (const [evidence, rows] of Object.entries(table)) {
    for (const [name, error] of rows) it(`${name}: ${evidence}`, () => assert.strictEqual(evidenceOf(error), evidence))
  }
})
