/**
 * An AIO control plane in this process: the real one's rpcs, answers and quirks over gRPC, with everything in memory.
 * For tests, for laptops, and for clients in any language.
 *
 * @since 0.1.0
 */
import { ReflectionService } from "@grpc/reflection"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { packageDefinition } from "../grpc/Methods.js"
import * as ServerHost from "../grpc/server/ServerHost.js"
import * as Clocks from "../internal/clocks.js"
import type * as Aio from "../layers/Aio.js"
import type { ServerTls } from "../schemas/AioConfig.js"
import { AioConfigError } from "../schemas/AioError.js"
import * as PlaneLimits from "../schemas/PlaneLimits.js"
import * as RegistryStore from "../store/RegistryStore.js"
import * as Around from "./Around.js"
import * as AuthService from "./AuthService.js"
import * as Clients from "./Clients.js"
import * as RegistryService from "./RegistryService.js"
import * as Tokens from "./Tokens.js"
import { WrongSecrets } from "./WrongSecrets.js"
import { type ClientOptions, withClient } from "./withClient.js"

export type { AroundRpc } from "../grpc/server/ServerHost.js"
export type { PlaneLimits } from "../schemas/PlaneLimits.js"
/** How a store refuses: a status of gRPC. */
export type { Failure as Refusal, Operator, RegistryStore } from "../store/RegistryStore.js"
/** The messages of the wire, in which a store is written. */
export type * as Messages from "../wire/Messages.js"
export type { Around, AroundRpcs } from "./Around.js"
export type { Client, Credentials, NewClient } from "./Clients.js"
export type { ClientOptions } from "./withClient.js"

/**
 * The quirks of the real server.
 *
 * - `endlessDrain` (default `false`): after `control.drain` open streams are served for ever, as by the real one after
 *   SIGTERM, so that its clients do not move. Closing the scope ends them all the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface Quirks extends RegistryStore.Quirks {
  readonly endlessDrain?: boolean | undefined
}

/**
 * A control plane that is listening. It stops when its layer's scope closes: the port is closed, calls in flight and
 * streams get `shutdownGrace`, then they end `UNAVAILABLE`, so that clients move.
 *
 * Time is Effect's `Clock`, so that a test may move it. The network is real: do not wait for a call under `TestClock`
 * with a timeout on it.
 *
 * @since 0.1.0
 * @category tags
 */
export class ControlPlane extends Context.Tag("effect-aio/ControlPlane")<ControlPlane, ControlPlane.Service>() {}

/** @since 0.1.0 */
export declare namespace ControlPlane {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service {
    /** `host:port`, as a client on this machine dials it. */
    readonly address: string
    readonly port: number
    /** The first client's. */
    readonly credentials: Clients.Credentials
    /** Every client's that was given in the options, in their order. */
    readonly clients: ReadonlyArray<Clients.Credentials>
    readonly control: Control
  }

  /**
   * What an operator may do to a control plane. Keys and ids that do not exist are ignored. `Simulator` adds the
   * switches of a test.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Control extends RegistryStore.Operator {
    /** Adds a client; key and secret are generated where they are left out. A known key is replaced. */
    readonly addClient: (client?: Clients.NewClient) => Effect.Effect<Clients.Credentials>
    /** The client's tokens go on working everywhere but in `RenewToken`. So with expiring and deleting it. */
    readonly disableClient: (clientKey: string) => Effect.Effect<void>
    readonly enableClient: (clientKey: string) => Effect.Effect<void>
    readonly expireClient: (clientKey: string) => Effect.Effect<void>
    readonly deleteClient: (clientKey: string) => Effect.Effect<void>
    /** Refuses, from now on, every token issued so far. Default: a generated secret. */
    readonly rotateSigningSecret: (secret?: Redacted.Redacted) => Effect.Effect<void>
    /** Closes the port and asks clients to leave. What is in flight ends `UNAVAILABLE` after `shutdownGrace`. */
    readonly drain: Effect.Effect<void>
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** `host:port`. Default `127.0.0.1:0`, a free port. */
  readonly listen?: string | undefined
  /** Default: one client with a generated key and secret. */
  readonly clients?: ReadonlyArray<Clients.NewClient> | undefined
  /** How long a token lasts, in whole seconds. Default 24 hours. */
  readonly tokenTtl?: Duration.DurationInput | undefined
  /** What tokens are signed with. Default: generated. */
  readonly signingSecret?: Redacted.Redacted | undefined
  /** The real server's quirks. */
  readonly quirks?: Quirks | undefined
  /** Where services and leases are kept. Default: in memory, with `quirks`. */
  readonly store?: RegistryStore.RegistryStore | undefined
  /** What clients may ask for, and how long they may take. Those of what is kept are the default store's. */
  readonly limits?: PlaneLimits.PlaneLimits | undefined
  /** What is put around the rpcs and the token check. Default: nothing. */
  readonly around?: Around.Around | undefined
  /** gRPC server reflection, v1 and v1alpha (the latter without a token). Default `true`. */
  readonly reflection?: boolean | undefined
  /** Default: plaintext, as the real one. With `ca`, clients must present a certificate. */
  readonly tls?: ServerTls | undefined
  /** How long calls in flight and streams may go on when the control plane drains or stops. Default 5 seconds. */
  readonly shutdownGrace?: Duration.DurationInput | undefined
}

