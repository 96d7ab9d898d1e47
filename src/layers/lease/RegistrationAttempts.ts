/** Attempts to register, and their outcomes. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Lease from "../../core/lease/Lease.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as Monotonic from "../../internal/monotonic.js"
import { AioRpcError, isNotFound } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { HeartbeatError, LeaseEvent } from "../../services/Heartbeat.js"
import type { RegistryError } from "../../services/Registry.js"
import type { LeaseDeps } from "./Dispatch.js"
import * as Dispatch from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import type * as RegistrationLimiter from "./RegistrationLimiter.js"
import type { Ensured, ServiceIds } from "./ServiceIds.js"
import * as Strays from "./Strays.js"

type KeyChange = Extract<LeaseEvent, { readonly _tag: "KeyChanged" }>["reason"]

const logKeyChange = {
  dead_key: (from: string, to: string) =>
    Logs.warning(
      `the registry accepts ${from} but never renews it (deregistered or deleted before): registering as ${to}`
    ),
  key_conflict: (from: string, to: string) =>
    Logs.warning(`${from} is registered by another process: registering as ${to}`),
  resumed: (from: string, to: string) => Logs.debug(`${from} was deregistered: registering as ${to}`)
}

const isPermanent = (error: HeartbeatError): boolean =>
  error._tag === "AioConfigError" ||
  error._tag === "AioCredentialsRejected" ||
  (error._tag === "AioRpcError" && StatusCode.isPermanent(error.code))

/** A registration that takes longer: its outcome counts as unknown. */
const REGISTER_TIMEOUT_MILLIS = 10_000

export interface Queues {
  /** Of attempts. */
  readonly inTurn: RegistrationLimiter.InTurn
  /** Of what follows them: a registry that is slow to deregister must hold up no registration. */
  readonly aside: RegistrationLimiter.InTurn
}

/**
 * The server has carried it out by now, or never will: the deadline has passed, the connection broke, the answer cannot be
 * read, or something failed in the server, after it wrote the record perhaps.
 */
const isOverUnknown = (failure: RegistryError): boolean => {
  if (failure._tag !== "AioRpcError") return failure._tag === "AioWireError"
  const { DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE } = StatusCode.StatusCode
  return [DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE].some((code) => code === failure.code)
}

/** What the server may hold after an attempt; it carries out one of unknown outcome until `until`, the attempt's deadline. */
const unsafeNoteOutcome = (
  entry: LeaseEntry.LeaseEntry,
  exit: Exit.Exit<unknown, RegistryError>,
  until: number
): void => {
  entry.sending = false
  const failure = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Cause.failureOption(exit.cause))
  const isOver = failure !== undefined && isOverUnknown(failure)
  const isUnknown = failure?._tag === "AioRpcError" && failure.code === StatusCode.StatusCode.UNKNOWN
  if (failure !== undefined && !isOver && !isUnknown) {
    entry.unconfirmed = false
    return
  }
  entry.wasRegistered ||= Exit.isSuccess(exit)
  entry.maybeRegistered = true
  entry.uncertainUntil = Exit.isSuccess(exit) || isOver ? Number.NEGATIVE_INFINITY : until
}

/**
 * One attempt, run by `inTurn`, that tells the lease its outcome; then, run by `aside`, its strays are taken off. `localHost`
 * is the host of an instance without one. The id of the service is asked for in each attempt: the registry may have another
 * database since the last one.
 */
