/** Hosts gRPC services whose handlers are Effects. The only place that touches grpc-js's server. */
import * as Grpc from "@grpc/grpc-js"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Fibers from "../../internal/fibers.js"
import * as Logs from "../../internal/logs.js"
import type { ServerTls } from "../../schemas/AioConfig.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Annotations from "../../telemetry/Annotations.js"
import * as Callbacks from "../Callbacks.js"
import type { Rpc } from "../Methods.js"
import * as Tls from "../Tls.js"
import type { Failure, Headers } from "./Call.js"
import * as Connections from "./Connections.js"
import * as Listener from "./Listener.js"
import * as ServerSpan from "./ServerSpan.js"
import * as Shutdown from "./Shutdown.js"
import { failUnknownMethods } from "./UnknownMethods.js"

export type { Failure, Headers } from "./Call.js"

/** Who calls: the client, or a proxy before it. */
export interface Caller {
  readonly headers: Headers
  /** Without the port. */
  readonly address: string
  /** The caller has a token now: its connection may stay. */
  readonly known: () => void
}

type Run = <A, E>(effect: Effect.Effect<A, E>) => Parameters<typeof Fibers.unsafeInterrupt>[0]

interface Host {
  readonly run: Run
  readonly guard: Guard
  /** Logs what a callback of grpc-js threw. */
  readonly report: Callbacks.Catch
  /** The connection of this peer has a token. */
  readonly known: (peer: string) => void
  /** How a stream that was taken on just now can be ended. */
  readonly serves: (end: (failure: Failure) => void) => void
}

/** An rpc with its handler: see {@link unary} and {@link bidi}. */
export interface Handler {
  readonly path: string
  readonly isStream: boolean
  readonly addTo: (server: Grpc.Server, host: Host) => void
}

type Answer<A> = Effect.Effect<A, Failure>

/** Whether these headers show a good token. */
export type Recognise = (headers: Headers) => Effect.Effect<boolean>

/** Runs before every call: fails for one that may not be made. */
export type Guard = (path: string, headers: Headers) => Answer<void>

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

const nothing: AroundRpc<unknown> = { arrive: (check) => check, answer: (_, answer) => answer }

/** Adds bidirectional services with a grpc-js implementation of their own (`@grpc/reflection`). */
export interface Extension {
  readonly addToServer: (server: Pick<Grpc.Server, "addService">) => void
}

export interface Options {
  /** `host:port`; port 0 takes a free one, an empty host all interfaces. */
  readonly listen: string
  readonly handlers: ReadonlyArray<Handler>
  readonly guard: Guard
  /** What clients may hold. Default: what grpc-js lets them. */
  readonly connections?: (Connections.Options & { readonly recognise: Recognise }) | undefined
  readonly extensions?: ReadonlyArray<Extension> | undefined
  /** Default: plaintext. */
  readonly tls?: ServerTls | undefined
  /** How long calls in flight and streams may go on after a drain, and after the scope closes. Real time; default 5 seconds. */
  readonly shutdownGrace?: Duration.DurationInput | undefined
  /** After a drain they go on without a limit. Default `false`. */
  readonly endlessDrain?: boolean | undefined
}

export interface Bound {
  readonly port: number
  /** `host:port` for a client on this machine. */
  readonly address: string
  /** Closes the port and asks clients to leave. What is in flight ends `UNAVAILABLE` after the grace. */
  readonly drain: Effect.Effect<void>
}

const internalError: Failure = { code: StatusCode.INTERNAL, details: "internal error" }
const interrupted: Failure = { code: StatusCode.UNAVAILABLE, details: "the call was interrupted on the server" }

const headersOf =
  (metadata: Grpc.Metadata): Headers =>
  (name) =>
    metadata.get(name).map(String)

// A defect is shown in the log only.
const answering = <A>(path: string, effect: Answer<A>): Answer<A> =>
  effect.pipe(
    Effect.catchAllDefect((defect) =>
      Effect.zipRight(Logs.error("a handler failed with a defect", Cause.die(defect)), Effect.fail(internalError))
    ),
    Annotations.from("ServerHost", { path })
  )

const serviceOf = (path: string): string => path.slice(1, path.lastIndexOf("/"))

interface Cancellable {
  readonly cancelled: boolean
  readonly on: (event: "cancelled", listener: () => void) => unknown
}

/** How a client is told. */
interface Tell<A> {
  readonly onSuccess: (response: A) => void
  readonly onFailure: (failure: Failure) => void
  /** Around all of the answer. Default: nothing. A stream may last for weeks, and a span is seen when it ends. */
  readonly observe?: (answer: Answer<A>) => Answer<A>
}

