/**
 * Active health checks of an instance, for the `health` option of discovery.
 *
 * A check is a function from an instance to an Effect that succeeds when the instance is healthy. The option says how often it
 * runs, how long it may take and how many results change the state. Write your own where none of these fits.
 *
 * @since 0.1.0
 */
import { connect } from "node:net"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as HealthProbe from "../grpc/client/HealthProbe.js"
import type * as AioConfig from "../schemas/AioConfig.js"
import type { Instance } from "../schemas/Instance.js"
import type { HealthCheck, Target } from "../services/Discovery.js"

export type { HealthCheck } from "../services/Discovery.js"

const noAddress = (instance: Instance, what: string) => Effect.fail(`${instance.instanceKey} has no ${what} to check`)

/**
 * `grpc.health.v1.Health/Check` on a connection of its own, closed afterwards. `SERVING` is healthy; a server without that
 * service is not.
 *
 * `service` is the name to check; `""`, the default, is the whole server. `tls`: `true` trusts the roots that Node trusts; an
 * object is as for the connection to the registry (its files are read for each check, whatever its `reloadInterval`);
 * `false`, the default, is plain text. Nothing secret is sent.
 *
 * @since 0.1.0
 * @category constructors
 */
export const grpc =
  (
    options: { readonly service?: string | undefined; readonly tls?: boolean | AioConfig.Tls | undefined } = {}
  ): HealthCheck =>
  (instance, { grpcAddress }) =>
    grpcAddress === undefined
      ? noAddress(instance, "gRPC port")
      : HealthProbe.check(grpcAddress, { service: options.service ?? "", tls: options.tls ?? false })

/**
 * A GET of `path`, default `/health`. A status of 200 to 299 is healthy; the body is not read.
 *
 * `client` is an `HttpClient` of `@effect/platform`, with the headers it adds. Default: one over `fetch`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const http = (
  options: { readonly path?: string | undefined; readonly client?: HttpClient.HttpClient | undefined } = {}
): HealthCheck => {
  const { path = "/health" } = options
  const client =
    options.client === undefined
      ? Effect.provide(HttpClient.HttpClient, FetchHttpClient.layer)
      : Effect.succeed(options.client)
  return (instance, { httpUrl }) =>
    httpUrl === undefined
      ? noAddress(instance, "HTTP address")
      : client.pipe(
          // The unread body ends with the scope, and the connection with it.
          Effect.map((client) => HttpClient.withScope(HttpClient.filterStatusOk(client))),
          Effect.flatMap((client) => client.get(new URL(path, httpUrl))),
          Effect.scoped,
          Effect.withTracerEnabled(false)
        )
}

const portOf = ({ port, protocol }: URL): number => (port === "" ? (protocol === "https:" ? 443 : 80) : Number(port))

const dialled = (target: Target) => {
  const url = target.grpcAddress === undefined ? target.httpUrl : `http://${target.grpcAddress}`
  if (url === undefined || !URL.canParse(url)) return undefined
  const parsed = new URL(url)
  return { host: parsed.hostname.replace(/^\[|\]$/g, ""), port: portOf(parsed) }
}

/**
 * Connects, and closes the connection at once. An accepted connection is healthy. Goes to the gRPC port where the instance has
 * one, else to the HTTP port.
 *
 * @since 0.1.0
 * @category constructors
 */
export const tcp = (): HealthCheck => (instance, target) => {
  const address = dialled(target)
  return address === undefined
    ? noAddress(instance, "address")
    : Effect.async<void, unknown>((resume) => {
        const socket = connect(address)
        socket.once("connect", () => {
          socket.destroy()
          resume(Effect.void)
        })
        socket.once("error", (cause) => resume(Effect.fail(cause)))
        return Effect.sync(() => socket.destroy())
      })
}
