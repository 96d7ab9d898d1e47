/**
 * What has another name on Effect 4, as data. A key is `Module.member` of Effect 3. A value is the member of the same
 * module on Effect 4, or `Module.member` of another one.
 */

/** Modules that have moved: where to, and the name that the code calls them by. */
export const modules = {
  "effect/ConfigError": ["effect/Config", "Config"],
  "effect/Either": ["effect/Result", "Result"],
  "effect/FastCheck": ["fast-check", "FastCheck"],
  "effect/TestClock": ["effect/testing/TestClock", "TestClock"],
  "@effect/platform/Error": ["effect/PlatformError", "PlatformError"],
  "@effect/platform/FetchHttpClient": ["effect/http/FetchHttpClient", "FetchHttpClient"],
  "@effect/platform/FileSystem": ["effect/FileSystem", "FileSystem"],
  "@effect/platform/HttpApp": ["effect/http/HttpEffect", "HttpEffect"],
  "@effect/platform/HttpBody": ["effect/http/HttpBody", "HttpBody"],
  "@effect/platform/HttpClient": ["effect/http/HttpClient", "HttpClient"],
  "@effect/platform/HttpClientError": ["effect/http/HttpClientError", "HttpClientError"],
  "@effect/platform/HttpClientRequest": ["effect/http/HttpClientRequest", "HttpClientRequest"],
  "@effect/platform/HttpClientResponse": ["effect/http/HttpClientResponse", "HttpClientResponse"],
  "@effect/platform/HttpServer": ["effect/http/HttpServer", "HttpServer"],
  "@effect/platform/HttpServerRequest": ["effect/http/HttpServerRequest", "HttpServerRequest"],
  "@effect/platform/HttpServerResponse": ["effect/http/HttpServerResponse", "HttpServerResponse"],
  "@effect/platform/KeyValueStore": ["effect/persistence/KeyValueStore", "KeyValueStore"],
  "@effect/platform/Path": ["effect/Path", "Path"],
  "@effect/platform/Runtime": ["effect/Runtime", "Runtime"],
  "@effect/platform-node/NodeContext": ["@effect/platform-node/NodeServices", "NodeServices"],
  "@effect/rpc/Rpc": ["effect/rpc/Rpc", "Rpc"],
  "@effect/rpc/RpcClient": ["effect/rpc/RpcClient", "RpcClient"],
  "@effect/rpc/RpcGroup": ["effect/rpc/RpcGroup", "RpcGroup"],
  "@effect/rpc/RpcSerialization": ["effect/rpc/RpcSerialization", "RpcSerialization"]
}