/**
 * Runs the answer to a call, and tells the client how it ended: a handler may be interrupted from within. Interrupted when the
 * client cancels. What telling throws, as an extension's handler does, is logged, and the client is told that instead.
 */
const answer = <A>(
  { report, run }: Host,
  path: string,
  call: Cancellable,
  effect: Answer<A>,
  { observe = identity, onFailure, onSuccess }: Tell<A>
): void => {
  const fails = (failure: Failure) => Callbacks.run(() => call.cancelled || onFailure(failure), report)
  const threw: Callbacks.Catch = (cause) => {
    fails(internalError)
    report(cause)
  }
  let fiber: ReturnType<Run> | undefined
  const cancel = () => {
    if (fiber !== undefined) Fibers.unsafeInterrupt(fiber)
  }
  // Before the fiber begins: a handler may end its own call.
  call.on("cancelled", Callbacks.of(cancel, report))
  fiber = run(
    observe(answering(path, effect)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) Callbacks.run(() => onSuccess(exit.value), threw)
          else fails(Option.getOrElse(Cause.failureOption(exit.cause), () => interrupted))
        })
      ),
      // The client has its answer; a fiber that fails would be logged as unhandled.
      Effect.ignore
    )
  )
  if (call.cancelled) cancel()
}

/**
 * A handler of a unary rpc. It is interrupted when the client cancels or its deadline passes; a defect is logged and
 * answered `INTERNAL`, an interruption from within `UNAVAILABLE`.
 */
export const unary = <Request, Response>(
  method: Rpc<Request, Response>,
  handle: (request: Request, caller: Caller) => Answer<Response>,
  around: AroundRpc<Request> = nothing
): Handler => ({
  path: method.path,
  isStream: false,
  addTo: (server, host) => {
    const respond = Callbacks.of<Parameters<Grpc.handleUnaryCall<Request, Response>>>((call, callback) => {
      const headers = headersOf(call.metadata)
      const handled = () => {
        const peer = call.getPeer()
        const caller = { headers, address: peer.replace(/:\d+$/, ""), known: () => host.known(peer) }
        return around.answer(call.request, handle(call.request, caller))
      }
      const checked = Effect.zipRight(
        Effect.suspend(() => around.arrive(host.guard(method.path, headers))),
        Effect.suspend(handled)
      )
      answer(host, method.path, call, checked, {
        observe: (effect) => ServerSpan.observe(method.path, headers, call, effect),
        onFailure: (failure) => callback(failure, null),
        onSuccess: (response) => callback(null, response)
      })
    }, host.report)
    server.register(method.path, respond, method.server.serialize, method.server.deserialize, "unary")
  }
})

type Duplex<Request, Response> = Grpc.ServerDuplexStream<Request, Response>

/** The next message, `None` at the end, `undefined` while there is neither. */
const read = <Request, Response>(call: Duplex<Request, Response>): Option.Option<Request> | undefined => {
  const message: Request | null = call.read()
  return message === null && !call.readableEnded ? undefined : Option.fromNullable(message)
}

// Listens only while it waits: a stream may live for weeks.
const nextMessage = <Request, Response>(call: Duplex<Request, Response>): Effect.Effect<Option.Option<Request>> =>
  Effect.suspend(() => {
    const ready = read(call)
    if (ready !== undefined) return Effect.succeed(ready)
    return Effect.async<Option.Option<Request>>((resume) => {
      const onChange = Callbacks.of(
        () => {
          const message = read(call)
          if (message === undefined) return
          stopListening()
          resume(Effect.succeed(message))
        },
        (cause) => resume(Effect.die(cause))
      )
      const stopListening = () => {
        call.off("readable", onChange)
        call.off("end", onChange)
      }
      call.on("readable", onChange)
      call.on("end", onChange)
      return Effect.sync(stopListening)
    })
  })

const send = <Request, Response>(call: Duplex<Request, Response>, response: Response): Effect.Effect<void> =>
  Effect.suspend(() =>
    call.write(response)
      ? Effect.void
      : Effect.async<void>((resume) => {
          const onDrain = Callbacks.resuming(resume, () => Effect.void)
          call.once("drain", onDrain)
          return Effect.sync(() => void call.off("drain", onDrain))
        })
  )

/**
 * A handler of a bidirectional rpc that answers every request once, strictly one after the other, and ends with `OK`
 * when the client has closed its side. Interrupted when the client cancels; a defect ends the stream with `INTERNAL`.
 */
