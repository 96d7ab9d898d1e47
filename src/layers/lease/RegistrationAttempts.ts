/** Attempts to register, and their outcomes. */
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
import type { Dispatch } from "./Dispatch.js"
import * as LeaseEntry from "./LeaseEntry.js"
import type { Registrar } from "./Registrar.js"
import type { ThrottledLog } from "./ThrottledLog.js"

const isPermanent = (error: HeartbeatError): boolean =>
  error._tag === "AioConfigError" ||
  error._tag === "AioCredentialsRejected" ||
  (error._tag === "AioRpcError" && StatusCode.isPermanent(error.code))

/** One attempt, run by `inTurn`, that tells the lease its outcome. */
export const make = (
  registrar: Registrar,
  inTurn: (attempt: Effect.Effect<void>) => Effect.Effect<void>,
  dispatch: Dispatch,
  log: ThrottledLog
): ((entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean) => Effect.Effect<void>) => {
  const attempt = (entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean): Effect.Effect<void> =>
    Fibers.withFiber((fiber) => {
      // Stopped or paused before this fiber began.
      if (!Lease.isKept(entry.lease)) return Effect.void
      // Set here: this fiber may end before the one that forked it goes on.
      entry.attempt = fiber
      return inTurn(Effect.suspend(() => made(entry, isUnderNewKey)))
    })

  const made = (entry: LeaseEntry.LeaseEntry, isUnderNewKey: boolean): Effect.Effect<void> => {
    const { record } = entry
    const { wanted } = entry.lease
    // Stopped or paused while it waited for its turn.
    if (record === undefined || !Lease.isKept(entry.lease)) return Effect.void
    const reason = wanted === "key_conflict" || wanted === "resumed" ? wanted : "dead_key"
    const before = isUnderNewKey ? registrar.changeKey(entry, reason) : Effect.void
    return Effect.matchCauseEffect(Effect.zipRight(before, registrar.register(entry, record)), {
      onSuccess: () => settle(entry, { _tag: "Registered" }),
      onFailure: (cause) => Effect.zipRight(failed(entry, cause), settle(entry, { _tag: "RegisterFailed" }))
    })
  }

  // The outcome of an abandoned attempt says nothing about the one that followed.
  const settle: Dispatch = (entry, event) =>
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
    const { settled } = entry
    if (settled !== undefined) entry.lastError = error
    const line = `registration of ${LeaseEntry.describe(entry)} failed, retrying after a backoff: ${error.message}`
    return Effect.zipRight(
      entry.lease.setbacks === 0
        ? (log.unsafeLog("warning", "registration failed, retrying after a backoff", line) ?? Effect.void)
        : Logs.debug(line),
      settled !== undefined && isPermanent(error) ? Effect.asVoid(Deferred.fail(settled, error)) : Effect.void
    )
  }

  return attempt
}
