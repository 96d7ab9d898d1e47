/**
 * Health checks by `grpc.health.v1.Health/Check`.
 *
 * Protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
import * as ProtoLoader from "@grpc/proto-loader"
import * as Effect from "effect/Effect"
import * as Address from "../../schemas/Address.js"
import type * as AioConfig from "../../schemas/AioConfig.js"
import { type AioConfigError, AioRpcError, type AioWireError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Transport from "../../schemas/Transport.js"
import * as Methods from "../Methods.js"
import * as Tls from "../Tls.js"
import * as Channel from "./Channel.js"
import * as ChannelPool from "./ChannelPool.js"
import * as Deadline from "./Deadline.js"
import * as Unary from "./Unary.js"

interface Response {
  /** A name, or a number without one. */
  readonly status: string | number
}

// The client's half of the protocol. It belongs to grpc, not to the wire of AIO: hence not in proto/.
const messages = {
  HealthCheckRequest: { fields: { service: { type: "string", id: 1 } } },
  HealthCheckResponse: {
    fields: { status: { type: "ServingStatus", id: 1 } },
    nested: { ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } }
  }
}
const rpcs = { Check: { requestType: "HealthCheckRequest", responseType: "HealthCheckResponse", comment: "" } }

const load = (): Methods.Method<{ readonly service: string }, Response> => {
  const v1 = { nested: { ...messages, Health: { methods: rpcs } } }
  const root = { nested: { grpc: { nested: { health: { nested: { v1 } } } } } }
  const service = ProtoLoader.fromJSON(root, { enums: String, defaults: true })["grpc.health.v1.Health"]
  if (service === undefined || "format" in service || service.Check === undefined) throw new Error("no rpc Check")
  const check = Methods.of(service.Check)
  // proto-loader types every message as `object`.
  return { ...check, deserialize: (bytes) => check.deserialize(bytes) as Response }
}

const method = /*#__PURE__*/ load()

// For a caller that neither interrupts nor limits this: checks take seconds.
const MAX_MILLIS = 60_000

/**
 * Succeeds when the server at `address` (`host:port`) reports `SERVING` for `service`; `""` stands for the whole server. Fails
 * with `AioRpcError`: `UNAVAILABLE` for any other status, and otherwise as a call does. Opens a connection each time, since
 * connecting is part of the check, and closes it. Reads certificates each time; `AioConfigError` names an invalid one. Without
 * a span. Interrupting it cancels the call.
 */
export const check = (
  address: string,
  options: { readonly service: string; readonly tls: boolean | AioConfig.Tls }
): Effect.Effect<void, AioRpcError | AioWireError | AioConfigError> =>
  Effect.gen(function* () {
    const [parsed] = yield* Address.parse("address", address)
    const transport = yield* Transport.check({})
    const { credentials, serverName } = yield* Tls.client(options.tls)
    const channel = yield* Effect.acquireRelease(
      Effect.sync(() => Channel.open(parsed, credentials, { ...transport, serverName })),
      (opened) => Effect.sync(() => opened.close())
    )
    const pool = yield* ChannelPool.fixed(channel)
    const { status } = yield* Unary.unary(
      pool,
      method,
      { service: options.service },
      { deadline: Deadline.after(MAX_MILLIS) }
    )
    if (status === "SERVING") return
    return yield* new AioRpcError({
      method: method.name,
      code: StatusCode.UNAVAILABLE,
      details: `${address} reports ${status}`
    })
  }).pipe(Effect.scoped, Effect.withTracerEnabled(false))