export const bidi = <Request, Response>(
  method: Rpc<Request, Response>,
  handle: (request: Request) => Answer<Response>,
  around: AroundRpc<Request> = nothing
): Handler => ({
  path: method.path,
  isStream: true,
  addTo: (server, host) => {
    const serve = Effect.fnUntraced(function* (call: Duplex<Request, Response>) {
      yield* around.arrive(host.guard(method.path, headersOf(call.metadata)))
      let request = yield* nextMessage(call)
      while (Option.isSome(request)) {
        yield* send(call, yield* around.answer(request.value, handle(request.value)))
        request = yield* nextMessage(call)
      }
    })
    const respond = Callbacks.of((call: Duplex<Request, Response>) => {
      const onFailure = (failure: Failure) => void call.emit("error", failure)
      host.serves(onFailure)
      answer(
        host,
        method.path,
        call,
        Effect.suspend(() => serve(call)),
        { onFailure, onSuccess: () => void call.end() }
      )
    }, host.report)
    server.register(method.path, respond, method.server.serialize, method.server.deserialize, "bidi")
  }
})

/** Lasts as long as the call. An extension answers all that it reads: while answers are not taken, nothing is read. */
const extended = (call: Duplex<unknown, unknown>, handle: () => void, report: Callbacks.Catch): Effect.Effect<void> =>
  Effect.async((resume) => {
    const onFinish = Callbacks.of(() => resume(Effect.void), report)
    const onData = Callbacks.of(() => call.writableNeedDrain && call.pause(), report)
    const onDrain = Callbacks.of(() => call.resume(), report)
    call.once("finish", onFinish)
    handle()
    call.on("data", onData)
    call.on("drain", onDrain)
  })

// An extension's implementation is plain grpc-js: it runs once the guard has passed the call.
const guarded = (server: Grpc.Server, host: Host, services: Set<string>): Pick<Grpc.Server, "addService"> => ({
  addService: (definition, implementation) => {
    for (const { path } of Object.values(definition)) services.add(serviceOf(path))
    const held = Object.entries(implementation).map(([name, handle]) => {
      const respond = Callbacks.of((call: Duplex<unknown, unknown>) => {
        const path = call.getPath()
        const onFailure = (failure: Failure) => void call.emit("error", failure)
        host.serves(onFailure)
        const served = extended(call, () => Reflect.apply(handle, implementation, [call]), host.report)
        const checked = Effect.zipRight(host.guard(path, headersOf(call.metadata)), served)
        answer(host, path, call, checked, { onFailure, onSuccess: () => {} })
      }, host.report)
      return [name, respond] as const
    })
    server.addService(definition, Object.fromEntries(held))
  }
})

const limited = (
  options: NonNullable<Options["connections"]>,
  handlers: Options["handlers"],
  run: Run,
  report: Callbacks.Catch
) => {
  const unary = new Set(handlers.filter(({ isStream }) => !isStream).map(({ path }) => path))
  return new Connections.Connections(
    options,
    (path) => unary.has(path),
    // A token is verified without waiting, so that the answer is there before the request.
    (headers, found) => void run(Effect.map(options.recognise(headers), (isGood) => isGood && found())),
    report
  )
}

/**
 * Starts a server, and stops it when the scope closes: calls in flight have `shutdownGrace`, then they end `UNAVAILABLE`.
 * Fails if it cannot listen.
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Bound, AioConfigError, Scope.Scope> {
  const scope = yield* Effect.scope
  const fibers = yield* FiberSet.make()
  const run = yield* FiberSet.runtime(fibers)<never>()
  const report = yield* Callbacks.report("ServerHost", "a callback of a call threw")
  const connections = options.connections && limited(options.connections, options.handlers, run, report)
  const server = new Grpc.Server(connections?.serverOptions)
  const host: Host = {
    run,
    report,
    guard: options.guard,
    known: (peer) => connections?.known(peer),
    serves: (end) => connections?.serves(end)
  }
  for (const handler of options.handlers) handler.addTo(server, host)
  const services = new Set(options.handlers.map((handler) => serviceOf(handler.path)))
  const guardedServer = guarded(server, host, services)
  for (const extension of options.extensions ?? []) extension.addToServer(guardedServer)
  failUnknownMethods(server, services)
  const credentials =
    options.tls === undefined ? Grpc.ServerCredentials.createInsecure() : yield* Tls.server(options.tls)
  const { drain, end, stop } = Shutdown.make(
    server,
    Duration.toMillis(options.shutdownGrace ?? Duration.seconds(5)),
    Effect.sync(() => {
      for (const fiber of fibers) Fibers.unsafeInterrupt(fiber)
    })
  )
  const bound = yield* Effect.acquireRelease(Listener.bind(server, options.listen, credentials), () => stop)
  connections?.watch(server)
  const endLater = options.endlessDrain === true ? Effect.void : Effect.forkIn(end, scope)
  return { ...bound, drain: Effect.asVoid(Effect.zipRight(drain, endLater)) }
})
