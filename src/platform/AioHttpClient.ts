/**
 * Calls services by name with any `HttpClient` of Effect: `http://payments.shop.aio/charge` goes to an instance of the service
 * `payments` of the project `shop`.
 *
 * @since 0.1.0
 */
import { isIP } from "node:net"
import { domainToUnicode } from "node:url"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Failover from "../layers/balancing/Failover.js"
import * as Address from "../schemas/Address.js"
import { AioConfigError, isAioError } from "../schemas/AioError.js"
import type { Instance } from "../schemas/Instance.js"
import type { ServiceRef } from "../schemas/Service.js"
import { Discovery, type DiscoveryError, type UseOptions } from "../services/Discovery.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface CallOptions extends Pick<UseOptions<never>, "attempts"> {
  /**
   * How long each attempt may take until the headers of its answer. Then it is interrupted, counts as a failure of its
   * instance, and an idempotent request goes to another one. Default: no limit.
   */
  readonly timeout?: UseOptions<never>["timeout"]
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends CallOptions {
  /**
   * Hosts that end with it are services: `<service>.<project>.<suffix>`. Default `aio`. Take `internal`, which ICANN reserved
   * for private use, where such a name must never become one of the public DNS. Lower case, without a dot at either end.
   */
  readonly suffix?: string | undefined
}

const DEFAULT_SUFFIX = "aio"

const FOR_SERVICE =
  "a name that a URL cannot keep (capitals, blanks, anything but a-z, 0-9, - and _) is called by AioHttpClient.forService({ project, name })"

const LABELS = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/

const checkSuffix = (suffix: string): Either.Either<string, AioConfigError> =>
  // A number at the end would make an IP address of the host.
  LABELS.test(suffix) && URL.canParse(`http://service.project.${suffix}`)
    ? Either.right(suffix)
    : Either.left(
        new AioConfigError({
          field: "suffix",
          problem: `is ${JSON.stringify(suffix)}`,
          expected: "labels of a host in lower case, such as aio or internal"
        })
      )

/** An answer that says that its instance fails. Under the tag of an error, by which the failure is judged. */
class Refusal {
  readonly _tag = "ResponseError"
  readonly reason = "StatusCode"
  constructor(readonly response: HttpClientResponse.HttpClientResponse) {}
}

/** It may be that of another host, which a redirect led to: no proof that the instance has not had the request. */
class Unsure {
  readonly _tag = "RequestError"
  readonly reason = "Transport"
  constructor(readonly original: HttpClientError.HttpClientError) {}
}

/** A failure of another host than the instance: it does not count against that, and the instance has had the request. */
class Elsewhere {
  readonly _tag = "Elsewhere"
  constructor(readonly original: HttpClientError.HttpClientError) {}
}

const REFUSALS: ReadonlySet<number> = new Set([500, 502, 503, 504])

const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

const isIdempotent = ({ headers, method }: HttpClientRequest.HttpClientRequest): boolean =>
  IDEMPOTENT.has(method) || headers["idempotency-key"] !== undefined

/** A stream is gone once it was read, and a raw body may be one. */
const canRepeat = ({ body }: HttpClientRequest.HttpClientRequest): boolean => {
  if (body._tag !== "Raw") return body._tag !== "Stream"
  const raw: unknown = body.body
  return (
    typeof raw === "string" ||
    ArrayBuffer.isView(raw) ||
    raw instanceof ArrayBuffer ||
    raw instanceof Blob ||
    raw instanceof URLSearchParams
  )
}

const speaksHttps = (instance: Instance): boolean => Address.httpUrl(instance)?.startsWith("https:") === true

const portOf = ({ port, protocol }: URL): string => port || (protocol === "https:" ? "443" : "80")

const MAX_CAUSES = 10