export const make = (
  deps: LeaseDeps,
  localHost: Effect.Effect<string, RegistryError>,
  { aside, inTurn }: Queues,
  serviceIds: ServiceIds
): ((entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean) => Effect.Effect<void>) => {
  const { clock, dispatch, entries, log, registry, unsafeDispatch } = deps
  // Disconnected: a registry that cannot be interrupted must not hold up its lease.
  const timely = <A>(name: "RegisterInstance" | "DeregisterInstance", effect: Effect.Effect<A, RegistryError>) =>
    Effect.timeoutFail(Fibers.disconnect(effect), {
      duration: REGISTER_TIMEOUT_MILLIS,
      onTimeout: () =>
        new AioRpcError({
          method: `RegistryService/${name}`,
          code: StatusCode.StatusCode.DEADLINE_EXCEEDED,
          details: `no answer within ${Duration.format(Duration.millis(REGISTER_TIMEOUT_MILLIS))}`
        })
    })

  // What was known of the former id says nothing about the new one; and a lease of another service that still has the new
  // id has lost its own, though its heartbeats may renew this instance.
  const moved = (entry: LeaseEntry.LeaseEntry, ensured: Ensured): Effect.Effect<void> => {
    entry.maybeRegistered = false
    entry.uncertainUntil = Number.NEGATIVE_INFINITY
    const others = ensured.isTold ? [] : [...entries].filter((other) => LeaseEntry.hasIdOf(other, entry))
    ensured.isTold = true
    return Dispatch.forEach([entry, ...others], (one) =>
      unsafeDispatch(one, { _tag: one === entry ? "Moved" : "ServiceGone" })
    )
  }

  const ensure = (
    entry: LeaseEntry.LeaseEntry,
    { service }: LeaseEntry.SelfRecord
  ): Effect.Effect<void, RegistryError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(serviceIds.find(service, entry)), (ensured) => {
        const former = LeaseEntry.keyOf(entry)
        entry.ensured = ensured
        entry.serviceId = ensured.id
        if (former === undefined || former.serviceId === ensured.id) return Effect.void
        if (entry.unconfirmed) Strays.unsafeAdd(entry, { key: former, seen: undefined })
        entry.unconfirmed = false
        return moved(entry, ensured)
      })
    )

  const send = (
    entry: LeaseEntry.LeaseEntry,
    { instance }: LeaseEntry.SelfRecord,
    host: string
  ): Effect.Effect<void, RegistryError> =>
    Effect.suspend(() => {
      const { instanceKey, serviceId } = entry
      // A stop that has begun meanwhile waits for this to end.
      if (serviceId === undefined || !Lease.isKept(entry.lease)) return Effect.void
      const until = Monotonic.unsafeNow(clock) + REGISTER_TIMEOUT_MILLIS
      entry.sending = true
      entry.unconfirmed = true
      return timely("RegisterInstance", registry.registerInstance({ ...instance, host, serviceId, instanceKey })).pipe(
        Effect.onExit((exit) => Effect.sync(() => unsafeNoteOutcome(entry, exit, until))),
        Effect.asVoid
      )
    })

  // A registration that was sent before an outage, or repeated after it, may have met another database.
  const confirm = (
    entry: LeaseEntry.LeaseEntry,
    record: LeaseEntry.SelfRecord,
    host: string
  ): Effect.Effect<void, RegistryError> =>
    Effect.gen(function* () {
      while (Lease.isKept(entry.lease) && entry.ensured !== undefined && !serviceIds.isCurrent(entry.ensured)) {
        const former = entry.serviceId
        yield* ensure(entry, record)
        if (former !== entry.serviceId) yield* send(entry, record, host)
      }
      // A stop has kept it from being asked for again: what was sent may be under another service.
      if (entry.ensured !== undefined && !serviceIds.isCurrent(entry.ensured)) return
      entry.unconfirmed = false
      Strays.unsafeDropOwn(entry)
    })

  const register = (
    entry: LeaseEntry.LeaseEntry,
    record: LeaseEntry.SelfRecord,
    host: string
  ): Effect.Effect<void, RegistryError> =>
    Effect.catchIf(send(entry, record, host), isNotFound, () =>
      // Deleted since it was ensured.
      Effect.zipRight(ensure(entry, record), send(entry, record, host))
    ).pipe(Effect.zipRight(confirm(entry, record, host)))

  // A random suffix, since a counter would cost each later start of the process one more dead key. A dead key is
  // deregistered first, which removes its stale record from the list; if that fails, so does this, and the key stays.
  const changeKey = (entry: LeaseEntry.LeaseEntry, reason: KeyChange): Effect.Effect<void, RegistryError> =>
    Effect.gen(function* () {
      const from = entry.instanceKey
      const key = LeaseEntry.keyOf(entry)
      if (reason === "dead_key" && key !== undefined && entry.maybeRegistered) {
        yield* timely("DeregisterInstance", registry.deregisterInstance(key))
      }
      const to = `${entry.baseKey}~${yield* LeaseEntry.suffix}`
      entry.instanceKey = to
      entry.unconfirmed = false
      entry.maybeRegistered = false
      entry.uncertainUntil = Number.NEGATIVE_INFINITY
      LeaseEntry.unsafeNote(entry, { _tag: "KeyChanged", from, to, reason })
      yield* logKeyChange[reason](from, to)
    })

  // A stop does it by itself.
  const takeStraysOff = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
    entry.strays.length > 0 && Lease.isKept(entry.lease) ? aside(Strays.takeOff(deps, entry)) : Effect.void

  const attempt = (entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean): Effect.Effect<void> => {
    const { record } = entry
    const { wanted } = entry.lease
    // Stopped or paused while it waited for its turn.
    if (record === undefined || !Lease.isKept(entry.lease)) return Effect.void
    if (Lease.isRenewed(entry.lease)) return settle(entry, { _tag: "RegisterFailed" })
    const reason = wanted === "key_conflict" || wanted === "resumed" ? wanted : "dead_key"
    const attempted = Effect.gen(function* () {
      const host = record.host ?? (yield* localHost)
      record.host = host
      yield* ensure(entry, record)
      if (isUnderNewKey) yield* changeKey(entry, reason)
      yield* register(entry, record, host)
    })
    return Effect.matchCauseEffect(attempted, {
      // Not where a stop kept it from being sent.
      onSuccess: () => settle(entry, { _tag: entry.maybeRegistered ? "Registered" : "RegisterFailed" }),
      onFailure: (cause) => Effect.zipRight(failed(entry, cause), settle(entry, { _tag: "RegisterFailed" }))
    })
  }

  // The outcome of an abandoned attempt says nothing about the one that followed.
  const settle: Dispatch.Dispatch = (entry, event) =>
    Fibers.withFiber((fiber) => {
      if (entry.attempt !== fiber) return Effect.void
      entry.attempt = undefined
      return dispatch(entry, event)
    })

  const failed = (entry: LeaseEntry.LeaseEntry, cause: Cause.Cause<RegistryError>): Effect.Effect<void> => {
    const failure = Cause.failureOption(cause)
    if (Option.isNone(failure)) {
      return Logs.error("registration failed unexpectedly, retrying after a backoff", cause)
    }
    const error = failure.value
    const { startup } = entry
    if (startup !== undefined) entry.lastError = error
    const line = `registration of ${LeaseEntry.describe(entry)} failed, retrying after a backoff: ${error.message}`
    return Effect.zipRight(
      entry.lease.setbacks === 0
        ? (log.unsafeLog("warning", "registration failed, retrying after a backoff", line) ?? Effect.void)
        : Logs.debug(line),
      startup !== undefined && isPermanent(error) ? Effect.asVoid(Deferred.fail(startup.live, error)) : Effect.void
    )
  }

  return (entry, isUnderNewKey) =>
    Fibers.withFiber((fiber) => {
      // Stopped or paused before this fiber began.
      if (!Lease.isKept(entry.lease)) return Effect.void
      // Set here: this fiber may end before the one that forked it goes on.
      entry.attempt = fiber
      return Effect.zipRight(
        inTurn(Effect.suspend(() => attempt(entry, isUnderNewKey))),
        Effect.suspend(() => takeStraysOff(entry))
      )
    })
}
