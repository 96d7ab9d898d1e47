/** The options of `HeartbeatStream`, checked, with their defaults. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type * as AioConfig from "../../schemas/AioConfig.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as HeartbeatTuning from "../../schemas/HeartbeatTuning.js"
import * as Limits from "../../schemas/Limits.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends Pick<AioConfig.Common, "backgroundSpans"> {
  /** The env of instances that name none; `Aio.layer` has it as an option of its own. 1 to 32 characters. */
  readonly env: string
  /** The TTL of registrations that name none: 3 seconds to 24 hours, in whole seconds. Default 60 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
  /** The drain delay of registrations that name none: at most 1 day. Default 0. */
  readonly drainDelay?: Duration.DurationInput | undefined
  /** Numbers that most programs leave at their defaults: `tuning.heartbeat`. */
  readonly tuning?: { readonly heartbeat?: HeartbeatTuning.HeartbeatTuning | undefined } | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = { ttl: Limits.defaultTtl, drainDelay: Duration.zero, heartbeat: HeartbeatTuning.defaults }

/** What was checked: milliseconds, but for the TTL. */
export interface Settings extends HeartbeatTuning.HeartbeatSettings {
  readonly env: string
  readonly ttl: Duration.Duration
  readonly drainDelay: number
}

export const make = (options: Options): Either.Either<Settings, AioConfigError> =>
  Either.gen(function* () {
    return {
      env: yield* Limits.text("env", options.env, { max: Limits.maxLength.env, required: true }),
      ttl: Duration.seconds(yield* Limits.ttlSeconds("ttl", options.ttl ?? defaults.ttl)),
      drainDelay: yield* Limits.durationMillis("drainDelay", options.drainDelay ?? defaults.drainDelay, 0),
      ...(yield* HeartbeatTuning.check(options.tuning?.heartbeat))
    }
  })
