/** The options of `HeartbeatStream`, checked, with their defaults. */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as HeartbeatTuning from "../../schemas/HeartbeatTuning.js"
import * as Limits from "../../schemas/Limits.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends HeartbeatTuning.HeartbeatTuning {
  /** The env of instances that name none. 1 to 32 characters. */
  readonly env: string
  /** The TTL of registrations that name none: 3 seconds to 24 hours, whole seconds. Default 60 seconds. */
  readonly ttl?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export const defaults = { ttl: Limits.defaultTtl, ...HeartbeatTuning.defaults }

/** What was checked: milliseconds, but for the TTL. */
export interface Settings extends HeartbeatTuning.HeartbeatSettings {
  readonly env: string
  readonly ttl: Duration.Duration
}

export const make = ({ env, ttl = defaults.ttl, ...tuning }: Options): Either.Either<Settings, AioConfigError> =>
  Either.gen(function* () {
    return {
      env: yield* Limits.text("env", env, { max: Limits.maxLength.env, required: true }),
      ttl: Duration.seconds(yield* Limits.ttlSeconds("ttl", ttl)),
      ...(yield* HeartbeatTuning.check(tuning))
    }
  })
