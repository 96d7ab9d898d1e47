/** `Discovery.use`: picks an instance, runs the call, reports its outcome, and fails over where that is allowed. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as RetryBudget from "../../core/balancing/RetryBudget.js"
import * as Fibers from "../../internal/fibers.js"
import * as Metric from "../../internal/metric.js"
import type { Protocol } from "../../schemas/Address.js"
import { type AioConfigError, AioRpcError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import type { Discovery, DiscoveryError, Targets, UseOptions } from "../../services/Discovery.js"
import * as Labels from "../../telemetry/Labels.js"
import * as Metrics from "../../telemetry/Metrics.js"
import * as Use from "../../telemetry/Use.js"
import { type Balancers, type PickedInstance, wrongProtocol } from "./Balancers.js"
import * as FailureClassifier from "./FailureClassifier.js"
import * as ServiceBalancer from "./ServiceBalancer.js"

export interface Attempt<A, E, R> {
  readonly run: Effect.Effect<A, E, R>
  /** False while nothing can have been sent, and for good where the client could not be made. */
  readonly isSent: () => boolean
}

interface AttemptLimits {
  readonly attempts: number
  readonly timeoutMillis: number | undefined
}

const defaultAttempts = 3
const defaults: AttemptLimits = { attempts: defaultAttempts, timeoutMillis: undefined }

export const check = ({
  attempts,
  protocol,
  timeout
}: UseOptions<never>): Either.Either<AttemptLimits, AioConfigError> => {
  const wrong = wrongProtocol(protocol)
  if (wrong !== undefined) return Either.left(wrong)
  return attempts === undefined && timeout === undefined
    ? Either.right(defaults)
    : Either.all({
        attempts: Limits.number("attempts", attempts ?? defaultAttempts, { min: 1, max: 100, integer: true }),
        timeoutMillis: timeout === undefined ? Either.right(undefined) : Limits.durationMillis("timeout", timeout, 1)
      })
}

const noAnswer = ({ instance, service }: PickedInstance, millis = 0): AioRpcError =>
  new AioRpcError({
    method: "Discovery/use",
    code: StatusCode.DEADLINE_EXCEEDED,
    details: `no answer from instance ${instance.instanceKey} of ${service.project}/${service.name} within ${Duration.format(Duration.millis(millis))}`
  })

/** Another instance, in flight already; or why there is none. */
const another = <P extends Protocol>(
  { service }: PickedInstance,
  tried: ReadonlyArray<PickedInstance>,
  options: UseOptions<never, P>,
  { begin, now }: Balancers
): (PickedInstance & Targets[P]) | Use.Failover => {
  if (!RetryBudget.allows(service.budget, now())) {
    Metric.unsafeUpdate(Metrics.failovers, 1, Labels.failovers.overBudget)
    return "over budget"
  }
  const exclude = tried.map(({ call }) => call.candidate)
  const next = begin(service, { ...options, exclude })
  if (next === undefined) return "no other instance"
  RetryBudget.retry(service.budget, now())
  Metric.unsafeUpdate(Metrics.failovers, 1, Labels.failovers.tried)
  return next
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Runs one attempt, and reports its outcome however it ends. */
const attemptOnce = <A, E, R>(
  pick: PickedInstance,
  attempt: Attempt<A, E, R>,
  timeoutMillis: number | undefined,
  countsAsFailure: UseOptions<E>["countsAsFailure"],
  restore: Restore
): Effect.Effect<readonly [Exit.Exit<A, E | AioRpcError>, FailureClassifier.Verdict], never, R> => {
  const run = Effect.exit(attempt.run)
  const limited =
    timeoutMillis === undefined
      ? run
      : // Within a finalizer nothing times out unless it is made interruptible.
        Effect.map(Effect.timeoutOption(Effect.interruptible(run), timeoutMillis), Option.getOrUndefined)
  // Twice the exit: an interruption from outside passes by the inner one.
  return Effect.map(Effect.exit(restore(limited)), (outer) => {
    const exit = Exit.isFailure(outer) ? Exit.failCause(outer.cause) : outer.value
    let verdict = FailureClassifier.unjudged
    try {
      verdict = FailureClassifier.judge(exit, attempt.isSent(), countsAsFailure)
    } finally {
      // Also where `countsAsFailure` throws, which is the caller's defect then.
      pick.end(verdict)
    }
    return [exit ?? Exit.fail(noAnswer(pick, timeoutMillis)), verdict] as const
  })
}

/**
 * `locate` may wait. It can be interrupted, and so can the attempts, but nothing in between: an instance that was picked is in
 * flight, and is reported in the end.
 */
export const failover = <A, E, R, P extends Protocol>(
  balancers: Balancers,
  locate: Effect.Effect<ServiceBalancer.ServiceBalancer, DiscoveryError>,
  attemptOn: (pick: PickedInstance & Targets[P]) => Attempt<A, E, R>,
  options: UseOptions<E, P> = {}
): Effect.Effect<A, E | DiscoveryError, R> => {
  const { countsAsFailure, idempotent = false } = options
  const settings = check(options)
  if (Either.isLeft(settings)) return Effect.fail(settings.left)
  const { attempts, timeoutMillis } = settings.right
  const next = (
    pick: PickedInstance,
    tried: ReadonlyArray<PickedInstance>,
    again: FailureClassifier.Verdict["again"]
  ): (PickedInstance & Targets[P]) | Use.Failover => {
    if (again === "Never") return "not allowed"
    if (again === "IfIdempotent" && !idempotent) return "not idempotent"
    return tried.length < attempts ? another(pick, tried, options, balancers) : "attempts used up"
  }
  const run = (restore: Restore, fiber: Fibers.Running): Effect.Effect<A, E | DiscoveryError, R> => {
    const span = Fibers.spanOf(fiber)
    const attempt = (
      pick: PickedInstance & Targets[P],
      before: ReadonlyArray<PickedInstance>
    ): Effect.Effect<A, E | DiscoveryError, R> => {
      if (span !== undefined) Use.attempt(span, pick, before.length + 1)
      return Effect.flatMap(
        attemptOnce(pick, attemptOn(pick), timeoutMillis, countsAsFailure, restore),
        ([exit, { again, outcome }]) => {
          if (outcome === "Success") return exit
          const tried = [...before, pick]
          const found = next(pick, tried, again)
          const failover = typeof found === "string" ? found : "another instance"
          if (span !== undefined) {
            const now = Fibers.clockOf(fiber).unsafeCurrentTimeNanos()
            Use.failed(span, now, pick, exit, outcome, failover)
          }
          return typeof found === "string" ? exit : attempt(found, tried)
        }
      )
    }
    return Effect.flatMap(restore(locate), (service) => {
      const first = balancers.begin(service, options)
      if (first === undefined) return Effect.fail(ServiceBalancer.noInstances(service))
      RetryBudget.call(service.budget, balancers.now())
      return attempt(first, [])
    })
  }
  return Effect.uninterruptibleMask((restore) => Fibers.withFiber((fiber) => run(restore, fiber)))
}

export const use =
  (balancers: Balancers): Discovery.Service["use"] =>
  (ref, f, options) =>
    failover(
      balancers,
      balancers.locate(ref),
      (pick) => ({ run: Effect.suspend(() => f(pick.instance, pick)), isSent: constTrue }),
      options
    )
