/**
 * One declaration per option: an interface with the docs, and beside it a record with a rule for each of its options.
 * The compiler demands one for each; the defaults, the check, the type of what was checked and how it is read from the
 * environment follow from it.
 */
import type * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Configs from "../internal/configs.js"
import { AioConfigError } from "./AioError.js"
import * as Limits from "./Limits.js"

/** `min` milliseconds to 1 day. */
export interface DurationRule {
  readonly default: Duration.Duration
  readonly min: number
}

export interface NumberRule {
  readonly default: number
  readonly min: number
  readonly max: number
  readonly integer?: boolean
}

export interface SwitchRule {
  readonly default: boolean
}

/** The waits between attempts, for ever: one that ends begins again. */
export interface ScheduleRule {
  readonly default: Schedule.Schedule<unknown>
}

export type RuleFor<A> = [Duration.DurationInput] extends [A]
  ? DurationRule
  : [A] extends [boolean]
    ? SwitchRule
    : [A] extends [Schedule.Schedule<unknown>]
      ? ScheduleRule
      : NumberRule

/** A rule for each option of `T`: `{ … } satisfies Rules<TokenPolicy>`. */
export type Rules<T> = { readonly [K in keyof T]-?: RuleFor<NonNullable<T[K]>> }

type AnyRule = DurationRule | NumberRule | SwitchRule | ScheduleRule

export type AnyRules = Readonly<Record<string, AnyRule>>

export type Defaults<R extends AnyRules> = { readonly [K in keyof R]: R[K]["default"] }

export type Given<R extends AnyRules> = {
  readonly [K in keyof R]?:
    | (R[K]["default"] extends Duration.Duration ? Duration.DurationInput : R[K]["default"])
    | undefined
}

/** What was checked: durations as numbers of milliseconds, under the name with `Suffix`. */
export type Checked<R extends AnyRules, Suffix extends string = "Millis"> = {
  readonly [K in keyof R & string as R[K]["default"] extends Duration.Duration
    ? `${K}${Suffix}`
    : K]: R[K]["default"] extends boolean
    ? boolean
    : R[K]["default"] extends Schedule.Schedule<unknown>
      ? Schedule.Schedule<unknown>
      : number
}

/** One option of milliseconds or more, at most 1 day. */
export const duration = (value: Duration.DurationInput, min = 1): DurationRule => ({
  default: Duration.decode(value),
  min
})

export const number = (value: number, min: number, max: number): NumberRule => ({ default: value, min, max })

export const whole = (value: number, min: number, max: number): NumberRule => ({
  ...number(value, min, max),
  integer: true
})

export const fraction = (value: number): NumberRule => number(value, 0, 1)

export const toggle = (value: boolean): SwitchRule => ({ default: value })

export const schedule = (value: Schedule.Schedule<unknown>): ScheduleRule => ({ default: value })

const checkSchedule = (field: string, value: unknown): Either.Either<unknown, AioConfigError> =>
  Schedule.isSchedule(value)
    ? Either.right(value)
    : Either.left(
        new AioConfigError({ field, problem: "is no Schedule", expected: "a Schedule of the package effect" })
      )

const checkOne = (field: string, rule: AnyRule, value: unknown): Either.Either<unknown, AioConfigError> => {
  if (typeof rule.default === "boolean") return Either.right(value)
  if ("max" in rule) return Limits.number(field, value, rule)
  return "min" in rule ? Limits.durationMillis(field, value, rule.min) : checkSchedule(field, value)
}

/** Fills in the defaults and checks all, in the order of the rules. */
export const check =
  <const R extends AnyRules, Suffix extends string = "Millis">(path: string, rules: R, suffix?: Suffix) =>
  (given: Given<R> = {}): Either.Either<Checked<R, Suffix>, AioConfigError> => {
    const checked: Record<string, unknown> = {}
    for (const [name, rule] of Object.entries(rules)) {
      const one = checkOne(`${path}${name}`, rule, given[name] ?? rule.default)
      if (Either.isLeft(one)) return Either.left(one.left)
      checked[Duration.isDuration(rule.default) ? `${name}${suffix ?? "Millis"}` : name] = one.right
    }
    return Either.right(checked as Checked<R, Suffix>)
  }

/** The defaults alone, as they are given. */
export const defaults = <const R extends AnyRules>(rules: R): Defaults<R> =>
  Object.fromEntries(Object.entries(rules).map(([name, rule]) => [name, rule.default])) as Defaults<R>

/** How an option is read from the environment: from the first of these keys that is set, without blanks at its ends. */
export interface Key<A> {
  readonly names: readonly [string, ...ReadonlyArray<string>]
  readonly description: string
  readonly read: (text: string) => Option.Option<A>
}

export const key = <A>(names: Key<A>["names"], description: string, read: Key<A>["read"]): Key<A> => ({
  names,
  description,
  read
})

export const config = <A>({ description, names: [first, ...others], read }: Key<A>): Config.Config<A> =>
  others
    .reduce(
      (config, name) => Configs.orIfMissing(config, Configs.fromText(name, description, read)),
      Configs.fromText(first, description, read)
    )
    .pipe(Configs.described(description))
