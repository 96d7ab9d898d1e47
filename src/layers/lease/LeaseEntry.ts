/** A lease that `HeartbeatStream` keeps: the state machine's state, and what belongs to it. */
import { hostname } from "node:os"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import type * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Lease from "../../core/lease/Lease.js"
import type * as TimerQueue from "../../core/lease/TimerQueue.js"
import { type AioConfigError, AioLeaseStopped } from "../../schemas/AioError.js"
import { type LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { NewInstance, Lease as RegisteredLease } from "../../schemas/Instance.js"
import * as Limits from "../../schemas/Limits.js"
import type { NewService } from "../../schemas/Service.js"
import type { HeartbeatError, LeaseEvent, LeaseState, NewRegistration } from "../../services/Heartbeat.js"
import * as Wire from "../../wire/Wire.js"
import type { Settings } from "./HeartbeatSettings.js"

/** What this process registers, and registers again. */
export interface SelfRecord {
  readonly service: NewService
  readonly instance: Omit<NewInstance, "serviceId" | "instanceKey" | "host">
  /** Was the key given, rather than made up? Then somebody else may have been given the same. */
  readonly hasFixedKey: boolean
  readonly ready: Effect.Effect<boolean> | undefined
  readonly healthy: Effect.Effect<boolean> | undefined
  readonly drainDelay: number
  /** `undefined` until the way to the registry has told it. */
  host: string | undefined
}

/** What those who watch a lease are told. */
export type Note = LeaseState | LeaseEvent

/**
 * Mutable on purpose: it is touched by steps that run to their end, never by two fibers at once. There may be many
 * thousands: what few of them need is `undefined` in the others, and they are of one class, since V8 gives objects that are
 * spread together a hidden class each, which weighs more than the lease.
 */
export class LeaseEntry implements TimerQueue.Timed {
  dueAt = Number.POSITIVE_INFINITY
  place = -1
  instanceKey: string
  /** The registration that is on its way. */
  attempt: Fiber.RuntimeFiber<void> | undefined = undefined
  /** It has sent the registration, and awaits the answer. */
  sending = false
  /** The deregistration that a pause has asked for. */
  pausing: Fiber.RuntimeFiber<void> | undefined = undefined
  /** Asks `ready` and `healthy`. */
  gates: Fiber.RuntimeFiber<void> | undefined = undefined
  /** Done when the lease has been stopped; there once that has begun. */
  ending: Deferred.Deferred<void> | undefined = undefined
  /** May the server hold a record under the present key? */
  maybeRegistered = false
  /** Has it ever been registered? Then consumers may know it. */
  wasRegistered = false
  /** Until when the server may still carry out a registration whose outcome is not known. Monotonic milliseconds. */
  uncertainUntil = Number.NEGATIVE_INFINITY
  /** Why the last attempt failed, while somebody waits for the lease. An error holds on to the fiber it was made in. */
  lastError: HeartbeatError | undefined = undefined
  watchers: Set<Queue.Enqueue<Note>> | undefined = undefined

  constructor(
    /** `undefined` where somebody else registers and deregisters the instance. */
    readonly record: SelfRecord | undefined,
    /** The key that was asked for; one that cannot be kept is replaced by this with a random suffix. */
    readonly baseKey: string,
    public serviceId: ServiceId | undefined,
    public lease: Lease.Lease,
    /**
     * Fails with what no repetition can mend; when it is stopped before it was live. Done, and gone, when it is
     * `Live` for the first time; `undefined` where nobody waits.
     */
    public settled: Deferred.Deferred<void, HeartbeatError> | undefined
  ) {
    this.instanceKey = baseKey
  }
}

/** The server's limit is 128; the rest is for the suffix of a rotated key. */
const MAX_KEY_LENGTH = 120

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

/** Four characters of Effect's `Random`. */
export const suffix: Effect.Effect<string> = Effect.map(
  Effect.all(Array.from({ length: 4 }, () => Random.nextIntBetween(0, ALPHABET.length))),
  (indices) => indices.map((index) => ALPHABET[index]).join("")
)

const processStart = Math.round(performance.timeOrigin).toString(36)

/** Unique for each start of a process: the server never revives the key of an instance that was stopped gracefully. */
const defaultKey = (host: string): Effect.Effect<string> =>
  Effect.map(suffix, (random) => `${host.slice(0, 80)}-${process.pid}-${processStart}-${random}`)

/** What the registry is told of the instance, under its present key. */
export const toInstance = (entry: LeaseEntry, record: SelfRecord, host: string, serviceId: ServiceId): NewInstance => ({
  ...record.instance,
  host,
  serviceId,
  instanceKey: entry.instanceKey
})

export const keyOf = (entry: LeaseEntry): LeaseKey | undefined =>
  entry.serviceId === undefined ? undefined : { serviceId: entry.serviceId, instanceKey: entry.instanceKey }

/** For people: `shop/orders`. */
export const serviceName = ({ record, serviceId }: LeaseEntry): string =>
  record === undefined ? `service ${serviceId}` : `${record.service.project}/${record.service.name}`

/** For people: `shop/orders as host-1234-…`. */
export const describe = (entry: LeaseEntry): string => `${serviceName(entry)} as ${entry.instanceKey}`

/** Two leases of one identity would stand under one key of one service. */
export const identity = ({ baseKey, record, serviceId }: LeaseEntry): string =>
  (record === undefined ? ["", serviceId, baseKey] : [record.service.project, record.service.name, baseKey]).join(
    "\u0000"
  )

/** The error for callers that wait when the lease is stopped. */
export const stopped = (entry: LeaseEntry): AioLeaseStopped =>
  new AioLeaseStopped({
    project: entry.record?.service.project,
    serviceName: entry.record?.service.name ?? String(entry.serviceId),
    instanceKey: entry.instanceKey,
    reason: "the registration was stopped"
  })

/** Tells those who watch. */
export const unsafeNote = (entry: LeaseEntry, note: Note): void => {
  if (entry.watchers !== undefined) for (const watcher of entry.watchers) watcher.unsafeOffer(note)
}

// Any id and any host will do for checking the rest: the real ones are known once the service has been ensured.
const anyServiceId = ServiceId.make("1")
const anyHost = "localhost"

const DEFAULT_STARTUP_TIMEOUT = Duration.seconds(30)

/** How long a registration with `startup: "fail"` waits, checked. */
export const startupTimeout = (registration: NewRegistration): Either.Either<number, AioConfigError> =>
  Limits.durationMillis("startupTimeout", registration.startupTimeout ?? DEFAULT_STARTUP_TIMEOUT, 1)

const validate = (
  registration: NewRegistration,
  instance: SelfRecord["instance"],
  host: string,
  instanceKey: string,
  ttl: Duration.DurationInput
) =>
  Either.gen(function* () {
    yield* Wire.encodeEnsureService(registration.service)
    yield* Limits.text("instance.instanceKey", instanceKey, { max: MAX_KEY_LENGTH, required: true })
    const seconds = yield* Limits.ttlSeconds("ttl", ttl)
    yield* Wire.encodeRegisterInstance({ ...instance, host, serviceId: anyServiceId, instanceKey })
    yield* startupTimeout(registration)
    const drainDelay = yield* Limits.durationMillis("drainDelay", registration.drainDelay ?? 0, 0)
    return { ttl: seconds * 1_000, drainDelay }
  })

/**
 * Checks all of a registration. Fails with `AioConfigError`, and has sent nothing then. `host` is what `"auto"` was found
 * to be, or `undefined` if that is to be found on the way to the registry.
 */
export const make = (
  registration: NewRegistration,
  host: string | undefined,
  phase: number,
  settings: Settings
): Effect.Effect<LeaseEntry, AioConfigError> =>
  Effect.gen(function* () {
    const { host: _, instanceKey, ...described } = registration.instance
    const given = registration.ttl ?? settings.ttl
    const instance = { ...described, env: described.env ?? settings.env, ttl: given }
    const baseKey = instanceKey ?? (yield* defaultKey(String(host ?? hostname())))
    const { drainDelay, ttl } = yield* validate(registration, instance, host ?? anyHost, baseKey, given)
    const record: SelfRecord = {
      service: registration.service,
      instance: { ...instance, ttl: registration.ttl === undefined ? settings.ttl : Duration.millis(ttl) },
      hasFixedKey: instanceKey !== undefined,
      ready: registration.ready,
      healthy: registration.healthy,
      drainDelay,
      host
    }
    return new LeaseEntry(
      record,
      baseKey,
      undefined,
      Lease.make({ ttl, phase, timing: settings.timing }),
      registration.startup === "background" ? undefined : yield* Deferred.make<void, HeartbeatError>()
    )
  })

/** A lease that somebody else has registered. Fails with `AioConfigError` for a key or a TTL that no lease can have. */
export const ofRegistered = (
  lease: RegisteredLease,
  phase: number,
  settings: Settings
): Effect.Effect<LeaseEntry, AioConfigError> =>
  Effect.gen(function* () {
    yield* Wire.encodeLeaseKey(lease.key)
    const seconds = yield* Limits.ttlSeconds("ttl", lease.ttl)
    return new LeaseEntry(
      undefined,
      lease.key.instanceKey,
      lease.key.serviceId,
      Lease.make({ ttl: seconds * 1_000, phase, timing: settings.timing, registers: false }),
      undefined
    )
  })
