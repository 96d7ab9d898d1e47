/**
 * Every metric of this package, declared once. Effect's registry of metrics is one per process: two layers count into the
 * same ones.
 *
 * @since 0.1.0
 */
import * as Metric from "../internal/metric.js"

/**
 * Token acquisitions that ended, by `kind` (`authenticate`, `renew`) and `result` (`success`, `failure`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const tokenRefreshes = Metric.counter(
  "effect_aio_token_refreshes_total",
  "Token acquisitions, by kind and result"
)

/**
 * How long the present token lives, in seconds, as of up to 30 seconds ago; 0 where there is none. Of the layer that told
 * it last, where a process has several.
 *
 * @since 0.1.0
 * @category metrics
 */
export const tokenSecondsLeft = Metric.gauge("effect_aio_token_seconds_left", "How long the present token lives")

/**
 * The server's clock minus ours, in seconds, as the last token told it.
 *
 * @since 0.1.0
 * @category metrics
 */
export const clockSkewSeconds = Metric.gauge(
  "effect_aio_clock_skew_seconds",
  "The registry's clock minus ours, as the last token told it"
)

/**
 * Beats that were answered or given up, by `result` (`renewed`, `refused`, `failed`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const beats = Metric.counter("effect_aio_beats_total", "Beats by result")

/**
 * From handing a beat to the transport to its answer, in milliseconds.
 *
 * @since 0.1.0
 * @category metrics
 */
export const beatRoundTripMillis = Metric.histogram(
  "effect_aio_beat_round_trip_millis",
  [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
  "From handing a beat to the transport to its answer"
)

/**
 * Leases by `state`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leases = Metric.gauge("effect_aio_leases", "Leases by state")

/**
 * Leases that ran out or were taken away.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leasesLost = Metric.counter("effect_aio_leases_lost_total", "Leases that ran out or were taken away")

/**
 * Registrations that succeeded and were not the first of their lease, by `reason` (`expired`, `refused`, `dead_key`,
 * `absent`, `service_gone`, `key_conflict`, `resumed`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const reregistrations = Metric.counter(
  "effect_aio_reregistrations_total",
  "Registrations that were not the first of their lease, by reason"
)

/**
 * How long the lease that runs out first has left, in seconds, by what the registry has acknowledged; 0 if one is not held.
 * Looked at every 5 seconds while there are leases.
 *
 * @since 0.1.0
 * @category metrics
 */
export const leaseSecondsLeft = Metric.gauge(
  "effect_aio_lease_seconds_left",
  "How long the lease that runs out first has left, 0 if one is not held"
)

/**
 * Refreshes of a view, by `kind` (`list`, `by-id`) and `result` (`success`, `failure`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewRefreshes = Metric.counter(
  "effect_aio_view_refreshes_total",
  "Refreshes of a discovery view, by kind and result"
)

/**
 * How old the oldest service in use of a view is, in seconds, by `project` and `env`. Told when a refresh has ended, and
 * every 15 seconds while one is under way or has failed: 0 while all is well, and growing during an outage.
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewAgeSeconds = Metric.gauge(
  "effect_aio_view_age_seconds",
  "Age of a discovery view, by project and env: 0 after each refresh, growing while none succeeds"
)

/**
 * The instances of all views, by `tier`: `listed` by the registry; `held`, which it lists no more; `disk`, from a snapshot
 * of an earlier process; `static`, configured.
 *
 * @since 0.1.0
 * @category metrics
 */
export const viewInstances = Metric.gauge("effect_aio_view_instances", "Instances of the discovery views, by tier")

/**
 * Instances that were chosen, by `strategy`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const picks = Metric.counter("effect_aio_picks_total", "Instances that were chosen, by strategy")

/**
 * Those of them that were chosen among more than were available, because too few were.
 *
 * @since 0.1.0
 * @category metrics
 */
export const panics = Metric.counter(
  "effect_aio_panic_picks_total",
  "Instances that were chosen in a panic: among more than were available"
)

/**
 * How often a balancing strategy threw, or gave nobody of its candidates.
 *
 * @since 0.1.0
 * @category metrics
 */
export const strategyFailures = Metric.counter(
  "effect_aio_strategy_failures_total",
  "Choices that a balancing strategy failed to make"
)

/**
 * Calls that were to be tried on another instance, by `result` (`tried`, `over budget`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const failovers = Metric.counter(
  "effect_aio_failovers_total",
  "Calls that were to be tried on another instance, by result"
)

/**
 * Instances that were put aside after failed calls, by `reason` (`unreachable`, `consecutive`, `rate`, `probe`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const ejections = Metric.counter(
  "effect_aio_ejections_total",
  "Instances put aside after failed calls, by reason"
)

/**
 * Parts of an answer that did not decode and were left out, by `message` and `field`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const decodeSkips = Metric.counter(
  "effect_aio_decode_skips_total",
  "Parts of an answer that did not decode and were left out, by message and field"
)

/**
 * How long rpcs took, in milliseconds, by `method` and `code`.
 *
 * @since 0.1.0
 * @category metrics
 */
export const rpcDurationMillis = Metric.histogram(
  "effect_aio_rpc_duration_millis",
  [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000],
  "How long rpcs took, by method and code"
)

/**
 * Channels that were given up for a new one, by `reason` (`connecting`, `silent`, `certificates`).
 *
 * @since 0.1.0
 * @category metrics
 */
export const channelReplacements = Metric.counter(
  "effect_aio_channel_replacements_total",
  "Channels that were given up for a new one, by reason"
)
