/**
 * The registry's address.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Either from "effect/Either"
import { AioConfigError } from "./AioError.js"
import type { Instance } from "./Instance.js"

/**
 * A host (without brackets) and a port. `isLoopback` is known without asking a resolver: `localhost`, `127.0.0.0/8` and
 * `::1`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly host: string
  readonly port: number
  readonly isLoopback: boolean
}

const EXPECTED = "host:port, [ipv6]:port or several of them separated by commas, for example localhost:50051"

/**
 * `localhost`, `127.0.0.0/8` and `::1`, without asking a resolver. Of a host without brackets.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isLoopback = (host: string): boolean =>
  /^localhost$/i.test(host) || /\.localhost$/i.test(host) || /^127(\.[0-9]{1,3}){3}$/.test(host) || host === "::1"

const parseOne = (field: string, text: string): Either.Either<Address, AioConfigError> => {
  const fail = (problem: string) => Either.left(new AioConfigError({ field, problem, expected: EXPECTED }))
  if (text.includes("://")) return fail(`"${text}" has a scheme`)
  const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:/[\]]+)):([0-9]+)$/.exec(text)
  if (match === null) {
    return fail(/:[0-9]+$/.test(text) ? `"${text}" is no address` : `"${text}" has no port`)
  }
  const host = match[1] ?? match[2] ?? ""
  const port = Number(match[3])
  return port >= 1 && port <= 65_535
    ? Either.right({ host, port, isLoopback: isLoopback(host) })
    : fail(`"${text}" has port ${match[3]}, outside 1 to 65535`)
}

/**
 * One or more addresses, separated by commas; spaces and empty parts are ignored, as AIO's other clients do. At least one
 * must be there, and each must be whole.
 *
 * @since 0.1.0
 * @category constructors
 */
export const parse = (
  field: string,
  text: string | ReadonlyArray<string>
): Either.Either<Arr.NonEmptyReadonlyArray<Address>, AioConfigError> => {
  const parts = (typeof text === "string" ? text.split(",") : text).map((part) => part.trim()).filter(Boolean)
  return Arr.isNonEmptyReadonlyArray(parts)
    ? Either.gen(function* () {
        const first = yield* parseOne(field, parts[0])
        return [first, ...(yield* Either.all(parts.slice(1).map((part) => parseOne(field, part))))] as const
      })
    : Either.left(new AioConfigError({ field, problem: "is empty", expected: EXPECTED }))
}

/**
 * `host:port`, with brackets around an IPv6 host that has none yet.
 *
 * @since 0.1.0
 * @category formatting
 */
export const format = (address: { readonly host: string; readonly port: number }): string =>
  address.host.includes(":") && !address.host.startsWith("[")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`

const hostOn = (instance: Instance, network: string | undefined): string | undefined => {
  let found: { readonly host: string; readonly priority: number } | undefined
  for (const endpoint of instance.endpoints) {
    if (network !== undefined && endpoint.network !== network) continue
    if (found === undefined || endpoint.priority < found.priority) found = endpoint
  }
  return found?.host
}

const withScheme = (text: string): string => (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`)

/**
 * Where an instance serves HTTP: on `network`, the endpoint with the smallest priority there, with the instance's HTTP
 * port; else its `endpoint`; else its host with that port. `undefined` where it has none of them. Always with a scheme,
 * `http://` unless the record says otherwise.
 *
 * @since 0.1.0
 * @category accessors
 */
export const httpUrl = (instance: Instance, network?: string): string | undefined => {
  const host = hostOn(instance, network)
  if (host !== undefined && instance.httpPort !== undefined)
    return withScheme(format({ host, port: instance.httpPort }))
  if (instance.endpoint !== "") return withScheme(instance.endpoint)
  return instance.httpPort === undefined || instance.host === ""
    ? undefined
    : withScheme(format({ host: instance.host, port: instance.httpPort }))
}

/**
 * Where an instance serves gRPC: on `network`, the endpoint with the smallest priority there, else its host; with its gRPC
 * port. `undefined` where it has no gRPC port, or no host for it.
 *
 * @since 0.1.0
 * @category accessors
 */
export const grpcAddress = (instance: Instance, network?: string): string | undefined => {
  const host = hostOn(instance, network) ?? instance.host
  return instance.grpcPort === undefined || host === "" ? undefined : format({ host, port: instance.grpcPort })
}
