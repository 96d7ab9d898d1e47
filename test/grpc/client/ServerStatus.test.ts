import { assert, describe, it } from "@effect/vitest"
import * as ServerStatus from "../../../src/grpc/client/ServerStatus.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"

describe("ServerStatus", () => {
  const { CANCELLED, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE } = StatusCode
  const cases: ReadonlyArray<readonly [code: number, details: string, fromServer: boolean, sent: boolean]> = [
    [INTERNAL, "database error", true, true],
    [DEADLINE_EXCEEDED, "the server gave up", true, true],
    [DEADLINE_EXCEEDED, "Deadline exceeded after 0.2s,remote_addr=127.0.0.1:1", false, true],
    [DEADLINE_EXCEEDED, "Deadline exceeded after 0.2s,LB pick: 0.2s", false, false],
    [UNAVAILABLE, "Connection dropped", false, true],
    [UNAVAILABLE, "No connection established. connect ECONNREFUSED 127.0.0.1:1", false, false],
    [UNAVAILABLE, "Name resolution failed for target dns:nowhere:1", false, false],
    [UNAVAILABLE, "upstream: No connection established", false, true],
    [CANCELLED, "Call cancelled", false, true],
    [UNAVAILABLE, "Received HTTP status code 502", false, false]
  ]
  for (const [code, details, fromServer, sent] of cases) {
    it(`reads who gave a status and whether the call was sent: ${code} ${details}`, () => {
      assert.strictEqual(ServerStatus.isFromServer({ code, details }), fromServer)
      assert.strictEqual(ServerStatus.wasSent({ code, details }), sent)
    })
  }

  it("tells a call that was given up with a connection from one without", () => {
    assert.isTrue(ServerStatus.wasSent(ServerStatus.overdue("M", true, 30_000)))
    assert.isFalse(ServerStatus.wasSent(ServerStatus.overdue("M", false, 30_000)))
  })

  it("finds that nothing was sent in a message that quotes the details", () => {
    assert.isTrue(ServerStatus.saysUnsent("14 UNAVAILABLE: No connection established. Last error: null"))
    assert.isFalse(ServerStatus.saysUnsent("14 UNAVAILABLE: Connection dropped"))
  })
})
