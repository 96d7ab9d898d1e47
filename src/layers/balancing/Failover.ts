/** Calls on instances: chosen, run, reported, and tried on another instance where that is allowed. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as RetryBudget from "../../core/balancing/RetryBudget.js"
import * as Metric from "../../internal/metric.js"
import { type AioConfigError, AioRpcError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { DiscoveryError, UseOptions } from "../../services/Discovery.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import type { Balancers, Pick } from "./Balancers.js"
import * as Failures from "./FailureClassifier.js"
import * as ServiceBalancer from "./ServiceBalancer.js"

/** What is done with an instance. */
export interface Attempt<A, E, R> {
  readonly run: Effect.Effect<A, E, R>
  /** False as long as nothing can have been sent, and for good where the client for it could not be made. */
  readonly isSent: () => boolean
}

interface Settings {
  readonly attempts: number
  readonly timeoutMillis: number | undefined
}

const defaultAttempts = 3
const defaults: Settings = { attempts: defaultAttempts, timeoutMillis: undefined }

const check = ({ attempts, timeout }: UseOptions<never>): Either.Either<Settings, AioConfigError> =>
  attempts === undefined && timeout === undefined
    ? Either.right(defaults)
    : Either.all({
        attempts: Limits.number("attempts", attempts ?? defaultAttempts, { min: 1, max: 100, integer: true }),
        timeoutMillis: timeout === undefined ? Either.right(undefined) : Limits.durationMillis("timeout", timeout, 1)
      })

const noAnswer = ({ choice, instance }: Pick, millis = 0): AioRpcError =>
  new AioRpcError({
    method: "Discovery/use",
    code: StatusCode.DEADLINE_EXCEEDED,
    details: `no answer from instance ${instance.instanceKey} of ${choice.project}/${choice.name} within ${Duration.format(Duration.millis(millis))}`
  })

/** Another instance, in flight already, where there is one and the budget allows it. */
const another = (
  { choice }: Pick,
  tried: ReadonlyArray<Pick>,
  options: UseOptions<never>,
  { chooser, now }: Means
): Pick | undefined => {
  if (!RetryBudget.allows(choice.budget, now())) {
    Metric.unsafeUpdate(Metrics.failovers, 1, Labels.failovers.overBudget)
    return undefined
  }
  const exclude = tried.map(({ call }) => call.candidate)
  const next = chooser.begin(choice, { key: options.key, where: options.where, exclude })
  if (next === undefined) return undefined
  RetryBudget.retry(choice.budget, now())
  Metric.unsafeUpdate(Metrics.failovers, 1, Labels.failovers.tried)
  return next
}

/** Does the attempt, and tells the instance's outcome whatever comes of it. */
const attemptOnce = <A, E, R>(
  pick: Pick,
  attempt: Attempt<A, E, R>,
  timeoutMillis: number | undefined,
  countsAsFailure: UseOptions<E>["countsAsFailure"],
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<readonly [Exit.Exit<A, E | AioRpcError>, Failures.Verdict], never, R> => {
  const judge = (exit: Exit.Exit<A, E> | undefined): Failures.Verdict => {
    if (exit === undefined) return attempt.isSent() ? Failures.timedOut : Failures.timedOutUnsent
    const failure = Exit.isSuccess(exit) ? Option.none() : Cause.failureOption(exit.cause)
    return attempt.isSent() || Option.isNone(failure)
      ? Failures.judge(exit, countsAsFailure)
      : Failures.unmadeClient(failure.value)
  }
  const run = Effect.exit(attempt.run)
  const limited =
    timeoutMillis === undefined ? run : Effect.map(Effect.timeoutOption(run, timeoutMillis), Option.getOrUndefined)
  // Twice the exit: an interruption from outside passes by the inner one.
  return Effect.map(Effect.exit(restore(limited)), (outer) => {
    const exit = Exit.isFailure(outer) ? Exit.failCause(outer.cause) : outer.value
    let verdict = Failures.unjudged
    try {
      verdict = judge(exit)
    } finally {
      // Also where `countsAsFailure` throws, which is the caller's defect then.
      pick.end(verdict)
    }
    return [exit ?? Exit.fail(noAnswer(pick, timeoutMillis)), verdict] as const
  })
}

export interface Means {
  readonly chooser: Balancers
  readonly now: () => number
}

/**
 * `locate` finds the service, and may wait; it can be interrupted, and so can the attempts. In between nothing comes: an
 * instance that was chosen is in flight, and reported in the end.
 */
export const failover = <A, E, R>(
  means: Means,
  locate: Effect.Effect<ServiceBalancer.ServiceBalancer, DiscoveryError>,
  attemptOn: (pick: Pick) => Attempt<A, E, R>,
  options: UseOptions<E> = {}
): Effect.Effect<A, E | DiscoveryError, R> => {
  const { countsAsFailure, idempotent = false } = options
  const settings = check(options)
  if (Either.isLeft(settings)) return Effect.fail(settings.left)
  const { attempts, timeoutMillis } = settings.right
  return Effect.uninterruptibleMask((restore) => {
    const attempt = (pick: Pick, before: ReadonlyArray<Pick>): Effect.Effect<A, E | DiscoveryError, R> =>
      Effect.flatMap(
        attemptOnce(pick, attemptOn(pick), timeoutMillis, countsAsFailure, restore),
        ([exit, { again }]) => {
          if (again === "Never" || (again === "IfIdempotent" && !idempotent)) return exit
          const tried = [...before, pick]
          const next = tried.length < attempts ? another(pick, tried, options, means) : undefined
          return next === undefined ? exit : attempt(next, tried)
        }
      )
    return Effect.flatMap(restore(locate), (choice) => {
      const first = means.chooser.begin(choice, options)
      if (first === undefined) return Effect.fail(ServiceBalancer.noInstances(choice))
      RetryBudget.call(choice.budget, means.now())
      return attempt(first, [])
    })
  })
}
