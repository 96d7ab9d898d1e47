/** A lease that `HeartbeatStream` keeps: its state, and what the shell knows of it. */
import { hostname } from "node:os"
import type * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import type * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Lease from "../../core/lease/Lease.js"
import type * as StreamPlan from "../../core/lease/StreamPlan.js"
import type * as TimerQueue from "../../core/lease/TimerQueue.js"
import type * as Fibers from "../../internal/fibers.js"
import { type AioConfigError, AioLeaseStopped } from "../../schemas/AioError.js"
import { type LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { Instance, NewInstance, Lease as RegisteredLease } from "../../schemas/Instance.js"
import * as Limits from "../../schemas/Limits.js"
import type { NewService } from "../../schemas/Service.js"
import type {
  HeartbeatError,
  LeaseEvent,
  LeaseState,
  NewRegistration,
  RegistrationStatus
} from "../../services/Heartbeat.js"
import * as Wire from "../../wire/Wire.js"
import type { Settings } from "./HeartbeatSettings.js"
import type { Ensured, Question } from "./ServiceIds.js"

/** What this process registers, and registers again. */
export interface SelfRecord extends Pick<NewRegistration, "service" | "ready" | "healthy"> {
  readonly instance: Omit<NewInstance, "serviceId" | "instanceKey" | "host">
  /** The user gave the key: another process may have the same. */
  readonly hasFixedKey: boolean
  readonly drainDelay: number
  /** `undefined` until it is detected. */
  host: string | undefined
}

/** What one call has begun to register, and waits for. */
export interface Startup {
  /** Done when all are `Live`; fails with the permanent error, or the stop, of one. */
  readonly live: Deferred.Deferred<void, HeartbeatError>
  /** How many are not `Live` yet. */
  left: number
}

export type Named = Pick<NewService, "project" | "name">

/** What the registry lists under a key of ours, and in which service. */
export interface Found {
  readonly service: Named
  /** `absent`: nothing. It may be there all the same: what was not renewed since an outage is not listed. */
  readonly whose: "ours" | "foreign" | "absent"
}

/** A key under the id of another service. */
export interface Stray {
  readonly key: LeaseKey
  /** What the registry said of it, and when; `undefined` where it was not asked. */
  readonly seen: (Found & { readonly at: number }) | undefined
}

/** What watchers of a lease get. */
export type LeaseNote = LeaseState | LeaseEvent

/**
 * Mutable: changed by synchronous steps only. There may be many thousands, so what few need is `undefined` in the others, and
 * all are of one class: V8 gives objects made by spreads a hidden class each, which takes more memory than the lease.
 */
export class LeaseEntry implements TimerQueue.Timed {
  dueAt = Number.POSITIVE_INFINITY
  place = -1
  instanceKey: string
  /** The stream that was given its last heartbeat: earlier ones on others are late answers, or none. */
  stream: StreamPlan.StreamState | undefined = undefined
  /** The fiber of the registration in flight. */
  attempt: Fibers.Running | undefined = undefined
  /** It has sent the registration and waits for the answer. */
  sending = false
  /** The deregistration of a pause. */
  pausing: Fiber.RuntimeFiber<void> | undefined = undefined
  /** Runs `ready` and `healthy`. */
  probes: Fiber.RuntimeFiber<void> | undefined = undefined
  /** Done when the lease has stopped; `undefined` before that begins. */
  ending: Deferred.Deferred<void> | undefined = undefined
  /** The server may hold a record under the present key. */
  maybeRegistered = false
  /** It was registered once: consumers may know it. */
  wasRegistered = false
  /** It was `Live` once. */
  wasLive = false
  /** Until when the server may carry out a registration of unknown outcome. Monotonic milliseconds. */
  uncertainUntil = Number.NEGATIVE_INFINITY
  /** The answer that `serviceId` is from. */
  ensured: Ensured | undefined = undefined
  /** Whose answer it had last. */
  question: Question | undefined = undefined
  /** The caller that waits until it is `Live` for the first time. */
  startup: Startup | undefined = undefined
  /** It has been sent to an id of which it is not known whether it was that of its service then. */
  unconfirmed = false
  /** Its keys under the ids of other services, to be deregistered there. */
  strays: ReadonlyArray<Stray> = none
  /** Why the last attempt failed; kept only for `startup`, since an error retains the fiber it was made in. */
  lastError: HeartbeatError | undefined = undefined
  watchers: Set<Queue.Enqueue<LeaseNote>> | undefined = undefined

  constructor(
    /** `undefined` if the caller registers and deregisters the instance. */
    readonly record: SelfRecord | undefined,
    /** The key that was asked for; later ones are this with a random suffix. */
    readonly baseKey: string,
    public serviceId: ServiceId | undefined,
    public lease: Lease.Lease
  ) {
    this.instanceKey = baseKey
  }
}

const none: ReadonlyArray<never> = []

/** The server's limit is 128; the rest is for a suffix. */
const MAX_KEY_LENGTH = 120

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"

/** Four characters of Effect's `Random`. */
export const suffix: Effect.Effect<string> = Effect.map(
  Effect.all(Array.from({ length: 4 }, () => Random.nextIntBetween(0, ALPHABET.length))),
  (indices) => indices.map((index) => ALPHABET[index]).join("")
)

const processStart = Math.round(performance.timeOrigin).toString(36)

let registrations = 0

/**
 * Unique per registration: the server never revives the key of an instance that was stopped gracefully. The counter tells the
 * registrations of a process apart, the random part those of several copies of this library in it.
 */
const defaultKey = (host: string): Effect.Effect<string> =>
  Effect.map(suffix, (random) => {
    registrations++
    return `${host.slice(0, 80)}-${process.pid}-${processStart}-${registrations.toString(36)}-${random}`
  })

export const keyOf = (entry: LeaseEntry): LeaseKey | undefined =>
  entry.serviceId === undefined ? undefined : { serviceId: entry.serviceId, instanceKey: entry.instanceKey }

/** Another instance is listed under our key. */
export const isForeign = (listed: Instance, { host, instance }: SelfRecord): boolean =>
  listed.host !== host || listed.httpPort !== instance.httpPort || listed.grpcPort !== instance.grpcPort

/** The instance belongs to this service. */
export const isOf = ({ service }: SelfRecord, { name, project }: Named): boolean =>
  service.project === project && service.name === name

/** It has the id of `entry`, and is of another service. */
export const hasIdOf = ({ record, serviceId }: LeaseEntry, entry: LeaseEntry): boolean =>
  record !== undefined &&
  entry.record !== undefined &&
  serviceId === entry.serviceId &&
  !isOf(record, entry.record.service)

/** For logs: `shop/orders`. */
export const serviceName = ({ record, serviceId }: LeaseEntry): string =>
  record === undefined ? `service ${serviceId}` : `${record.service.project}/${record.service.name}`

/** For logs: `shop/orders as host-1234-…`. */
export const describe = (entry: LeaseEntry): string => `${serviceName(entry)} as ${entry.instanceKey}`

/** Two leases of one identity would have one key of one service. */
export const identity = ({ baseKey, record, serviceId }: LeaseEntry): string =>
  (record === undefined ? ["", serviceId, baseKey] : [record.service.project, record.service.name, baseKey]).join(
    "\u0000"
  )

/** Of a lease that the caller has registered: none. */
export const registrationAt = (entry: LeaseEntry, now: number): ReadonlyArray<RegistrationStatus> => {
  const { instanceKey, lease, record, wasLive } = entry
  return record === undefined
    ? none
    : [{ service: record.service, instanceKey, state: Lease.statusAt(lease, now), wasLive }]
}

/** The error for callers that wait when the lease is stopped. */
export const stopped = (entry: LeaseEntry): AioLeaseStopped =>
  new AioLeaseStopped({
    project: entry.record?.service.project,
    serviceName: entry.record?.service.name ?? String(entry.serviceId),
    instanceKey: entry.instanceKey,
    reason: "the registration was stopped"
  })

/** Tells the watchers. */
export const unsafeNote = (entry: LeaseEntry, note: LeaseNote): void => {
  if (entry.watchers !== undefined) for (const watcher of entry.watchers) watcher.unsafeOffer(note)
}

// Placeholders for the check: the real ones are known once the service is ensured.
const anyServiceId = ServiceId.make("1")
const anyHost = "localhost"

const DEFAULT_STARTUP_TIMEOUT = Duration.seconds(30)

/** How long a registration with `startup: "fail"` waits, checked. */
export const startupTimeout = (registration: NewRegistration): Either.Either<number, AioConfigError> =>
  Limits.durationMillis("startupTimeout", registration.startupTimeout ?? DEFAULT_STARTUP_TIMEOUT, 1)

/** Checks a registration; fails with `AioConfigError`. `host` is `undefined` while `"auto"` is not detected yet. */
export const make = (
  registration: NewRegistration,
  host: string | undefined,
  phase: number,
  settings: Settings
): Effect.Effect<LeaseEntry, AioConfigError> =>
  Effect.gen(function* () {
    const { host: _, instanceKey, ...described } = registration.instance
    const { drainDelay = settings.drainDelay, ttl = settings.ttl } = registration
    const instance = { ...described, env: described.env ?? settings.env, ttl }
    const baseKey = instanceKey ?? (yield* defaultKey(String(host ?? hostname())))
    yield* Wire.encodeEnsureService(registration.service)
    yield* Limits.text("instance.instanceKey", baseKey, { max: MAX_KEY_LENGTH, required: true })
    const ttlMillis = (yield* Limits.ttlSeconds("ttl", ttl)) * 1_000
    yield* Wire.encodeRegisterInstance({
      ...instance,
      host: host ?? anyHost,
      serviceId: anyServiceId,
      instanceKey: baseKey
    })
    const record: SelfRecord = {
      service: registration.service,
      instance: { ...instance, ttl: registration.ttl === undefined ? settings.ttl : Duration.millis(ttlMillis) },
      hasFixedKey: instanceKey !== undefined,
      ready: registration.ready,
      healthy: registration.healthy,
      drainDelay: yield* Limits.durationMillis("drainDelay", drainDelay, 0),
      host
    }
    return new LeaseEntry(record, baseKey, undefined, Lease.make({ ttl: ttlMillis, phase, timing: settings }))
  })

/** A lease that the caller has registered. Fails with `AioConfigError` for a bad key or TTL. */
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
      Lease.make({ ttl: seconds * 1_000, phase, timing: settings, registers: false })
    )
  })
