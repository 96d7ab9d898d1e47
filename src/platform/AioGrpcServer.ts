/**
 * Registers a grpc-js `Server` that you made, services added, under the port that it has bound.
 *
 * ```ts
 * const server = new Server()
 * server.addService(PaymentsService, payments)
 *
 * AioGrpcServer.layer({
 *   server,
 *   listen: "0.0.0.0:50052",
 *   credentials: ServerCredentials.createInsecure(),
 *   service: { project: "shop", name: "payments" },
 *   drainDelay: "35 seconds"
 * }).pipe(Layer.provide(Aio.layerFromEnv()), Layer.launch, Main.runMain)
 * ```
 *
 * `grpc.health.v1` is yours to add: see `grpc-health-check`. The state of the registration is on the handle, and in
 * `Heartbeat.registrations`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Listener from "../grpc/server/Listener.js"
import * as Shutdown from "../grpc/server/Shutdown.js"
import { AioConfigError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import type { Heartbeat, HeartbeatError, NewRegistration, Registration, SelfInstance } from "../services/Heartbeat.js"
import * as ServerRegistration from "./ServerRegistration.js"

/**
 * The options of `Heartbeat.registerSelf`, without the port, which is the one that the server has bound. What is not given
 * here is the layer's, as there.
 *
 * @since 0.1.0
 * @category models
 */
export interface RegistrationOptions extends Omit<NewRegistration, "instance"> {
  /** What else the instance tells of itself. `host` is `"auto"` by default: see `SelfInstance`. */
  readonly instance?: Partial<Omit<SelfInstance, "grpcPort">> | undefined
}

/**
 * What is used of grpc-js' `Server`, which may come from another copy of it than this library's.
 *
 * @since 0.1.0
 * @category models
 */
export interface GrpcServer<Credentials> {
  readonly bindAsync: (
    address: string,
    credentials: Credentials,
    callback: (error: Error | null, port: number) => void
  ) => void
  readonly tryShutdown: (callback: (error?: Error) => void) => void
  readonly forceShutdown: () => void
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<Credentials> extends RegistrationOptions {
  /** Its services are added, and it is not bound. */
  readonly server: GrpcServer<Credentials>
  /** `host:port`; port 0 takes a free one, an empty host all interfaces. */
  readonly listen: string
  /** grpc-js' `ServerCredentials`. */
  readonly credentials: Credentials
  /** How long calls and streams in flight may go on after the drain delay; then they are cut. Default 5 seconds; at most 1 day. */
  readonly shutdownGrace?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface BoundOptions extends RegistrationOptions {
  /** What the callback of `bindAsync` was given: 1 to 65535. */
  readonly port: number
}

/** Longer than a name takes to be looked up. */
const BIND_LIMIT = "10 seconds"

const unfit = (problem: string, expected: string): AioConfigError =>
  new AioConfigError({ field: "listen", problem, expected })

/** Of what did not listen in time, or was not waited for, nothing may listen later. */
const bind = <Credentials>({ credentials, listen, server }: Options<Credentials>) => {
  const cut = Effect.sync(() => server.forceShutdown())
  return Listener.bind(server, listen, credentials).pipe(
    Effect.timeoutOption(BIND_LIMIT),
    Effect.interruptible,
    Effect.onInterrupt(() => cut),
    Effect.flatMap((bound) =>
      Option.isSome(bound)
        ? Effect.succeed(bound.value)
        : Effect.zipRight(
            cut,
            Effect.fail(unfit(`${listen} was not bound within ${BIND_LIMIT}`, "a server that listens"))
          )
    )
  )
}

/**
 * Registers a server that is bound already, until the scope closes: as `Heartbeat.registerSelf`, whose errors it has. It does
 * not close the server: do that in a scope outside of this one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const registerBound = ({
  port,
  ...registration
}: BoundOptions): Effect.Effect<Registration, HeartbeatError, Heartbeat | Scope.Scope> =>
  Effect.flatMap(Limits.port("port", port), (grpcPort) => ServerRegistration.register(registration, { grpcPort }))

/**
 * Binds the server and registers it under the port that it has bound. When the scope closes, the instance is deregistered;
 * the server serves on for the drain delay; then it accepts nothing more, finishes within `shutdownGrace` what it has begun,
 * and is cut. Fails with `AioConfigError` for an address that cannot be listened on, a UNIX socket among them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const register = <Credentials>(
  options: Options<Credentials>
): Effect.Effect<Registration, HeartbeatError, Heartbeat | Scope.Scope> =>
  Effect.gen(function* () {
    const { credentials: _, listen, server, shutdownGrace, ...registration } = options
    if (String(listen).startsWith("unix:")) {
      return yield* Effect.fail(unfit(`${listen} is a UNIX socket`, "host:port, which is what callers are told"))
    }
    const graceMillis = yield* Limits.durationMillis("shutdownGrace", shutdownGrace ?? "5 seconds", 0)
    const { stop } = Shutdown.make(server, graceMillis, Effect.void)
    const { port } = yield* Effect.acquireRelease(bind(options), () => stop)
    return yield* registerBound({ ...registration, port })
  })

/**
 * {@link register} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <Credentials>(options: Options<Credentials>): Layer.Layer<never, HeartbeatError, Heartbeat> =>
  Layer.scopedDiscard(register(options))

/**
 * {@link registerBound} as a layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerBound = (options: BoundOptions): Layer.Layer<never, HeartbeatError, Heartbeat> =>
  Layer.scopedDiscard(registerBound(options))