export const members = {
  "Array.isNonEmptyReadonlyArray": "isReadonlyArrayNonEmpty",
  "Cause.TimeoutException": "TimeoutError",
  "Cause.failureOption": "findErrorOption",
  "Cause.isDie": "hasDies",
  "Cause.isInterrupted": "hasInterrupts",
  "Cause.isInterruptedOnly": "hasInterruptsOnly",
  "Chunk.unsafeFromArray": "fromArrayUnsafe",
  "Config.Config.Wrap": "Config.Wrap",
  "Config.boolean": "Boolean",
  "Config.duration": "Duration",
  "Config.literal": "Literals",
  "Config.nonEmptyString": "NonEmptyString",
  "Config.number": "Number",
  "Config.redacted": "Redacted",
  "Config.string": "String",
  "ConfigProvider.fromJson": "fromUnknown",
  "Deferred.unsafeDone": "doneUnsafe",
  "Deferred.unsafeMake": "makeUnsafe",
  "Duration.DurationInput": "Input",
  "Duration.decode": "fromInputUnsafe",
  "Duration.decodeUnknown": "fromInput",
  "Duration.greaterThanOrEqualTo": "isGreaterThanOrEqualTo",
  "Duration.lessThan": "isLessThan",
  "Effect.Effect.Context": "Effect.Services",
  "Effect.Effect.Error": "Effect.Error",
  "Effect.Effect.Success": "Effect.Success",
  "Effect.Latch": "Latch.Latch",
  "Effect.async": "callback",
  "Effect.catchAll": "catch",
  "Effect.catchAllCause": "catchCause",
  "Effect.catchAllDefect": "catchDefect",
  "Effect.dieMessage": "die",
  "Effect.either": "result",
  "Effect.fork": "forkChild",
  "Effect.forkDaemon": "forkDetach",
  "Effect.fromNullable": "fromNullishOr",
  "Effect.makeLatch": "Latch.make",
  "Effect.runtime": "context",
  "Effect.tapErrorCause": "tapCause",
  "Effect.timeoutFail": "timeoutOrElse",
  "Effect.unsafeMakeLatch": "Latch.makeUnsafe",
  "Effect.unsafeMakeSemaphore": "Semaphore.makeUnsafe",
  "Effect.zipLeft": "tap",
  "Effect.zipRight": "andThen",
  "Either.Either": "Result",
  "Either.isEither": "isResult",
  "Either.isLeft": "isFailure",
  "Either.isRight": "isSuccess",
  "Either.left": "fail",
  "Either.mapLeft": "mapError",
  "Either.right": "succeed",
  "Encoding.decodeBase64UrlString": "encoding/Base64Url.decodeString",
  "Exit.isInterrupted": "hasInterrupts",
  "Fiber.RuntimeFiber": "Fiber",
  "FiberMap.unsafeHas": "hasUnsafe",
  "HashMap.unsafeGet": "getUnsafe",
  "Layer.scoped": "effect",
  "Layer.scopedContext": "effectContext",
  "Layer.scopedDiscard": "effectDiscard",
  "Layer.unwrapEffect": "unwrap",
  "Layer.unwrapScoped": "unwrap",
  "LogLevel.greaterThanEqual": "isGreaterThanOrEqualTo",
  "Metric.Metric.Counter": "Metric.Counter",
  "Metric.Metric.Gauge": "Metric.Gauge",
  "Option.fromNullable": "fromNullishOr",
  "Predicate.isRecord": "isObject",
  "Queue.unsafeOffer": "offerUnsafe",
  "Random.nextRange": "nextBetween",
  "Runtime.Runtime": "Context.Context",
  "Runtime.runCallback": "Effect.runCallbackWith",
  "Runtime.runFork": "Effect.runForkWith",
  "Schedule.addDelayEffect": "addDelay",
  "Schedule.jitteredWith": "modifyDelay",
  "Schema.decodeUnknownEither": "decodeUnknownResult",
  "Schema.parseJson": "fromJsonString",
  "Scope.CloseableScope": "Closeable",
  "Scope.extend": "provide",
  "Stream.catchAll": "catch",
  "Stream.fromChunk": "fromArray",
  "Stream.repeatEffect": "fromEffectRepeat",
  "Stream.repeatEffectWithSchedule": "fromEffectSchedule",
  "Stream.runForEachChunk": "runForEachArray",
  "Stream.unwrapScoped": "unwrap"
}

/** Members that are a text now. */
export const texts = {
  "ExecutionStrategy.parallel": '"parallel"',
  "ExecutionStrategy.sequential": '"sequential"',
  "LogLevel.All": '"All"',
  "LogLevel.Debug": '"Debug"',
  "LogLevel.Error": '"Error"',
  "LogLevel.Info": '"Info"',
  "LogLevel.Warning": '"Warn"',
  "Schema.Schema.AnyNoContext": "Schema.Codec<any, any>"
}

/** They provide a service: under which name, and which service stands before their last argument. */
export const provided = {
  "Effect.withClock": ["Effect.provideService", "Clock.Clock"],
  "Effect.withConfigProvider": ["Effect.provideService", "ConfigProvider.ConfigProvider"],
  "Effect.withMaxOpsBeforeYield": ["Effect.provideService", "References.MaxOpsBeforeYield"],
  "Effect.withRandom": ["Effect.provideService", "Random.Random"],
  "Layer.setClock": ["Layer.succeed", "Clock.Clock"],
  "Layer.setTracerEnabled": ["Layer.succeed", "References.TracerEnabled"],
  "Layer.setTracer": ["Layer.succeed", "Tracer.Tracer"],
  "Logger.minimumLogLevel": ["Layer.succeed", "References.MinimumLogLevel"],
  "Logger.withMinimumLogLevel": ["Effect.provideService", "References.MinimumLogLevel"]
}

