/**
 * The rpcs of a lease that are not beats: ensuring the service, registering, deregistering.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { type AioError, isNotFound } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { Registry, RegistryError } from "../../services/Registry.js"
import * as LeaseEntry from "./LeaseEntry.js"

/** Two tries of this long, so that a registry that is away holds up nobody's shutdown. */
const DEREGISTER_TIMEOUT = "2 seconds"

/** How long a stop waits for a registration that is on its way. */
const REGISTER_GRACE = "2 seconds"

/** After these the server may well have stored the record, and only the answer got lost. */
const isUncertain = (error: AioError): boolean =>
  error._tag === "AioRpcError" && (error.code === StatusCode.DEADLINE_EXCEEDED || error.code === StatusCode.UNKNOWN)

const ensureAndRegister = (
  registry: Registry.Service,
  entry: LeaseEntry.LeaseEntry,
  known: ServiceId | undefined
): Effect.Effect<void, RegistryError> =>
  Effect.gen(function* () {
    const serviceId = known ?? (yield* registry.ensureService(entry.service)).service.id
    entry.serviceId = serviceId
    yield* registry.registerInstance(LeaseEntry.toInstance(entry, serviceId)).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          if (isUncertain(error)) entry.maybeRegistered = true
        })
      ),
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          entry.maybeRegistered = true
        })
      )
    )
    entry.maybeRegistered = true
  })

/**
 * Ensures the service unless its id is known, and registers under the present key. A service that was deleted meanwhile is
 * ensured once more. The former id stays until there is another: a beat on its way needs one, and is answered 0 under it.
 *
 * @since 0.1.0
 * @category operations
 */
export const register = (
  registry: Registry.Service,
  entry: LeaseEntry.LeaseEntry
): Effect.Effect<void, RegistryError> =>
  Effect.catchIf(
    Effect.suspend(() => ensureAndRegister(registry, entry, entry.serviceId)),
    (error) => isNotFound(error),
    () => ensureAndRegister(registry, entry, undefined)
  )

const deregister = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry) =>
  entry.serviceId === undefined
    ? Effect.void
    : registry
        .deregisterInstance({ serviceId: entry.serviceId, instanceKey: entry.instanceKey })
        .pipe(Effect.interruptible, Effect.timeout(DEREGISTER_TIMEOUT))

/**
 * Takes the ghost of a key that the server will not revive off the list, and goes on under another key: a random suffix
 * rather than a counter, so that each later start of the process pays for one such change and not for one more each time.
 *
 * @since 0.1.0
 * @category operations
 */
export const changeKey = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
  Effect.gen(function* () {
    const former = entry.instanceKey
    yield* Effect.ignore(deregister(registry, entry))
    entry.instanceKey = `${entry.baseKey}~${yield* LeaseEntry.suffix}`
    entry.maybeRegistered = false
    yield* Effect.logWarning(
      `the registry accepts ${former} but never renews it: the key was deregistered or deleted before, and is never revived; registering as ${entry.instanceKey}`
    )
  })

const awaitAttempt = (entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
  entry.attempt === undefined
    ? Effect.void
    : Fiber.await(entry.attempt).pipe(
        Effect.interruptible,
        Effect.timeoutOption(REGISTER_GRACE),
        Effect.flatMap((ended) =>
          Option.isSome(ended) || entry.attempt === undefined ? Effect.void : Fiber.interruptFork(entry.attempt)
        )
      )

/**
 * What is left to do when a lease ends: wait a moment for a registration that is on its way, then deregister what the
 * server may hold. Never fails, and takes 6 seconds at the most; a record that could not be taken off ends with its TTL.
 *
 * @since 0.1.0
 * @category operations
 */
export const end = (registry: Registry.Service, entry: LeaseEntry.LeaseEntry): Effect.Effect<void> =>
  Effect.gen(function* () {
    const wasOnItsWay = entry.lease.registering
    yield* awaitAttempt(entry)
    if (!entry.maybeRegistered && !wasOnItsWay) return
    yield* Effect.retry(deregister(registry, entry), { times: 1 }).pipe(
      Effect.catchAll((error) =>
        Effect.logWarning(
          `${LeaseEntry.describe(entry)} could not be deregistered; its lease ends by itself: ${error.message}`
        )
      )
    )
  })
