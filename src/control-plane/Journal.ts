/** What reached a control plane: every call, by whom, about which lease, and how it ended. */

import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as ServerHost from "../grpc/server/ServerHost.js"
import * as Faults from "../internal/faults.js"
import * as Fibers from "../internal/fibers.js"
import type { RegistryMemory } from "../layers/RegistryMemory.js"
import { type LeaseKey, ServiceId } from "../schemas/Ids.js"
import { StatusCode } from "../schemas/StatusCode.js"

/**
 * The rpcs, by the names that the services of this library have for them.
 *
 * @since 0.1.0
 * @category models
 */
export type Method = RegistryMemory.Method | "authenticateClient" | "renewToken"

/**
 * A call that reached the control plane. A stream of heartbeats is one call without a `key` when it opens, and one with
 * a `key` for each beat. Reflection is not noted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Call {
  readonly method: Method
  /** Whose token it carried, or who authenticated; none where the token was no good. */
  readonly clientKey: Option.Option<string>
  /** What the call is about: the lease, or for `getService` the service's id alone. */
  readonly key: Option.Option<LeaseKey>
  readonly serviceId: Option.Option<ServiceId>
  /** When it came: milliseconds since the epoch, on Effect's clock, whatever the control plane takes the time to be. */
  readonly at: number
  /** The gRPC status that it was answered with; none while it is not, and where the client went away. */
  readonly code: Option.Option<number>
  /**
   * Whether the client went away, or its deadline passed, before this was answered. A stream that it leaves between two
   * beats ends with `OK`.
   */
  readonly interrupted: boolean
}

/** A call that may still be going on. */
export interface Entry {
  readonly method: Method
  readonly at: number
  clientKey: string | undefined
  key: LeaseKey | undefined
  serviceId: ServiceId | undefined
  code: number | undefined
  interrupted: boolean
}

// A development server runs for months.
const KEPT = 50_000

// Requests come as anything that the descriptors allow; what names nothing is noted as nothing.
const decodeLease = Schema.decodeUnknownOption(Schema.Struct({ service_id: ServiceId, instance_key: Schema.String }))
const decodeId = Schema.decodeUnknownOption(Schema.Struct({ id: ServiceId }))

const noteSubject = (entry: Entry, request: object): void => {
  const lease = decodeLease(request)
  if (Option.isSome(lease)) {
    entry.serviceId = lease.value.service_id
    entry.key = { serviceId: lease.value.service_id, instanceKey: lease.value.instance_key }
  }
  const id = decodeId(request)
  if (Option.isSome(id)) entry.serviceId = id.value.id
}

const asCall = (entry: Entry): Call => ({
  method: entry.method,
  clientKey: Option.fromNullable(entry.clientKey),
  key: Option.fromNullable(entry.key),
  serviceId: Option.fromNullable(entry.serviceId),
  at: entry.at,
  code: Option.fromNullable(entry.code),
  interrupted: entry.interrupted
})

/** How an exit looks on the wire. */
export const noteExit = (entry: Entry, exit: Exit.Exit<unknown, ServerHost.Failure>): void => {
  if (Exit.isSuccess(exit)) {
    entry.code = StatusCode.OK
  } else if (Exit.isInterrupted(exit)) {
    entry.interrupted = true
  } else {
    entry.code = Option.match(Cause.failureOption(exit.cause), {
      onNone: () => StatusCode.INTERNAL,
      onSome: ({ code }) => code
    })
  }
}

/**
 * `clock` is what `at` goes by. The call that a fiber serves is kept with the fiber, so that whoever finds out more
 * about it, such as whose token it carries, can add that.
 */
export const make = (clock: Clock.Clock) => {
  const journal = Faults.makeJournal<Entry>(KEPT)
  const served = Fibers.local<Entry | undefined>("served", undefined)
  const begin = (method: Method): Entry => {
    const entry: Entry = {
      method,
      at: clock.unsafeCurrentTimeMillis(),
      clientKey: undefined,
      key: undefined,
      serviceId: undefined,
      code: undefined,
      interrupted: false
    }
    journal.add(entry)
    return entry
  }
  const noted = <A, R>(
    request: object,
    answer: Effect.Effect<A, ServerHost.Failure, R>,
    entries: (entry: Entry | undefined) => ReadonlyArray<Entry>
  ): Effect.Effect<A, ServerHost.Failure, R> =>
    Effect.flatMap(served.get, (current) => {
      const [entry, stream] = entries(current)
      if (entry === undefined) return answer
      noteSubject(entry, request)
      return Effect.onExit(answer, (exit) =>
        Effect.sync(() => {
          noteExit(entry, exit)
          // What a beat fails with, its stream ends with.
          if (stream !== undefined && Exit.isFailure(exit)) noteExit(stream, exit)
        })
      )
    })
  return {
    /** A call has come: from now on it is the one that this fiber serves. */
    arrived: (method: Method): Effect.Effect<Entry> =>
      Effect.suspend(() => {
        const entry = begin(method)
        return Effect.as(served.set(entry), entry)
      }),
    isFrom: (clientKey: string): Effect.Effect<void> =>
      Effect.map(served.get, (entry) => {
        if (entry !== undefined) entry.clientKey = clientKey
      }),
    /** The answer to the call that this fiber serves. */
    answered: <A, R>(request: object, answer: Effect.Effect<A, ServerHost.Failure, R>) =>
      noted(request, answer, (call) => (call === undefined ? [] : [call])),
    /** The answer to a beat on the stream that this fiber serves. */
    beat: <A, R>(request: object, answer: Effect.Effect<A, ServerHost.Failure, R>) =>
      noted(request, answer, (stream) => {
        const entry = begin("heartbeats")
        entry.clientKey = stream?.clientKey
        return stream === undefined ? [entry] : [entry, stream]
      }),
    calls: Effect.sync((): ReadonlyArray<Call> => journal.entries().map(asCall)),
    clearJournal: Effect.sync(journal.clear)
  }
}