/** Members of values, where Effect declares them: also in object literals and patterns. */
export const properties = {
  label: "toUpperCase()",
  left: "failure",
  onLeft: "onFailure",
  onRight: "onSuccess",
  right: "success",
  unsafeClose: "closeUnsafe",
  unsafeCurrentTimeMillis: "currentTimeMillisUnsafe",
  unsafeCurrentTimeNanos: "currentTimeNanosUnsafe",
  unsafeOffer: "offerUnsafe",
  unsafeOpen: "openUnsafe",
  unsafePoll: "pollUnsafe"
}

/** The same, only where they are called. */
export const methods = { annotations: "annotate" }

/** Methods that are functions now, by the name of the type that has them. */
export const functions = { unsafeOffer: { PubSub: "PubSub.publishUnsafe", Queue: "Queue.offerUnsafe" } }

/** What `_tag` is compared with, where Effect declares it. */
export const tags = { Left: "Failure", Right: "Success", TimeoutException: "TimeoutError" }

/** A child may be interrupted where its parent may: always on Effect 4, unless it is told to inherit. */
export const forks = ["Effect.fork", "Effect.forkDaemon", "Effect.forkIn", "Effect.forkScoped"]

/** Their arguments are one list now. */
export const lists = ["Schema.Literal", "Schema.Tuple", "Schema.Union"]

/** Constants that are functions now, and the reverse. */
export const functionsNow = ["Schema.Defect"]
export const constantsNow = ["Effect.yieldNow"]

/** They take one argument now. */
export const unaryNow = ["Cause.pretty"]

/** Their last argument is a value now, and no function that gives it. */
export const valuesNow = ["ConfigProvider.orElse"]

/** They take a `Duration`, and no other text or number for it. */
export const strictDurations = ["Duration.format", "Duration.max", "Duration.min"]

/** Options and arguments that are no more. */
export const droppedOptions = {
  "Effect.makeSpan": ["captureStackTrace"],
  "NodeRuntime.runMain": ["disablePrettyLogger"]
}
export const droppedArguments = ["FiberId.none"]

/**
 * Errors that are the reason of another one now, by a property that names it:
 * `new RequestError({ reason: "Transport", … })` → `new HttpClientError({ reason: new TransportError({ … }) })`.
 */
export const reasons = { "HttpClientError.RequestError": { error: "HttpClientError", property: "reason" } }

/** Of vitest's `it`. */
export const runners = { scoped: "effect", scopedLive: "live" }

/** What only tests use and Effect 4 has not: the functions of `overlay/test/support/effect3.ts`. */
export const shims = {
  "ConfigProvider.fromMap": "fromMap",
  "Error.SystemError": "SystemError",
  "Fiber.interrupt": "interrupt",
  "Fiber.poll": "poll",
  "HttpClientError.RequestError": "RequestError",
  "HttpClientError.ResponseError": "ResponseError",
  "Random.fixed": "fixedRandom",
  "Random.make": "makeRandom",
  "TestClock.adjust": "adjust",
  "TestClock.setTime": "setTime"
}

/** What `structure.mjs` rewrites as a whole. */
export const structural = [
  "Context.Tag",
  "Logger.add",
  "Logger.remove",
  "Logger.replace",
  "Schedule.intersect",
  "Schedule.union",
  ...Object.keys(provided)
]

/** Effect's functions whose first argument may be an `Either` or an `Option`, with a type that nothing else demands. */
export const dataFirst = [
  "Effect.as",
  "Effect.catchAll",
  "Effect.flatMap",
  "Effect.map",
  "Effect.mapError",
  "Effect.match",
  "Effect.matchEffect",
  "Effect.onExit",
  "Effect.tap",
  "Effect.zipRight"
]
