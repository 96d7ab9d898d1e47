/**
 * A lease that `HeartbeatStream` keeps: the state machine's state, and what belongs to it.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Lease from "../../core/Lease.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import { ServiceId } from "../../schemas/Ids.js"
import type { NewInstance } from "../../schemas/Instance.js"
import * as Limits from "../../schemas/Limits.js"
import type { NewService } from "../../schemas/Service.js"
import * as Wire from "../../schemas/Wire.js"
import type { HeartbeatError, LeaseState, NewRegistration } from "../../services/Heartbeat.js"

/**
 * Mutable on purpose: it is touched by steps that run to their end, never by two fibers at once.
 *
 * @since 0.1.0
 * @category models
 */
export interface LeaseEntry {
  readonly service: NewService
  readonly instance: Omit<NewInstance, "serviceId" | "instanceKey">
  /** The key that was asked for; a key that the server refuses to revive is replaced by this with a random suffix. */
  readonly baseKey: string
  readonly status: SubscriptionRef.SubscriptionRef<LeaseState>
  /** Done when the lease is `Live` for the first time; fails with what no repetition can mend. */
  readonly settled: Deferred.Deferred<void, HeartbeatError>
  instanceKey: string
  serviceId: ServiceId | undefined
  lease: Lease.Lease
  attempt: Fiber.RuntimeFiber<void> | undefined
  /** May the server hold a record under the present key? */
  maybeRegistered: boolean
  lastError: HeartbeatError | undefined
}

/** The server's limit is 128; the rest is for the suffix of a rotated key. */
const MAX_KEY_LENGTH = 120

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

/**
 * Four characters of Effect's `Random`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const suffix: Effect.Effect<string> = Effect.map(
  Effect.all(Array.from({ length: 4 }, () => Random.nextIntBetween(0, ALPHABET.length))),
  (indices) => indices.map((index) => ALPHABET[index]).join("")
)

const processStart = Math.round(performance.timeOrigin).toString(36)

/** Unique for each start of a process: the server never revives the key of an instance that was stopped gracefully. */
const defaultKey = (host: string): Effect.Effect<string> =>
  Effect.map(suffix, (random) => `${host.slice(0, 80)}-${process.pid}-${processStart}-${random}`)

/**
 * What the registry is told of the instance, under its present key.
 *
 * @since 0.1.0
 * @category accessors
 */
export const toInstance = (entry: LeaseEntry, serviceId: ServiceId): NewInstance => ({
  ...entry.instance,
  serviceId,
  instanceKey: entry.instanceKey
})

/**
 * For people: `shop/orders as host-1234-…`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const describe = (entry: LeaseEntry): string =>
  `${entry.service.project}/${entry.service.name} as ${entry.instanceKey}`

/**
 * Would the two stand under one key of one service?
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSameInstance = (one: LeaseEntry, other: LeaseEntry): boolean =>
  one.baseKey === other.baseKey &&
  one.service.project === other.service.project &&
  one.service.name === other.service.name

// Any id will do for checking the rest: the real one is known once the service has been ensured.
const anyServiceId = ServiceId.make("1")

const validate = (
  registration: NewRegistration,
  instance: LeaseEntry["instance"],
  instanceKey: string
): Either.Either<number, AioConfigError> =>
  Either.gen(function* () {
    yield* Wire.encodeEnsureService(registration.service)
    yield* Limits.text("instance.instanceKey", instanceKey, { max: MAX_KEY_LENGTH, required: true })
    const ttl = yield* Limits.ttlSeconds("ttl", registration.ttl ?? Limits.defaultTtl)
    yield* Wire.encodeRegisterInstance({ ...instance, serviceId: anyServiceId, instanceKey })
    return ttl * 1_000
  })

/**
 * Checks all of a registration. Fails with `AioConfigError`, and has sent nothing then.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (registration: NewRegistration, defaultEnv: string): Effect.Effect<LeaseEntry, AioConfigError> =>
  Effect.gen(function* () {
    const { instanceKey, ...described } = registration.instance
    const instance = {
      ...described,
      env: described.env ?? defaultEnv,
      ttl: registration.ttl ?? Limits.defaultTtl
    }
    const baseKey = instanceKey ?? (yield* defaultKey(String(instance.host)))
    const ttl = yield* validate(registration, instance, baseKey)
    const lease = Lease.make({ ttl })
    return {
      service: registration.service,
      instance: { ...instance, ttl: Duration.millis(ttl) },
      baseKey,
      status: yield* SubscriptionRef.make<LeaseState>(lease.status),
      settled: yield* Deferred.make<void, HeartbeatError>(),
      instanceKey: baseKey,
      serviceId: undefined,
      lease,
      attempt: undefined,
      maybeRegistered: false,
      lastError: undefined
    }
  })