const reflection: ServerHost.Extension = {
  addToServer: (server) => new ReflectionService(packageDefinition).addToServer(server)
}

const refuseEmpty = (field: string, value: string | undefined): Effect.Effect<void, AioConfigError> =>
  value === ""
    ? Effect.fail(new AioConfigError({ field, problem: "is empty", expected: "a value, or none to have one made up" }))
    : Effect.void

const secretText = (secret: Redacted.Redacted | undefined) =>
  secret === undefined ? undefined : Redacted.value(secret)

const checkSecrets = Effect.fnUntraced(function* ({ clients = [], signingSecret }: Options) {
  yield* refuseEmpty("signingSecret", secretText(signingSecret))
  for (const { clientKey, clientSecret } of clients) {
    yield* refuseEmpty("clientKey", clientKey)
    yield* refuseEmpty("clientSecret", secretText(clientSecret))
  }
})

/**
 * Starts a control plane. Fails, with a sentence, where it cannot listen, and for a key or secret that is empty.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<ControlPlane.Service, AioConfigError, Scope.Scope> {
  yield* checkSecrets(options)
  const around = options.around ?? Around.identity
  const clock = around.clock ?? (yield* Effect.clock)
  const limits = yield* PlaneLimits.check(options.limits)
  const store = options.store ?? (yield* RegistryStore.makeMemory(options.quirks, limits))
  const kept = yield* Clients.make(limits)
  const clients: Clients.Clients = {
    ...kept,
    authenticate: (clientKey, secret) =>
      around.authenticate(
        clientKey,
        Effect.suspend(() => kept.authenticate(clientKey, secret))
      )
  }
  const signed = yield* Tokens.make(options.tokenTtl, options.signingSecret)
  const keyOf = (id: number) =>
    Effect.map(
      clients.find(id),
      Option.map(({ clientKey }) => clientKey)
    )
  const tokens: Tokens.Tokens = { ...signed, verify: (token) => around.verify(signed.verify(token), keyOf) }
  const [first = {}, ...others] = options.clients ?? []
  const credentials = yield* clients.add(first)
  const more = yield* Effect.forEach(others, clients.add)
  const { isDatabaseDown } = store.operator
  const wrongSecrets = new WrongSecrets(limits.waitingAuthentications)
  const { address, drain, port } = yield* ServerHost.make({
    listen: options.listen ?? "127.0.0.1:0",
    handlers: [
      ...AuthService.handlers({ clients, tokens, isDatabaseDown, limits, wrongSecrets }, around.rpcs),
      ...RegistryService.handlers(store, around.rpcs)
    ],
    guard: AuthService.guard(tokens),
    connections: AuthService.connections(signed, limits),
    extensions: options.reflection === false ? [] : [reflection],
    tls: options.tls,
    shutdownGrace: options.shutdownGrace,
    endlessDrain: options.quirks?.endlessDrain
  }).pipe(Clocks.withClock(clock))
  return {
    address,
    port,
    credentials,
    clients: [credentials, ...more],
    control: {
      ...store.operator,
      addClient: (client = {}) => clients.add(client),
      disableClient: (clientKey) => clients.setEnabled(clientKey, false),
      enableClient: (clientKey) => clients.setEnabled(clientKey, true),
      expireClient: (clientKey) => Clocks.withClock(clients.expire(clientKey), clock),
      deleteClient: clients.remove,
      rotateSigningSecret: tokens.rotate,
      drain
    }
  }
})

/**
 * A control plane for as long as the layer lives.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<ControlPlane, AioConfigError> =>
  Layer.scoped(ControlPlane, make(options))

/**
 * A control plane and a client joined to it over loopback: for a test of an app over real gRPC. Where the control plane
 * encrypts, so does the client. Closing the layer closes the client first.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithClient = (
  options: Options & ClientOptions = {}
): Layer.Layer<ControlPlane | Aio.Aio, AioConfigError> => withClient(layer(options), ControlPlane, options)
