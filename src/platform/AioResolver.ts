/**
 * Targets `aio:///project/service` for every client of grpc-js: generated, of proto-loader, or of nice-grpc. Its calls go to
 * the instances that `Discovery` knows, as its balancing and its ejections have it.
 *
 * grpc-js has one table of schemes for the process, which is why such a layer has a name: `aio:///project/service` is answered
 * by the layer of the name `""`, and `aio://name/project/service` by that of `name`. Build it before the first client: to
 * grpc-js an unknown scheme is the name of a host. Each client is made with {@link channelOptions}.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Callbacks from "../grpc/Callbacks.js"
import * as Hooks from "../grpc/resolver/register.js"
import * as Targets from "../grpc/resolver/Targets.js"
import * as Background from "../internal/background.js"
import * as Logs from "../internal/logs.js"
import * as PickPort from "../layers/balancing/PickPort.js"
import { AioConfigError } from "../schemas/AioError.js"
import { Discovery } from "../services/Discovery.js"
import * as Annotations from "../telemetry/Annotations.js"
import * as ResolvedTargets from "./resolver/ResolvedTargets.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The host of the targets that this layer answers for: letters, digits, and `.`, `_`, `-`. Default `""`. */
  readonly name?: string | undefined
}

/**
 * What each client of a target `aio:` is made with: `new Client(target, credentials, { ...AioResolver.channelOptions })`. With
 * a proxy in the environment, grpc-js asks no resolver, and sends the target to the proxy.
 *
 * @since 0.1.0
 * @category constants
 */
export const channelOptions: { readonly "grpc.enable_http_proxy": 0 } = Hooks.channelOptions

const checkName = (name: string): Either.Either<string, AioConfigError> =>
  /^[A-Za-z0-9._-]{0,64}$/.test(name)
    ? Either.right(name)
    : Either.left(
        new AioConfigError({
          field: "name",
          problem: `is "${name}"`,
          expected: "at most 64 letters, digits, and . _ -, as in aio://name/project/service"
        })
      )

const warnOfProxy = Effect.suspend(() => {
  const variable = Hooks.proxyVariable()
  return variable === undefined
    ? Effect.void
    : Logs.warning(
        `${variable} is set: to find instances for aio: targets, each gRPC client has to be made with AioResolver.channelOptions`
      )
})

/**
 * Answers for the targets of its name until the scope closes. After that their calls fail with `UNAVAILABLE`, until another one
 * takes the name. Fails with `AioConfigError` for a bad name, a name that is taken, and a `Discovery` that is not ours (a
 * wrapper that spreads ours will do).
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<void, AioConfigError, Discovery | Scope.Scope> =>
  Effect.gen(function* () {
    const name = yield* checkName(options.name ?? "")
    const discovery = yield* Discovery
    const port = PickPort.of(discovery)
    if (port === undefined) {
      return yield* new AioConfigError({
        field: "Discovery",
        problem: "picks by an Effect alone, which a gRPC channel cannot wait for",
        expected: "the Discovery of DiscoveryCached, or a wrapper that spreads it"
      })
    }
    yield* warnOfProxy
    const background = yield* Background.makeUnsafeFork
    const onThrow = yield* Callbacks.report("AioResolver", "a hook of grpc-js has thrown")
    const source = ResolvedTargets.make(discovery, port, background, onThrow)
    yield* Effect.acquireRelease(
      Effect.suspend(() => {
        Hooks.register()
        const release = Targets.take(name, source)
        return release === undefined
          ? new AioConfigError({
              field: "name",
              problem: `"${name}" is taken by another AioResolver.layer of this process`,
              expected: "another name, which becomes the host of its targets: aio://name/project/service"
            })
          : Effect.succeed(release)
      }),
      (release) => Effect.sync(release)
    )
  }).pipe(Annotations.from("AioResolver"))

/**
 * As {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, AioConfigError, Discovery> =>
  Layer.scopedDiscard(make(options))
