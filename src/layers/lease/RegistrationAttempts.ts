/** Attempts to register, in their turn, and what comes of them. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lease from "../../core/lease/Lease.js"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { HeartbeatError } from "../../services/Heartbeat.js"
import type { RegistryError } from "../../services/Registry.js"
import * as LeaseEntry from "./LeaseEntry.js"
import type { Registrar } from "./Registrar.js"
import type { ThrottledLog } from "./ThrottledLog.js"

type Dispatch = (entry: LeaseEntry.LeaseEntry, event: Lease.Event) => Effect.Effect<void>

const isPermanent = (error: HeartbeatError): boolean =>
  error._tag === "AioConfigError" ||
  error._tag === "AioCredentialsRejected" ||
  (error._tag === "AioRpcError" && StatusCode.isPermanent(error.code))

/** One attempt, made by `inTurn`, which ends by telling the lease how it ended. */
export const make = (
  registrar: Registrar,
  inTurn: (attempt: Effect.Effect<void>) => Effect.Effect<void>,
  dispatch: Dispatch,
  log: ThrottledLog
): ((entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean) => Effect.Effect<void>) => {
  const attempt = (entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean): Effect.Effect<void> =>
    Fibers.withFiber((fiber) => {
      // Stopped or paused between the asking and the first step of this.
      if (!Lease.isKept(entry.lease)) return Effect.void
      // By itself: whoever began this may learn of its fiber only after it has ended.
      entry.attempt = fiber
      return inTurn(Effect.suspend(() => made(entry, isUnderNewKey)))
    })

  const made = (entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean): Effect.Effect<void> => {
    const { record } = entry
    const { wanted } = entry.lease
    // Stopped or paused while it waited for its turn; without a record it never asks.
    if (record === undefined || !Lease.isKept(entry.lease)) return Effect.void
    const reason = wanted === "key_conflict" || wanted === "resumed" ? wanted : "dead_key"
    const before = isUnderNewKey ? registrar.changeKey(entry, reason) : Effect.void
    return Effect.matchCauseEffect(Effect.zipRight(before, registrar.register(entry, record)), {
      onSuccess: () => settle(entry, { _tag: "Registered" }),
      onFailure: (cause) => Effect.zipRight(failed(entry, cause), settle(entry, { _tag: "RegisterFailed" }))
    })
  }

  // What an attempt that was given up finds out does not concern the one that followed it.
  const settle: Dispatch = (entry, event) =>
    Fibers.withFiber((fiber) => {
      if (entry.attempt !== fiber) return Effect.void
      entry.attempt = undefined
      return dispatch(entry, event)
    })

  const failed = (entry: LeaseEntry.LeaseEntry, cause: Cause.Cause<RegistryError>): Effect.Effect<void> => {
    const failure = Cause.failureOption(cause)
    if (Option.isNone(failure)) {
      return Logs.error("registering failed unexpectedly, and is tried again", cause)
    }
    const error = failure.value
    const { settled } = entry
    if (settled !== undefined) entry.lastError = error
    const line = `registering ${LeaseEntry.describe(entry)} failed, and is tried again: ${error.message}`
    return Effect.zipRight(
      entry.lease.setbacks === 0
        ? (log.unsafeTell("warning", "registering failed, and is tried again", line) ?? Effect.void)
        : Logs.debug(line),
      settled !== undefined && isPermanent(error) ? Effect.asVoid(Deferred.fail(settled, error)) : Effect.void
    )
  }

  return attempt
}
