/** Instances that are configured and not looked up: for a laptop, a test, or a service that is in no registry. */
import * as Either from "effect/Either"
import * as Address from "./Address.js"
import { AioConfigError } from "./AioError.js"
import { InstanceId, ServiceId } from "./Ids.js"
import type { Endpoint, Instance } from "./Instance.js"
import type { JsonObject } from "./Json.js"
import * as Limits from "./Limits.js"
import type { ServiceWithInstances } from "./Service.js"

/**
 * An instance of `project`/`name`, in whatever env it is looked for. One of `endpoint`, `httpPort` and `grpcPort` must be
 * there. `instanceKey` is `host:port` unless given.
 *
 * @since 0.1.0
 * @category models
 */
export interface StaticInstance {
  readonly project: string
  readonly name: string
  readonly host: string
  readonly httpPort?: number | undefined
  readonly grpcPort?: number | undefined
  /** `host:port`, with a scheme or without. */
  readonly endpoint?: string | undefined
  readonly endpoints?: ReadonlyArray<Endpoint> | undefined
  readonly meta?: JsonObject | undefined
  readonly instanceKey?: string | undefined
}

/**
 * A list of instances, or a text: `shop/payments=127.0.0.1:8080`, several of them separated by commas, a service once for
 * each of its instances. The port of a text is taken for HTTP and gRPC alike.
 *
 * @since 0.1.0
 * @category models
 */
export type StaticInstances = string | ReadonlyArray<StaticInstance>

const EXPECTED = "project/name=host:port, several separated by commas, for example shop/payments=127.0.0.1:8080"

const parseOne = (field: string, text: string): Either.Either<StaticInstance, AioConfigError> => {
  const match = /^([^/=]+)\/([^/=]+)=(.+)$/.exec(text)
  if (match === null) {
    return Either.left(new AioConfigError({ field, problem: `has "${text}" in it`, expected: EXPECTED }))
  }
  const [, project = "", name = "", address = ""] = match
  return Either.map(Address.parse(field, address.trim()), ([{ host, port }]) => ({
    project: project.trim(),
    name: name.trim(),
    host,
    httpPort: port,
    grpcPort: port
  }))
}

const parse = (field: string, text: string): Either.Either<ReadonlyArray<StaticInstance>, AioConfigError> =>
  Either.all(
    text
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean)
      .map((part) => parseOne(field, part))
  )

const ifGiven = <A, B>(
  value: A | undefined,
  check: (value: A) => Either.Either<B, AioConfigError>
): Either.Either<B | undefined, AioConfigError> => (value === undefined ? Either.right(undefined) : check(value))

const check = (field: string, one: StaticInstance): Either.Either<StaticInstance, AioConfigError> =>
  Either.flatMap(
    Either.all([
      Limits.text(`${field}.project`, one.project, { max: Limits.maxLength.project, required: true }),
      Limits.text(`${field}.name`, one.name, { max: Limits.maxLength.name, required: true }),
      Limits.host(`${field}.host`, one.host),
      ifGiven(one.httpPort, (port) => Limits.port(`${field}.httpPort`, port)),
      ifGiven(one.grpcPort, (port) => Limits.port(`${field}.grpcPort`, port)),
      ifGiven(one.endpoint, (text) =>
        Limits.text(`${field}.endpoint`, text, { max: Limits.maxLength.endpoint, required: true })
      ),
      ifGiven(one.instanceKey, (text) =>
        Limits.text(`${field}.instanceKey`, text, { max: Limits.maxLength.instanceKey, required: true })
      )
    ]),
    () =>
      one.endpoint === undefined && one.httpPort === undefined && one.grpcPort === undefined
        ? Either.left(
            new AioConfigError({ field, problem: "has no address", expected: "an endpoint, an httpPort or a grpcPort" })
          )
        : Either.right(one)
  )

// The highest of all: what is asked of a registry about it finds nothing there.
const noService = ServiceId.make("9223372036854775807")

const toInstance = (one: StaticInstance, env: string): Instance => {
  const port = one.httpPort ?? one.grpcPort
  const address = port === undefined ? undefined : Address.format({ host: one.host, port })
  const endpoint = one.endpoint ?? address ?? ""
  return {
    id: InstanceId.make("0"),
    serviceId: noService,
    instanceKey: one.instanceKey ?? address ?? endpoint,
    env,
    host: one.host,
    endpoint,
    endpoints: one.endpoints ?? [],
    ...(one.httpPort === undefined ? {} : { httpPort: one.httpPort }),
    ...(one.grpcPort === undefined ? {} : { grpcPort: one.grpcPort }),
    meta: one.meta ?? {},
    ttlSeconds: 0,
    lastHeartbeatAt: 0,
    createdAt: 0,
    updatedAt: 0
  }
}

/**
 * The services of a project that are configured, with their instances in an env. A key that comes twice counts once, the last
 * time. Fails with `AioConfigError`, which names the instance and what is wrong with it.
 */
export const make = (
  field: string,
  given: StaticInstances
): Either.Either<(project: string, env: string) => ReadonlyArray<ServiceWithInstances>, AioConfigError> =>
  Either.map(
    Either.flatMap(typeof given === "string" ? parse(field, given) : Either.right(given), (list) =>
      Either.all(list.map((one, i) => check(typeof given === "string" ? field : `${field}[${i}]`, one)))
    ),
    (list) => {
      const byProject = new Map<string, Map<string, Array<StaticInstance>>>()
      for (const one of list) {
        const services = byProject.get(one.project) ?? new Map<string, Array<StaticInstance>>()
        services.set(one.name, [...(services.get(one.name) ?? []), one])
        byProject.set(one.project, services)
      }
      return (project, env) =>
        Array.from(byProject.get(project) ?? [], ([name, instances]) => ({
          service: {
            id: noService,
            project,
            name,
            owner: "",
            description: "",
            spec: {},
            createdAt: 0,
            updatedAt: 0
          },
          instances: Array.from(
            new Map(instances.map((one) => toInstance(one, env)).map((one) => [one.instanceKey, one])).values()
          )
        }))
    }
  )
