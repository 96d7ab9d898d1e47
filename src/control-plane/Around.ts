/** What may be put around the rpcs of a control plane and its token check: nothing, unless a simulator fills it. */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Methods from "../grpc/Methods.js"
import * as ServerHost from "../grpc/server/ServerHost.js"

type Answer<A> = Effect.Effect<A, ServerHost.Failure>

/**
 * Around one rpc.
 *
 * @since 0.1.0
 * @category models
 */
export interface AroundRpc<Request> {
  /** Around the token check of a call, or of a stream when it opens. */
  readonly arrive: (check: Answer<void>) => Answer<void>
  /** Around the answer to a request; on a stream to each. */
  readonly answer: <A>(request: Request, answer: Answer<A>) => Answer<A>
}

/**
 * Around every rpc of a service.
 *
 * @since 0.1.0
 * @category models
 */
export type AroundService<Service> = {
  readonly [Rpc in keyof Service]: Service[Rpc] extends Methods.Method<infer Request, infer _>
    ? AroundRpc<Request>
    : never
}

/**
 * Around everything that a control plane answers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Around {
  /** What the control plane takes the time to be. Default: Effect's clock. */
  readonly clock?: Clock.Clock | undefined
  readonly rpcs: AroundService<typeof Methods.auth & typeof Methods.registry>
  /** Around the check of a client's secret. */
  readonly authenticate: <A>(clientKey: string, check: Effect.Effect<A>) => Effect.Effect<A>
  /** Around the check of a token, which gives the id of its client; `keyOf` finds the client's key. */
  readonly verify: (
    check: Effect.Effect<Option.Option<number>>,
    keyOf: (clientId: number) => Effect.Effect<Option.Option<string>>
  ) => Effect.Effect<Option.Option<number>>
}

export type Handlers<Service> = { readonly [Rpc in keyof Service]: ServerHost.Handler<never> }

const nothing: AroundRpc<unknown> = { arrive: (check) => check, answer: (_, answer) => answer }

export const identity: Around = {
  rpcs: {
    authenticateClient: nothing,
    renewToken: nothing,
    ensureService: nothing,
    listServices: nothing,
    getServiceByID: nothing,
    registerInstance: nothing,
    deregisterInstance: nothing,
    heartbeatStream: nothing
  },
  authenticate: (_, check) => check,
  verify: (check) => check
}

const arriving = (
  { arrive }: Pick<AroundRpc<never>, "arrive">,
  handler: ServerHost.Handler<never>
): ServerHost.Handler<never> => ({
  ...handler,
  register: (server, run, guard) => handler.register(server, run, (path, headers) => arrive(guard(path, headers)))
})

export const unary = <Request extends object, Response extends object>(
  around: AroundRpc<Request>,
  method: Methods.Method<Request, Response>,
  handle: (request: Request, headers: ServerHost.Headers) => Answer<Response>
): ServerHost.Handler<never> =>
  arriving(
    around,
    ServerHost.unary(method, (request, headers) => around.answer(request, handle(request, headers)))
  )

export const bidi = <Request extends object, Response extends object>(
  around: AroundRpc<Request>,
  method: Methods.Method<Request, Response>,
  handle: (request: Request) => Answer<Response>
): ServerHost.Handler<never> =>
  arriving(
    around,
    ServerHost.bidi(method, (request) => around.answer(request, handle(request)))
  )
