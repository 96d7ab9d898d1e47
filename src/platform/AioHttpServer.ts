/**
 * Registers the `HttpServer` of `@effect/platform` that this process runs, and answers the probes of an orchestrator.
 *
 * ```ts
 * AioHttpServer.serve(app, { service: { project: "shop", name: "payments" }, drainDelay: "35 seconds" }).pipe(
 *   Layer.provide([NodeHttpServer.layer(createServer, { port: 8080 }), Aio.layerFromEnv()]),
 *   Layer.launch,
 *   Main.runMain
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { AioConfigError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import type { ServiceRef } from "../schemas/Service.js"
import type { NewRegistration, SelfInstance } from "../services/Heartbeat.js"
import { Heartbeat, type HeartbeatError, type Registration } from "../services/Heartbeat.js"
import * as ProbeRoutes from "./ProbeRoutes.js"
import * as ServerRegistration from "./ServerRegistration.js"

export type { ReadyOptions } from "./ProbeRoutes.js"

/**
 * The options of `Heartbeat.registerSelf`, without the port, which is the one that the server has bound. What is not given
 * here is the layer's, as there.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Omit<NewRegistration, "instance"> {
  /** What else the instance tells of itself. `host` is `"auto"` by default: see `SelfInstance`. */
  readonly instance?: Partial<Omit<SelfInstance, "httpPort">> | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ServeOptions extends Options, ProbeRoutes.ReadyOptions {}

const unfit = (problem: string): AioConfigError =>
  new AioConfigError({
    field: "server.address",
    problem,
    expected: "a server that listens on a TCP port, which is what callers are told"
  })

// By what it has: the lines for Effect 3 and 4 have other types of an address.
const portOf = (address: object): Either.Either<number, AioConfigError> => {
  if (!("port" in address)) return Either.left(unfit("is a UNIX socket"))
  const port = Limits.port("server.address", address.port)
  return Either.mapLeft(port, () => unfit(`has the port ${address.port}`))
}

/**
 * Registers the server under the port that it has bound, until the scope closes: as `Heartbeat.registerSelf`, whose errors
 * it has. Fails with `AioConfigError` for a server on a UNIX socket.
 *
 * @since 0.1.0
 * @category constructors
 */
export const register = (
  options: Options
): Effect.Effect<Registration, HeartbeatError, HttpServer.HttpServer | Heartbeat | Scope.Scope> =>
  Effect.gen(function* () {
    const { address } = yield* HttpServer.HttpServer
    const httpPort = yield* portOf(address)
    return yield* ServerRegistration.register(options, { httpPort })
  })

/**
 * {@link register} as a layer, for an app that another layer serves (`HttpApiBuilder.serve`, `HttpServer.serve`). Provide that
 * layer to this one, and do not merge them: what is provided is released after, so the app is served until the drain delay
 * is over.
 *
 * ```ts
 * AioHttpServer.layer(options).pipe(Layer.provide(HttpApiBuilder.serve()), Layer.provide(server))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<never, HeartbeatError, HttpServer.HttpServer | Heartbeat> =>
  Layer.scopedDiscard(register(options))

/**
 * The answer to a readiness probe, for a route of any router: 200 or 503, with the reasons and the state of the registrations
 * as JSON. It is 503 until the lease was `Live` for the first time, while `check` is `false`, and from the moment when a stop
 * begins. `service`: only its registrations count; default: all of the layer.
 *
 * @since 0.1.0
 * @category probes
 */
export const readyz = (
  options: ProbeRoutes.ReadyOptions & { readonly service?: Pick<ServiceRef, "project" | "name"> | undefined } = {}
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, Heartbeat> =>
  Effect.flatMap(Heartbeat, (heartbeat) => ProbeRoutes.ready(heartbeat, options, () => false, options.service))

/**
 * The answer to a liveness probe: always 200. It says that the process answers, and never looks at the registry.
 *
 * @since 0.1.0
 * @category probes
 */
export const livez: Effect.Effect<HttpServerResponse.HttpServerResponse> = Effect.succeed(ProbeRoutes.alive)

/** Answers the probes, and hands all other requests to `app`. */
const withProbes = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  ready: Effect.Effect<HttpServerResponse.HttpServerResponse>
) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ method, url }): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R> => {
      if (method !== "GET" && method !== "HEAD") return app
      const [path] = url.split("?", 1)
      return path === "/readyz" ? ready : path === "/livez" ? livez : app
    }
  )

const requirements: ReadonlyArray<unknown> = ["first", "always", undefined]

const checkRequirement = ({ requireLease }: ProbeRoutes.ReadyOptions): Either.Either<void, AioConfigError> =>
  requirements.includes(requireLease)
    ? Either.void
    : Either.left(
        new AioConfigError({
          field: "requireLease",
          problem: `is ${JSON.stringify(requireLease)}`,
          expected: '"first" or "always"'
        })
      )

/**
 * Serves `app` and the routes `/readyz` and `/livez` ({@link readyz}, {@link livez}), then registers the server
 * ({@link register}). When the layer closes, `/readyz` is 503 at once and each answer asks its client to close the
 * connection; the instance is deregistered; the app is served on for the drain delay; then the server may close.
 *
 * With `startup: "wait"` (the default) the layer is built when the lease is live; requests are answered before that.
 *
 * @since 0.1.0
 * @category layers
 */
export const serve = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>, options: ServeOptions) =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      yield* checkRequirement(options)
      const heartbeat = yield* Heartbeat
      let isStopping = false
      // A connection that is kept alive would reach the server when nothing there answers it any more.
      const closing = HttpApp.appendPreResponseHandler((_, response) =>
        Effect.sync(() => (isStopping ? HttpServerResponse.setHeader(response, "connection", "close") : response))
      )
      const { check, requireLease, ...registration } = options
      const ready = ProbeRoutes.ready(heartbeat, { check, requireLease }, () => isStopping, options.service)
      yield* HttpServer.serveEffect(Effect.zipRight(closing, withProbes(app, ready)))
      yield* register(registration)
      // Added last, so it runs first.
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          isStopping = true
        })
      )
    })
  )
