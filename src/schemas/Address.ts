/**
 * Addresses of registries and instances.
 *
 * @since 0.1.0
 */
import { isIP, isIPv6 } from "node:net"
import * as Arr from "effect/Array"
import * as Either from "effect/Either"
import { AioConfigError } from "./AioError.js"
import type { Instance } from "./Instance.js"

/**
 * A host (without brackets) and a port. See {@link isLoopback}.
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
 * Whether a host (without brackets) is `localhost` or below it, in `127.0.0.0/8`, or `::1`. Resolves no name.
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
 * One or more addresses, separated by commas; spaces and empty parts are ignored, as AIO's other clients do. Left where there
 * is none, or one has a scheme, no port, or a port outside 1 to 65535; `field` names it in the error.
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

const NAME = /^(?:[a-z0-9_-]+\.)*[a-z0-9_-]+\.?$/i
const MAX_NAME = 255

/**
 * Whether a text is a host that can be dialled: an IP address, IPv6 with brackets or without and without a zone, or a DNS name
 * of labels of letters, digits, hyphens and underscores. Not one with a port, a scheme, a user, or several of them.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isHost = (text: string): boolean => {
  if (text.length > MAX_NAME) return false
  if (isIP(text) !== 0) return !text.includes("%")
  if (text.startsWith("[")) return text.endsWith("]") && isIPv6(text.slice(1, -1)) && !text.includes("%")
  return NAME.test(text) && URL.canParse(`http://${text}:1`)
}

const ENDPOINT = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(\[[^\]]*\]|[^\s:/?#@[\]]*)(?::([0-9]{1,5}))?(?:[/?#]\S*)?$/i

/** Whether an `endpoint` of the registry, with a scheme or without, names a host, and a port that there is if it names one. */
const namesHost = (endpoint: string): boolean => {
  const [, host = "", port = "1"] = ENDPOINT.exec(endpoint) ?? []
  return isHost(host) && Number(port) <= 65_535
}

/**
 * Whether every address that the record tells is one of a host. A record can say anything: one that does not is never picked.
 *
 * @since 0.1.0
 * @category predicates
 */
export const namesHosts = ({ endpoint, endpoints, host }: Instance): boolean =>
  (host === "" || isHost(host)) &&
  (endpoint === "" || namesHost(endpoint)) &&
  endpoints.every((one) => isHost(one.host))

/**
 * What an address is for; `any` is one of either.
 *
 * @since 0.1.0
 * @category models
 */
export type Protocol = "any" | "http" | "grpc"

const hostOn = (instance: Instance, network: string | undefined): string | undefined => {
  let found: { readonly host: string; readonly priority: number } | undefined
  for (const endpoint of instance.endpoints) {
    if (network !== undefined && endpoint.network !== network) continue
    if (found === undefined || endpoint.priority < found.priority) found = endpoint
  }
  return found?.host
}

const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i

const withScheme = ({ meta }: Instance, text: string): string =>
  `${meta.scheme === "https" ? "https" : "http"}://${text}`

/** `undefined` where the record says that something else than HTTP is served there: by a scheme, or by the gRPC port alone. */
const urlOfEndpoint = (instance: Instance): string | undefined => {
  const { endpoint, grpcPort, httpPort } = instance
  const scheme = SCHEME.exec(endpoint)?.[1]?.toLowerCase()
  if (scheme !== undefined) return scheme === "http" || scheme === "https" ? endpoint : undefined
  const isGrpc = httpPort === undefined && grpcPort !== undefined && endpoint.endsWith(`:${grpcPort}`)
  return isGrpc ? undefined : withScheme(instance, endpoint)
}

/**
 * The URL of an instance's HTTP server: the endpoint on `network` with the smallest priority, with the HTTP port; else its
 * `endpoint`; else its host with that port; else `undefined`. An `endpoint` is none where its scheme is neither `http` nor
 * `https`, and where the only port of the record is the gRPC port and the `endpoint` names that. The scheme is that of the
 * `endpoint`, else `https://` where `meta.scheme` is `"https"`, else `http://`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const httpUrl = (instance: Instance, network?: string): string | undefined => {
  const host = hostOn(instance, network)
  if (host !== undefined && instance.httpPort !== undefined)
    return withScheme(instance, format({ host, port: instance.httpPort }))
  if (instance.endpoint !== "") return urlOfEndpoint(instance)
  return instance.httpPort === undefined || instance.host === ""
    ? undefined
    : withScheme(instance, format({ host: instance.host, port: instance.httpPort }))
}

/**
 * The address of an instance's gRPC server: the endpoint on `network` with the smallest priority, else its host; with the gRPC
 * port. `undefined` where it has no gRPC port, or no host.
 *
 * @since 0.1.0
 * @category accessors
 */
export const grpcAddress = (instance: Instance, network?: string): string | undefined => {
  const host = hostOn(instance, network) ?? instance.host
  return instance.grpcPort === undefined || host === "" ? undefined : format({ host, port: instance.grpcPort })
}
