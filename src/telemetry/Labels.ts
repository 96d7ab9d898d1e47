/** The labels of every metric. Effect finds a series by the identity of its labels: closed sets are made once. */
import { type Labels, labels } from "../internal/metric.js"

export { noLabels as none } from "../internal/metric.js"

const result = <K extends string>(kind: K) => ({
  success: labels({ kind, result: "success" }),
  failure: labels({ kind, result: "failure" })
})

export const tokenRefreshes = { authenticate: result("authenticate"), renew: result("renew") }

export const viewRefreshes = { list: result("list"), single: result("by-id") }

export const heartbeats = {
  renewed: labels({ result: "renewed" }),
  refused: labels({ result: "refused" }),
  failed: labels({ result: "failed" })
}

export const leases = {
  Registering: labels({ state: "Registering" }),
  Live: labels({ state: "Live" }),
  Suspect: labels({ state: "Suspect" }),
  Lost: labels({ state: "Lost" }),
  Paused: labels({ state: "Paused" }),
  Draining: labels({ state: "Draining" })
}

export const reregistrations = {
  expired: labels({ reason: "expired" }),
  refused: labels({ reason: "refused" }),
  dead_key: labels({ reason: "dead_key" }),
  absent: labels({ reason: "absent" }),
  service_gone: labels({ reason: "service_gone" }),
  key_conflict: labels({ reason: "key_conflict" }),
  resumed: labels({ reason: "resumed" })
}

export const viewInstances = {
  listed: labels({ tier: "listed" }),
  held: labels({ tier: "held" }),
  disk: labels({ tier: "disk" }),
  static: labels({ tier: "static" })
}

export const viewAge = (project: string, env: string): Labels => labels({ project, env })

export const picks = (strategy: string): Labels => labels({ strategy })

export const failovers = { tried: labels({ result: "tried" }), overBudget: labels({ result: "over budget" }) }

export const ejections = {
  Unreachable: labels({ reason: "unreachable" }),
  Consecutive: labels({ reason: "consecutive" }),
  Rate: labels({ reason: "rate" }),
  Probe: labels({ reason: "probe" })
}

export const decodeSkips = (message: string, field: string): Labels => labels({ message, field })

export const channelReplacements = {
  connecting: labels({ reason: "connecting" }),
  failing: labels({ reason: "failing" }),
  silent: labels({ reason: "silent" }),
  certificates: labels({ reason: "certificates" })
}