/** Whose failure it is: `fetch` follows redirects by itself, and names the peer that failed, but for one that is silent. */
const peerOf = (error: unknown, target: string): "target" | "elsewhere" | "unknown" => {
  const url = new URL(target)
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const judged = (isTarget: boolean) => (isTarget ? "target" : "elsewhere")
  let part: unknown = error
  for (let i = 0; i < MAX_CAUSES && Predicate.isObject(part); i++) {
    if (Predicate.hasProperty(part, "hostname") && typeof part.hostname === "string")
      return judged(part.hostname === host)
    if (Predicate.hasProperty(part, "port") && typeof part.port === "number") {
      const address = Predicate.hasProperty(part, "address") ? part.address : undefined
      // A name has an address that is not known here.
      const isHost = isIP(host) === 0 || address === undefined || address === host
      return judged(isHost && String(part.port) === portOf(url))
    }
    // Of a host with several addresses.
    const [first]: ReadonlyArray<unknown> =
      Predicate.hasProperty(part, "errors") && Array.isArray(part.errors) ? part.errors : []
    part = first ?? (Predicate.hasProperty(part, "cause") ? part.cause : undefined)
  }
  return "unknown"
}

/** A path, with the query and the fragment, below the URL of an instance. */
const below = (base: string, path: string): string => `${base.replace(/[?#].*$/, "").replace(/\/$/, "")}${path}`

const invalidUrl = (
  request: HttpClientRequest.HttpClientRequest,
  description: string,
  cause?: unknown
): HttpClientError.HttpClientError =>
  new HttpClientError.RequestError({ request, reason: "InvalidUrl", description, cause })

const ofDiscovery = (
  request: HttpClientRequest.HttpClientRequest,
  error: DiscoveryError
): HttpClientError.HttpClientError => {
  if (error._tag === "AioServiceNotFound") return invalidUrl(request, `${error.message}; ${FOR_SERVICE}`, error)
  return new HttpClientError.RequestError({ request, reason: "Transport", description: error.message, cause: error })
}

interface Caller {
  readonly inner: HttpClient.HttpClient
  readonly discovery: Discovery.Service
  readonly options: CallOptions
}

type Answer = Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>

const call = (
  { discovery, inner, options }: Caller,
  request: HttpClientRequest.HttpClientRequest,
  ref: ServiceRef,
  { hash, pathname, protocol, search }: URL
): Answer => {
  const path = `${pathname}${search}${hash}`
  let refused: HttpClientResponse.HttpClientResponse | undefined
  // The connection is free again when the answer was read; it is cut when the caller has ended before.
  const discardRefused = Effect.suspend(() =>
    refused === undefined ? Effect.void : Effect.fork(Effect.ignore(Effect.timeout(refused.text, "1 second")))
  )
  const send = (url: string) =>
    Effect.matchEffect(inner.execute(HttpClientRequest.setUrl(request, below(url, path))), {
      onFailure: (error): Effect.Effect<never, HttpClientError.HttpClientError | Elsewhere | Unsure> => {
        const peer = peerOf(error, url)
        if (peer === "elsewhere") return Effect.fail(new Elsewhere(error))
        return Effect.fail(peer === "target" || isIdempotent(request) ? error : new Unsure(error))
      },
      onSuccess: (response): Effect.Effect<HttpClientResponse.HttpClientResponse, Refusal> => {
        if (!REFUSALS.has(response.status)) return Effect.succeed(response)
        refused = response
        return Effect.fail(new Refusal(response))
      }
    })
  const answer = discovery.use(
    ref,
    (_, { url }) => (refused === undefined ? send(url) : Effect.zipRight(discardRefused, send(url))),
    {
      protocol: "http",
      // A request for https is never sent in plain text.
      where: protocol === "https:" ? speaksHttps : undefined,
      idempotent: isIdempotent(request),
      attempts: canRepeat(request) ? options.attempts : 1,
      timeout: options.timeout
    }
  )
  return Effect.catchAll(answer, (error) => {
    if (error instanceof Refusal) return Effect.succeed(error.response)
    if (error instanceof Elsewhere || error instanceof Unsure) return Effect.fail(error.original)
    return Effect.fail(isAioError(error) ? ofDiscovery(request, error) : error)
  })
}

