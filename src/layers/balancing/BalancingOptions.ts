/** The options of balancing, and their defaults. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Outlier from "../../core/balancing/Outlier.js"
import { roundRobin } from "../../core/balancing/RoundRobin.js"
import * as SlowStart from "../../core/balancing/SlowStart.js"
import type { Strategy } from "../../core/balancing/Strategy.js"
import type * as AioConfig from "../../schemas/AioConfig.js"
import { AioConfigError } from "../../schemas/AioError.js"
import * as Limits from "../../schemas/Limits.js"
import * as Rules from "../../schemas/Options.js"
import type { HealthCheck } from "../../services/Discovery.js"
import type * as Balancers from "./Balancers.js"
import type * as HealthChecker from "./HealthChecker.js"

/**
 * The numbers of balancing.
 *
 * @since 0.1.0
 * @category models
 */
export interface BalancingTuning {
  /** When an instance that fails is ejected, and for how long. Defaults there. */
  readonly outlier?: Outlier.Options | undefined
  /** How an instance that appears after the first list warms up. Defaults there. */
  readonly slowStart?: SlowStart.Options | undefined
  /** How many calls may be retried on another instance. Defaults there. */
  readonly retryBudget?: RetryBudgetOptions | undefined
}

export interface Options extends Pick<AioConfig.Common, "cooldown"> {
  /** Numbers that most programs leave at their defaults. */
  readonly tuning?: BalancingTuning | undefined
  /**
   * The strategy that picks an instance: one of `Balancing`, or your own; or what a strategy with options gives, such as
   * `Balancing.peakEwmaWith({ decay: "5 seconds" })`. Default `Balancing.roundRobin`.
   */
  readonly balancing?: Strategy | Either.Either<Strategy, AioConfigError> | undefined
  /**
   * The networks to call instances on, the preferred one first: the next one counts only where no instance is left on those
   * before it. Default: no preference, every instance by its own address.
   */
  readonly network?: string | ReadonlyArray<string> | undefined
  /** Active health checks of the instances of all services in use. Default: none. */
  readonly health?: HealthOptions | undefined
}

/**
 * An unhealthy instance gets no calls, unless all are unhealthy. Instances that are not checked yet get calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface HealthOptions {
  /** The check: `HealthCheck.grpc()`, `HealthCheck.http()`, `HealthCheck.tcp()`, or a function of your own. */
  readonly check: HealthCheck
  /** From the end of one check of an instance to the next, ± 15 %. Default 10 seconds; 1 second to 1 day. */
  readonly interval?: Duration.DurationInput | undefined
  /** The same for a service without a call since the last check. Default 60 seconds; 1 second to 1 day. */
  readonly idleInterval?: Duration.DurationInput | undefined
  /** How long one check may take. Default 2 seconds; 1 millisecond to 1 day. */
  readonly timeout?: Duration.DurationInput | undefined
  /** So many failed checks in a row make an instance unhealthy. Default 3; 1 to 100. */
  readonly unhealthyAfter?: number | undefined
  /** So many that pass make it healthy again; the very first does at once. Default 2; 1 to 100. */
  readonly healthyAfter?: number | undefined
}

/**
 * Each service has its own budget, counted over the last ten seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryBudgetOptions {
  /** Retries on another instance for each call. Default 0.2; 0 to 1. */
  readonly share?: number | undefined
  /** So many retries a second are allowed besides. Default 10; 0 to 1,000,000. */
  readonly floorPerSecond?: number | undefined
}

const healthRules = {
  interval: Rules.duration("10 seconds", 1_000),
  idleInterval: Rules.duration("60 seconds", 1_000),
  timeout: Rules.duration("2 seconds"),
  unhealthyAfter: Rules.whole(3, 1, 100),
  healthyAfter: Rules.whole(2, 1, 100)
} satisfies Rules.Rules<Omit<HealthOptions, "check">>

const retryBudgetRules = {
  share: Rules.fraction(0.2),
  floorPerSecond: Rules.number(10, 0, 1_000_000)
} satisfies Rules.Rules<RetryBudgetOptions>

const checkHealth = Rules.check("health.", healthRules)
const checkRetryBudget = Rules.check("tuning.retryBudget.", retryBudgetRules)

type Checked<A> = Either.Either<A, AioConfigError>

const wrong = (field: string, problem: string, expected: string): Checked<never> =>
  Either.left(new AioConfigError({ field, problem, expected }))

const strategyOf = ({ balancing = roundRobin }: Options): Checked<Strategy> =>
  Either.flatMap(Either.isEither(balancing) ? balancing : Either.right(balancing), (strategy) =>
    // A strategy may come from code that no compiler checks.
    Predicate.hasProperty(strategy, "make") && Predicate.isFunction(strategy.make) && Predicate.isString(strategy.name)
      ? Either.right(strategy)
      : wrong("balancing", "is no strategy", "a strategy of Balancing, or an object with a name and a function make")
  )

const outlierOf = ({ cooldown, tuning: { outlier } = {} }: Options): Checked<Outlier.OutlierSettings> => {
  if (cooldown === undefined) return Outlier.settings(outlier)
  if (outlier !== undefined) return wrong("cooldown", "is set beside tuning.outlier", "one of the two")
  return Either.flatMap(Limits.durationMillis("cooldown", cooldown, 0), (millis) =>
    Outlier.settings(Outlier.cooldown(millis))
  )
}

const MAX_NETWORK = 64

const networksOf = ({ network = [] }: Options): Checked<ReadonlyArray<string>> =>
  Either.all(
    (Predicate.isString(network) ? [network] : network).map((name) =>
      Limits.text("network", name, { max: MAX_NETWORK, required: true })
    )
  )

const healthOf = ({ health }: Options): Checked<HealthChecker.Settings | undefined> => {
  if (health === undefined) return Either.right(undefined)
  if (!Predicate.isFunction(health.check)) {
    return wrong(
      "health.check",
      "is no function",
      "a check of HealthCheck, or a function from an instance to an Effect"
    )
  }
  const { check, ...rest } = health
  return Either.map(checkHealth(rest), (checked) => ({ check, ...checked }))
}

export const settings = (options: Options): Checked<Balancers.Settings> =>
  Either.all({
    strategy: strategyOf(options),
    slowStart: SlowStart.settings(options.tuning?.slowStart),
    outlier: outlierOf(options),
    networks: networksOf(options),
    health: healthOf(options),
    retryBudget: checkRetryBudget(options.tuning?.retryBudget)
  })
