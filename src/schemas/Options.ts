/**
 * One declaration per option: an interface with the docs, and beside it a record with a rule for each of its options.
 * The compiler demands one for each; the defaults, the check and the type of what was checked follow from it.
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { AioConfigError } from "./AioError.js"
import * as Limits from "./Limits.js"

/** `min` milliseconds to 1 day, and not less than the option `atLeast`. */
export interface DurationRule<Other extends string = string> {
  readonly default: Duration.Duration
  readonly min: number
  readonly atLeast?: Other
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

export type RuleFor<A, Name extends string> = [Duration.DurationInput] extends [A]
  ? DurationRule<Name>
  : [A] extends [boolean]
    ? SwitchRule
    : NumberRule

/** A rule for each option of `T`: `{ … } satisfies Rules<TokenPolicy>`. */
export type Rules<T> = { readonly [K in keyof T]-?: RuleFor<NonNullable<T[K]>, keyof T & string> }

export type AnyRules = Readonly<Record<string, DurationRule | NumberRule | SwitchRule>>

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
    : K]: R[K]["default"] extends boolean ? boolean : number
}

/** One option of milliseconds or more, at most 1 day. */
export const duration = (value: Duration.DurationInput, min = 1): DurationRule<never> => ({
  default: Duration.decode(value),
  min
})

/** A duration that is not less than another option. */
export const longest = <const Other extends string>(
  value: Duration.DurationInput,
  atLeast: Other
): DurationRule<Other> => ({
  ...duration(value),
  atLeast
})

export const number = (value: number, min: number, max: number): NumberRule => ({ default: value, min, max })

export const whole = (value: number, min: number, max: number): NumberRule => ({
  ...number(value, min, max),
  integer: true
})

export const fraction = (value: number): NumberRule => number(value, 0, 1)

export const toggle = (value: boolean): SwitchRule => ({ default: value })

export type AnyRule = AnyRules[string]

const checkOne = (field: string, rule: AnyRule, value: unknown): Either.Either<unknown, AioConfigError> => {
  if (typeof rule.default === "boolean") return Either.right(value)
  return "max" in rule ? Limits.number(field, value, rule) : Limits.durationMillis(field, value, rule.min)
}

/** Fills in the defaults and checks all, in the order of the rules; then what is bounded by another option. */
export const check =
  <const R extends AnyRules, Suffix extends string = "Millis">(path: string, rules: R, suffix?: Suffix) =>
  (given: Given<R> = {}): Either.Either<Checked<R, Suffix>, AioConfigError> => {
    const checked: Record<string, unknown> = {}
    const nameOf = (name: string) => (Duration.isDuration(rules[name]?.default) ? `${name}${suffix ?? "Millis"}` : name)
    for (const [name, rule] of Object.entries(rules)) {
      const one = checkOne(`${path}${name}`, rule, given[name] ?? rule.default)
      if (Either.isLeft(one)) return Either.left(one.left)
      checked[nameOf(name)] = one.right
    }
    for (const [name, rule] of Object.entries(rules)) {
      const least = "atLeast" in rule ? rule.atLeast : undefined
      const millis = Number(checked[nameOf(name)])
      if (least === undefined || millis >= Number(checked[nameOf(least)])) continue
      const problem = `is ${Duration.format(Duration.millis(millis))}`
      return Either.left(
        new AioConfigError({ field: `${path}${name}`, problem, expected: `not less than ${path}${least}` })
      )
    }
    return Either.right(checked as Checked<R, Suffix>)
  }

/** The defaults alone, as they are given. */
export const defaults = <const R extends AnyRules>(rules: R): Defaults<R> =>
  Object.fromEntries(Object.entries(rules).map(([name, rule]) => [name, rule.default])) as Defaults<R>