/** The service that a host names; `undefined` for any other host, and a text where it is no proper name of one. */
const serviceOf = ({ hostname, password, port, username }: URL, suffix: string): ServiceRef | string | undefined => {
  const host = hostname.endsWith(".") ? hostname.slice(0, -1) : hostname
  if (!host.endsWith(`.${suffix}`)) return undefined
  const [name = "", ...labels] = host
    .slice(0, -suffix.length - 1)
    .split(".")
    .map((label) => (label.startsWith("xn--") ? domainToUnicode(label) || label : label))
  const project = labels.join(".")
  if (name === "" || labels.length === 0 || labels.includes(""))
    return `${host} is no host of a service, which is <service>.<project>.${suffix}; ${FOR_SERVICE}`
  if (port !== "") return `${host} has no port ${port}: each instance has its own`
  if (username !== "" || password !== "") return `${host} takes no user and password`
  return { project, name }
}

const parsed = (url: string, base?: string): URL | undefined =>
  URL.canParse(url, base) ? new URL(url, base) : undefined

const withRoute = (route: (request: HttpClientRequest.HttpClientRequest) => Answer): HttpClient.HttpClient =>
  HttpClient.makeWith(
    (request: Effect.Effect<HttpClientRequest.HttpClientRequest>) => Effect.flatMap(request, route),
    Effect.succeed
  )

/**
 * A client that calls the services that hosts name, and any other host as `client` does.
 *
 * Each request goes to an instance that speaks HTTP, by the layer's balancing. It is tried elsewhere under the retry budget of
 * the service: always where it is certain that nothing was sent; where it failed otherwise, or was answered with 502, 503 or
 * 504, if its method is idempotent or it has an `Idempotency-Key`. A body that is a stream is sent once. These answers, and
 * 500, count against the instance, whether or not the caller makes them errors; the last one is given to the caller.
 *
 * With `https:` only instances with an `https` URL are called. What fails before an instance was found is a `RequestError`
 * with the error of this package as `cause`: with the reason `InvalidUrl` for a host that names no known service, else
 * `Transport`. What adds to requests (`HttpClient.mapRequest`) goes around this client, not inside of it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const wrap = (
  client: HttpClient.HttpClient,
  options: Options = {}
): Effect.Effect<HttpClient.HttpClient, AioConfigError, Discovery> =>
  Effect.gen(function* () {
    const suffix = yield* checkSuffix(options.suffix ?? DEFAULT_SUFFIX)
    yield* Failover.check(options)
    const caller: Caller = { inner: client, discovery: yield* Discovery, options }
    return withRoute((request) => {
      const url = parsed(request.url)
      const ref = url === undefined || !/^https?:$/.test(url.protocol) ? undefined : serviceOf(url, suffix)
      if (url === undefined || ref === undefined) return client.execute(request)
      return typeof ref === "string" ? Effect.fail(invalidUrl(request, ref)) : call(caller, request, ref, url)
    })
  })

/**
 * The `HttpClient` of the context, wrapped.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<HttpClient.HttpClient, AioConfigError, HttpClient.HttpClient | Discovery> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.flatMap(HttpClient.HttpClient, (client) => wrap(client, options))
  )

const SELF = "http://service.invalid"

/**
 * A client of one service, whatever its name: the URLs of its requests are paths. A URL with a host goes to the `HttpClient` of
 * the context as it is. Everything else is as {@link wrap} has it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const forService = (
  ref: ServiceRef,
  options: CallOptions = {}
): Effect.Effect<HttpClient.HttpClient, AioConfigError, HttpClient.HttpClient | Discovery> =>
  Effect.gen(function* () {
    yield* Failover.check(options)
    const inner = yield* HttpClient.HttpClient
    const caller: Caller = { inner, discovery: yield* Discovery, options }
    return withRoute((request) => {
      const url = parsed(request.url) === undefined ? parsed(request.url, SELF) : undefined
      const isPath = url !== undefined && url.origin === SELF
      return isPath ? call(caller, request, ref, url) : inner.execute(request)
    })
  })
