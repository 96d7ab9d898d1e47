import { assert, describe, it } from "@effect/vitest"
import { Either } from "effect"
import * as Transport from "../../src/schemas/Transport.js"

describe("the options of a connection", () => {
  it("have the documented defaults: no keepalive and no proxy", () => {
    assert.deepStrictEqual(
      Transport.check({}),
      Either.right({
        maxReceiveBytes: 67_108_864,
        connectTimeoutMillis: 20_000,
        silenceTimeoutMillis: 10_000,
        reconnectDelayMillis: 500,
        maxReconnectDelayMillis: 5_000,
        flowControlWindow: 1_048_576,
        keepalive: undefined,
        httpProxy: false
      })
    )
  })

  it("ping within 20 seconds and not while idle, where keepalive is asked for and nothing else is said", () => {
    assert.deepStrictEqual(Either.getOrThrow(Transport.check({ keepalive: { interval: "5 minutes" } })).keepalive, {
      intervalMillis: 300_000,
      timeoutMillis: 20_000,
      whenIdle: false
    })
  })

  const refused: ReadonlyArray<readonly [options: Transport.Transport, message: string]> = [
    [{ maxReceiveBytes: 0 }, "tuning.transport.maxReceiveBytes is 0; expected a whole number from 1 to 2147483647"],
    [
      { maxReceiveBytes: 2 ** 31 },
      "tuning.transport.maxReceiveBytes is 2147483648; expected a whole number from 1 to 2147483647"
    ],
    [{ connectTimeout: 0 }, "tuning.transport.connectTimeout is 0; expected 1ms to 1 day"],
    [{ silenceTimeout: "2 days" }, "tuning.transport.silenceTimeout is 2d; expected 1ms to 1 day"],
    [
      { reconnectDelay: "10 seconds" },
      "tuning.transport.maxReconnectDelay is 5s; expected not less than tuning.transport.reconnectDelay"
    ],
    [
      { flowControlWindow: 1 },
      "tuning.transport.flowControlWindow is 1; expected a whole number from 65536 to 2147483647"
    ],
    [{ keepalive: { interval: "1 millis" } }, "tuning.transport.keepalive.interval is 1ms; expected 1s to 1 day"],
    [
      { keepalive: { interval: "1 minute", timeout: 0 } },
      "tuning.transport.keepalive.timeout is 0; expected 1ms to 1 day"
    ]
  ]

  it.each(refused.map(([options, message]) => [message, options] as const))("are refused: %s", (message, options) => {
    assert.strictEqual(Either.getOrThrow(Either.flip(Transport.check(options))).message, message)
  })
})
