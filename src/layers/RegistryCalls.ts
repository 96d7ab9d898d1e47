/** What each method of `Registry` sends, and how it reads the answer: the same over gRPC and in memory. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as Logs from "../internal/logs.js"
import * as Metric from "../internal/metric.js"
import type { AioConfigError, AioWireError } from "../schemas/AioError.js"
import type { LeaseKey } from "../schemas/Ids.js"
import type { Registry, RegistryError } from "../services/Registry.js"
import * as Annotations from "../telemetry/Annotations.js"
import * as Labels from "../telemetry/Labels.js"
import * as Metrics from "../telemetry/Metrics.js"
import type * as Messages from "../wire/Messages.js"
import * as Wire from "../wire/Wire.js"
import * as LeasePort from "./lease/LeasePort.js"
import * as ViewPort from "./view/ViewPort.js"

export type Rpcs = Messages.RegistryService

export interface Reader<Response, A> {
  readonly decode: (response: Response) => Either.Either<Wire.Decoded<A>, AioWireError>
  /** The same from bytes, in slices: for answers that hold all instances, megabytes of a large registry. */
  readonly read?: (bytes: Buffer) => Wire.Reading<A>
}

/** Sends one request, unless it is invalid, and reads the answer. */
export type Run = <Name extends keyof Rpcs, A>(
  rpc: Name,
  request: Either.Either<Rpcs[Name]["request"], AioConfigError>,
  reader: Reader<Rpcs[Name]["response"], A>
) => Effect.Effect<A, RegistryError>

const reportSkips = (skips: Wire.Skips): Effect.Effect<void> =>
  Effect.suspend(() => {
    for (const { count, field, protoMessage } of skips.fields) {
      Metric.unsafeUpdate(Metrics.decodeSkips, count, Labels.decodeSkips(protoMessage, field))
    }
    return Logs.debug(`left out what did not decode, first of ${skips.total}: ${skips.first?.message}`).pipe(
      Annotations.from("Registry")
    )
  })

/** The value, once what was left out of it is reported. */
export const decoded = <A>(result: Either.Either<Wire.Decoded<A>, AioWireError>): Effect.Effect<A, AioWireError> => {
  if (Either.isLeft(result)) return Effect.fail(result.left)
  const { skipped, value } = result.right
  return skipped.total === 0 ? Effect.succeed(value) : Effect.as(reportSkips(skipped), value)
}

const list = { decode: Wire.decodeListServices, read: Wire.readListServices }
const service = { decode: Wire.decodeGetServiceByID, read: Wire.readGetServiceByID }
const ensured = { decode: Wire.decodeEnsureService }
const ignored = { decode: () => Wire.nothing }

export const calls = (run: Run) =>
  ({
    ensureService: (service) => run("ensureService", Wire.encodeEnsureService(service), ensured),
    listServices: (filter = {}) => run("listServices", Wire.encodeListServices(filter), list),
    getService: (id) => run("getServiceByID", Wire.encodeServiceId("id", id), service),
    registerInstance: (instance) =>
      run("registerInstance", Wire.encodeRegisterInstance(instance), {
        decode: (response) => Wire.decodeRegisterInstance(response, instance)
      }),
    deregisterInstance: (key) => run("deregisterInstance", Wire.encodeLeaseKey(key), ignored)
  }) satisfies Omit<Registry.Service, "heartbeats">

/** Tells views of each deregistration that is confirmed. */
export const make = (registry: Registry.Service, connection: LeasePort.LeasePort): Effect.Effect<Registry.Service> =>
  Effect.map(PubSub.unbounded<LeaseKey>(), (deregistered) => {
    const told: Registry.Service = {
      ...registry,
      deregisterInstance: (key) =>
        Effect.zipRight(registry.deregisterInstance(key), Effect.asVoid(PubSub.publish(deregistered, key)))
    }
    const deregistrations = Stream.fromPubSub(deregistered)
    return LeasePort.attach(ViewPort.attach(told, { deregistrations }), connection)
  })
