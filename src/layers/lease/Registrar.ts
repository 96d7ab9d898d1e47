/** The unary rpcs of a lease: ensure the service, register, deregister. */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import { type AioError, AioRpcError, isNotFound } from "../../schemas/AioError.js"
import type { LeaseKey, ServiceId } from "../../schemas/Ids.js"
import type { Instance } from "../../schemas/Instance.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { LeaseEvent } from "../../services/Heartbeat.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as LeaseEntry from "./LeaseEntry.js"

export interface Registrar {
  /**
   * Ensures the service unless its id is known, and registers under the present key. A service that was deleted meanwhile
   * is ensured once more; the former id stays until then, for heartbeats in flight.
   */
  readonly register: (entry: LeaseEntry.LeaseEntry, record: LeaseEntry.SelfRecord) => Effect.Effect<void, RegistryError>
  /**
   * Changes the key: a random suffix, since a counter would cost each later start of the process one more dead key. A dead
   * key is deregistered first, which removes its stale record from the list; if that fails, so does this, and the key stays.
   */
  readonly changeKey: (
    entry: LeaseEntry.LeaseEntry,
    reason: Extract<LeaseEvent, { readonly _tag: "KeyChanged" }>["reason"]
  ) => Effect.Effect<void, RegistryError>
  /**
   * Deregisters: waits a moment for a registration in flight, and if its outcome is unknown, deregisters once more after its
   * deadline. Never fails; a record that could not be deregistered expires by its TTL.
   */
  readonly end: (entry: LeaseEntry.LeaseEntry) => Effect.Effect<void>
}

/** Its deadline has passed: the server has carried it out, or never will. */
const isOverdue = (error: AioError): boolean =>
  error._tag === "AioRpcError" && error.code === StatusCode.DEADLINE_EXCEEDED

/** The connection broke, or there was none: the server has carried it out by now, or never will. */
const isBroken = (error: AioError): boolean => error._tag === "AioRpcError" && error.code === StatusCode.UNAVAILABLE

/** The server may have stored the record, and only the answer was lost. */
const isUncertain = (error: AioError): boolean =>
  isOverdue(error) || isBroken(error) || (error._tag === "AioRpcError" && error.code === StatusCode.UNKNOWN)

/** A registration that takes longer: its outcome counts as unknown. */
const REGISTER_TIMEOUT_MILLIS = 10_000

/** How long a stop waits for a registration in flight. */
const REGISTER_GRACE = "2 seconds"

/** Of each of the two attempts. */
const DEREGISTER_TIMEOUT = "2 seconds"

/** Checking who is registered under our key must not hold up a stop. */
const LOOK_TIMEOUT = "1 second"

/** Another instance is listed under our key. */
export const isForeign = (listed: Instance, { host, instance }: LeaseEntry.SelfRecord): boolean =>
  listed.host !== host || listed.httpPort !== instance.httpPort || listed.grpcPort !== instance.grpcPort

/** What is listed under our key, in our env. */
const findListed = (
  instances: ReadonlyArray<Instance>,
  entry: LeaseEntry.LeaseEntry,
  record: LeaseEntry.SelfRecord
): Instance | undefined =>
  instances.find(({ env, instanceKey }) => instanceKey === entry.instanceKey && env === record.instance.env)

const log = {
  dead_key: (from: string, to: string) =>
    Logs.warning(
      `the registry accepts ${from} but never renews it (deregistered or deleted before): registering as ${to}`
    ),
  key_conflict: (from: string, to: string) =>
    Logs.warning(`${from} is registered by another process: registering as ${to}`),
  resumed: (from: string, to: string) => Logs.debug(`${from} was deregistered: registering as ${to}`)
}

