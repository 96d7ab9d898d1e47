/**
 * Every metric of this package, declared once. Effect's registry of metrics is one per process: two layers count into the
 * same ones. The unit, where there is one, is the tag `unit`.
 *
 * @since 0.1.0
 */
import * as Metric from "../internal/metric.js"

const rpcBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

/**
 * Token acquisitions that ended, by `kind` (`authenticate`, `renew`) and `result` (`success`, `failure`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const tokenRefreshes = Metric.counter("aio.client.token_refreshes", "Token acquisitions by kind and result")

/**
 * Seconds until the current token expires, at most 30 seconds old; 0 without a token. With several layers in a process: of the
 * layer that reported last.
 *
 * @since 0.1.0
 * @category metrics
 */
export const tokenTimeLeft = Metric.gauge("aio.client.token_time_left", "Time until the current token expires", "s")

/**
 * The registry's clock minus ours, in seconds, as the last token told it.
 *
 * @since 0.1.0
 * @category metrics
 */
export const clockSkew = Metric.gauge(
  "aio.client.clock_skew",
  "The registry's clock minus ours, as the last token told it",
  "s"
)

/**
 * Heartbeats that were answered or given up, by `result` (`renewed`, `refused`, `failed`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const heartbeats = Metric.counter("aio.client.heartbeats", "Heartbeats by result")

/**
 * Seconds from handing a heartbeat to the transport to its answer.
 *
 * @since 0.1.0
 * @category metrics
 */
export const heartbeatRoundTrip = Metric.histogram(
  "aio.client.heartbeat_round_trip",
  [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  "From handing a heartbeat to the transport to its answer",
  "s"
)

/**
 * Leases by `state`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leases = Metric.gauge("aio.client.leases", "Leases by state")

/**
 * Leases that expired or were refused by the registry.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leasesLost = Metric.counter("aio.client.leases_lost", "Leases that expired or were refused")

/**
 * Registrations that succeeded and were not the first of their lease, by `reason` (`expired`, `refused`, `dead_key`,
 * `absent`, `service_gone`, `key_conflict`, `resumed`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const reregistrations = Metric.counter(
  "aio.client.reregistrations",
  "Registrations after the first of their lease, by reason"
)

/**
 * Seconds until the first lease expires, by what the registry has acknowledged; 0 if one is not held. Updated every 5 seconds
 * while there are leases.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leaseTimeLeft = Metric.gauge(
  "aio.client.lease_time_left",
  "Time until the first lease expires, 0 if one is not held",
  "s"
)

/**
 * Refreshes of a view, by `kind` (`list`, `by-id`) and `result` (`success`, `failure`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewRefreshes = Metric.counter(
  "aio.client.view_refreshes",
  "Refreshes of a discovery view by kind and result"
)

/**
 * Age in seconds of the oldest service in use of a view, by `project` and `env`. Updated when a refresh ends, and every 15
 * seconds while one is running or the last one failed: 0 in steady state, growing during an outage.
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewAge = Metric.gauge(
  "aio.client.view_age",
  "Age of a discovery view by project and env: 0 after each refresh, growing while none succeeds",
  "s"
)

/**
 * Instances of all views, by `tier`: `listed` by the registry; `held`, which it no longer lists; `disk`, from a snapshot of an
 * earlier process; `static`, configured.
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewInstances = Metric.gauge("aio.client.view_instances", "Instances of the discovery views by tier")

/**
 * Picked instances, by `strategy`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const picks = Metric.counter("aio.client.picks", "Picked instances by strategy")

/**
 * Picks from more than the available instances, because too few are available.
 *
 * @since 0.1.0
 * @category metrics
 */
export const panics = Metric.counter(
  "aio.client.panic_picks",
  "Instances picked in a panic: from more than are available"
)

/**
 * How often a balancing strategy threw, or picked none of its candidates.
 *
 * @since 0.1.0
 * @category metrics
 */
export const strategyFailures = Metric.counter(
  "aio.client.strategy_failures",
  "Picks that a balancing strategy failed to make"
)

/**
 * Calls that were to be tried on another instance, by `result` (`tried`, `over budget`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const failovers = Metric.counter("aio.client.failovers", "Attempts on another instance by result")

/**
 * Instances ejected after failed calls, by `reason` (`unreachable`, `consecutive`, `rate`, `probe`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const ejections = Metric.counter("aio.client.ejections", "Instances ejected after failed calls, by reason")

/**
 * Parts of an answer that did not decode and were left out, by `message` and `field`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const decodeSkips = Metric.counter(
  "aio.client.decode_skips",
  "Parts of an answer that did not decode and were left out, by message and field"
)

/**
 * Channels replaced by a new one, by `reason` (`connecting`, `failing`, `silent`, `certificates`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const channelReplacements = Metric.counter(
  "aio.client.channel_replacements",
  "Channels replaced by a new one, by reason"
)

/**
 * Duration of rpcs in seconds, by `rpc.method`, `rpc.status_code` and `rpc.system.name`: the names and buckets of
 * OpenTelemetry's conventions for rpcs.
 *
 * @since 0.1.0
 * @category metrics
 */
export const callDuration = Metric.histogram(
  "rpc.client.call.duration",
  rpcBoundaries,
  "Duration of rpcs by method and status code",
  "s"
)

/**
 * Duration of unary rpcs that a control plane in this process answered, in seconds, by the same labels as
 * {@link callDuration}.
 *
 * @since 0.1.0
 * @category metrics
 */
export const serverCallDuration = Metric.histogram(
  "rpc.server.call.duration",
  rpcBoundaries,
  "Duration of answered unary rpcs by method and status code",
  "s"
)
