import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Either, Redacted } from "effect"
import * as Channel from "../../../src/grpc/client/Channel.js"
import * as ServerStatus from "../../../src/grpc/client/ServerStatus.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import * as Transport from "../../../src/schemas/Transport.js"

const optionsOf = (transport: Transport.Transport, serverName?: string) =>
  Channel.channelOptions({ ...Either.getOrThrow(Transport.check(transport)), serverName })

describe("the options of a channel", () => {
  it("rule 1: are these, where nothing is asked for", () => {
    assert.deepStrictEqual(optionsOf({}), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_retries": 0,
      "grpc.initial_reconnect_backoff_ms": 500,
      "grpc.max_reconnect_backoff_ms": 5_000,
      "grpc.dns_min_time_between_resolutions_ms": 2_000,
      "grpc.max_receive_message_length": 67_108_864,
      "grpc-node.flow_control_window": 1_048_576
    })
  })

  it("rule 1: are what is asked for", () => {
    const asked = optionsOf(
      {
        maxReceiveBytes: 1_000,
        reconnectDelay: "1 second",
        maxReconnectDelay: "1 minute",
        flowControlWindow: 65_536,
        keepalive: { interval: "5 minutes", timeout: "3 seconds", whenIdle: true },
        httpProxy: true
      },
      "registry"
    )
    assert.deepInclude(asked, {
      "grpc.enable_http_proxy": 1,
      "grpc.initial_reconnect_backoff_ms": 1_000,
      "grpc.max_reconnect_backoff_ms": 60_000,
      "grpc.max_receive_message_length": 1_000,
      "grpc-node.flow_control_window": 65_536,
      "grpc.keepalive_time_ms": 300_000,
      "grpc.keepalive_timeout_ms": 3_000,
      "grpc.keepalive_permit_without_calls": 1,
      "grpc.ssl_target_name_override": "registry",
      "grpc.default_authority": "registry"
    })
  })
})

describe("the metadata of a foreign call", () => {
  it("is left as it was, and its copy has the token", () => {
    const theirs = new grpc.Metadata()
    theirs.set("x-tenant", "one")
    theirs.set("authorization", "Bearer theirs")
    const ours = Channel.authorized(theirs, Redacted.make("ours"))
    assert.deepStrictEqual(ours.getMap(), { "x-tenant": "one", authorization: "Bearer ours" })
    assert.deepStrictEqual(theirs.getMap(), { "x-tenant": "one", authorization: "Bearer theirs" })
  })

  it("is left alone where there is no token", () => {
    assert.deepStrictEqual(Channel.authorized(new grpc.Metadata(), Redacted.make("")).getMap(), {})
  })
})

describe("rule 3: what the server's own shutdown does to a call counts as UNAVAILABLE", () => {
  const { CANCELLED, DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE } = StatusCode
  const rows: ReadonlyArray<readonly [code: number, details: string, meaning: number]> = [
    [CANCELLED, "Call cancelled", UNAVAILABLE],
    [INTERNAL, "Received RST_STREAM with code 0 (Call ended without gRPC status)", UNAVAILABLE],
    [RESOURCE_EXHAUSTED, "Bandwidth exhausted or memory limit exceeded", UNAVAILABLE],
    [INTERNAL, "Err: the database is down", INTERNAL],
    [RESOURCE_EXHAUSTED, "Received message larger than max (5 vs 4)", RESOURCE_EXHAUSTED],
    [DEADLINE_EXCEEDED, "Deadline exceeded after 1s", DEADLINE_EXCEEDED]
  ]
  it.each(rows)("%d (%s) means %d", (code, details, meaning) => {
    assert.strictEqual(ServerStatus.toError("Some/Rpc", ServerStatus.of({ code, details })).code, meaning)
  })
})