export const make = (
  registry: Registry.Service,
  clock: Clock.Clock,
  localHost: Effect.Effect<string, RegistryError>
): Registrar => {
  const now = () => Monotonic.unsafeNow(clock)
  const timely = Effect.timeoutFail({
    duration: REGISTER_TIMEOUT_MILLIS,
    onTimeout: () =>
      new AioRpcError({
        method: "RegistryService/RegisterInstance",
        code: StatusCode.DEADLINE_EXCEEDED,
        details: `no answer within ${Duration.format(Duration.millis(REGISTER_TIMEOUT_MILLIS))}`
      })
  })

  // If it was interrupted or not answered in time, the server may still carry it out until its deadline.
  const noteOutcome = (entry: LeaseEntry.LeaseEntry, until: number) => (exit: Exit.Exit<unknown, RegistryError>) =>
    Effect.sync(() => {
      entry.sending = false
      if (Exit.isSuccess(exit)) {
        entry.wasRegistered = true
        entry.maybeRegistered = true
        entry.uncertainUntil = Number.NEGATIVE_INFINITY
      } else {
        const failure = Option.getOrUndefined(Cause.failureOption(exit.cause))
        if (failure !== undefined && !isUncertain(failure)) return
        entry.maybeRegistered = true
        const isOver = failure !== undefined && (isOverdue(failure) || isBroken(failure))
        entry.uncertainUntil = isOver ? Number.NEGATIVE_INFINITY : until
      }
    })

  const ensureAndRegister = (
    entry: LeaseEntry.LeaseEntry,
    record: LeaseEntry.SelfRecord,
    known: ServiceId | undefined
  ): Effect.Effect<void, RegistryError> =>
    Effect.gen(function* () {
      const host = record.host ?? (yield* localHost)
      record.host = host
      const serviceId = known ?? (yield* registry.ensureService(record.service)).service.id
      entry.serviceId = serviceId
      const until = now() + REGISTER_TIMEOUT_MILLIS
      entry.sending = true
      yield* registry
        .registerInstance(LeaseEntry.toInstance(entry, record, host, serviceId))
        .pipe(timely, Effect.onExit(noteOutcome(entry, until)))
    })

  const deregister = (key: LeaseKey) =>
    registry.deregisterInstance(key).pipe(Effect.interruptible, Effect.timeout(DEREGISTER_TIMEOUT))

  /** Two attempts: a registry that is unavailable must not hold up a shutdown. */
  const deregisterTwice = (entry: LeaseEntry.LeaseEntry, key: LeaseKey): Effect.Effect<void> =>
    Effect.retry(deregister(key), { times: 1 }).pipe(
      Effect.catchAll((error) =>
        Logs.warning(
          `deregistration of ${LeaseEntry.describe(entry)} failed, its lease expires by its TTL: ${error.message}`
        )
      )
    )

  const awaitAttempt = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { attempt } = entry
      if (attempt === undefined) return Effect.void
      // Still waiting for its turn or for the service: nothing was sent.
      if (!entry.sending) return Fiber.interrupt(attempt)
      return Fiber.await(attempt).pipe(
        Effect.timeoutOption(REGISTER_GRACE),
        Effect.flatMap((ended) => (Option.isSome(ended) ? Effect.void : Fiber.interrupt(attempt)))
      )
    })

  // Two processes may have the same fixed key: one must not deregister the other.
  const isTaken = (entry: LeaseEntry.LeaseEntry, record: LeaseEntry.SelfRecord, key: LeaseKey) =>
    record.hasFixedKey && entry.instanceKey === entry.baseKey
      ? Effect.match(Effect.timeout(registry.getService(key.serviceId), LOOK_TIMEOUT), {
          onFailure: () => false,
          onSuccess: ({ instances }) => {
            const listed = findListed(instances, entry, record)
            return listed !== undefined && isForeign(listed, record)
          }
        })
      : Effect.succeed(false)

  return {
    register: (entry, record) =>
      Effect.catchIf(
        Effect.suspend(() => ensureAndRegister(entry, record, entry.serviceId)),
        (error) => isNotFound(error),
        () => ensureAndRegister(entry, record, undefined)
      ),
    changeKey: (entry, reason) =>
      Effect.gen(function* () {
        const from = entry.instanceKey
        const key = LeaseEntry.keyOf(entry)
        if (reason === "dead_key" && key !== undefined) {
          yield* timely(registry.deregisterInstance(key))
        }
        const to = `${entry.baseKey}~${yield* LeaseEntry.suffix}`
        entry.instanceKey = to
        entry.maybeRegistered = false
        entry.uncertainUntil = Number.NEGATIVE_INFINITY
        LeaseEntry.unsafeNote(entry, { _tag: "KeyChanged", from, to, reason })
        yield* log[reason](from, to)
      }),
    end: (entry) =>
      Effect.gen(function* () {
        const { record } = entry
        if (record === undefined) return
        yield* awaitAttempt(entry)
        const key = LeaseEntry.keyOf(entry)
        if (!entry.maybeRegistered || key === undefined) return
        if (yield* isTaken(entry, record, key)) {
          yield* Logs.warning(`${LeaseEntry.describe(entry)} is registered by another process: not deregistered`)
          return
        }
        yield* deregisterTwice(entry, key)
        const left = entry.uncertainUntil - now()
        if (left > 0)
          yield* Effect.zipRight(Effect.sleep(Duration.millis(Math.ceil(left))), deregisterTwice(entry, key))
        entry.maybeRegistered = false
      })
  }
}
