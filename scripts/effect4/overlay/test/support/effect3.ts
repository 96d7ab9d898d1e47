/** What only tests use of Effect 3, and Effect 4 has not: with the signatures of Effect 3, for the generated tests. */
import { ConfigProvider, type Duration, Effect, type Exit, Fiber, Hash, Option, type Random } from "effect"
import * as HttpClientErrors from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as PlatformErrors from "effect/PlatformError"
import * as TestClock from "effect/testing/TestClock"
import { PCGRandom } from "../../src/internal/random.js"
import { settled } from "./clocks.js"

// `adjust` of Effect 3 waits until every fiber sleeps; that of Effect 4 lets them run once.
const settling = (move: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.andThen(settled, Effect.andThen(move, settled))

export const adjust = (duration: Duration.Input): Effect.Effect<void> => settling(TestClock.adjust(duration))

export const setTime = (timestamp: number): Effect.Effect<void> => settling(TestClock.setTime(timestamp))

export const interrupt = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Exit.Exit<A, E>> =>
  Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))

export const poll = <A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<Option.Option<Exit.Exit<A, E>>> =>
  Effect.sync(() => Option.fromUndefinedOr(fiber.pollUnsafe()))

type RandomService = typeof Random.Random.Service

export const makeRandom = (seed: string | number): RandomService => {
  const pcg = new PCGRandom(Hash.hash(seed))
  return {
    nextIntUnsafe: () => Math.floor(pcg.number() * Number.MAX_SAFE_INTEGER),
    nextDoubleUnsafe: () => pcg.number()
  }
}

export const fixedRandom = (values: ReadonlyArray<number>): RandomService => {
  let index = 0
  const next = () => values[index++ % values.length] ?? 0
  // On Effect 3 a 1 is the last of a range of integers, as far as tests ask.
  return { nextIntUnsafe: next, nextDoubleUnsafe: () => Math.min(next(), 1 - Number.EPSILON) }
}

export const fromMap = (map: ReadonlyMap<string, string>): ConfigProvider.ConfigProvider =>
  ConfigProvider.fromEnv({ env: Object.fromEntries(map) })

interface RequestProblem {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly reason: "Transport" | "Encode" | "InvalidUrl"
  readonly cause?: unknown
}

export class RequestError extends HttpClientErrors.HttpClientError {
  constructor({ reason, ...problem }: RequestProblem) {
    const errors = {
      Encode: HttpClientErrors.EncodeError,
      InvalidUrl: HttpClientErrors.InvalidUrlError,
      Transport: HttpClientErrors.TransportError
    }
    super({ reason: new errors[reason](problem) })
  }
}

interface ResponseProblem {
  readonly request: HttpClientRequest.HttpClientRequest
  readonly response: HttpClientResponse.HttpClientResponse
  readonly reason: "StatusCode" | "Decode"
}

export class ResponseError extends HttpClientErrors.HttpClientError {
  constructor({ reason, ...problem }: ResponseProblem) {
    super({
      reason: new (reason === "Decode" ? HttpClientErrors.DecodeError : HttpClientErrors.StatusCodeError)(problem)
    })
  }
}

interface SystemProblem {
  readonly reason: PlatformErrors.SystemErrorTag
  readonly module: string
  readonly method: string
  readonly description?: string
}

export class SystemError extends PlatformErrors.PlatformError {
  constructor({ reason, ...problem }: SystemProblem) {
    super(new PlatformErrors.SystemError({ ...problem, _tag: reason }))
  }
}
