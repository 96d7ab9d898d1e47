/** What clients may ask of a control plane before it refuses. */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Options from "./Options.js"
import { StatusCode } from "./StatusCode.js"

/**
 * The limits of a control plane. What exceeds one is answered `RESOURCE_EXHAUSTED` with the name of the limit; the real
 * server has none of them. Bytes are those of UTF-8. Durations are more than 0 and at most 1 day, in
 * real time.
 *
 * @since 0.1.0
 * @category models
 */
export interface PlaneLimits {
  /** The most bytes of a `client_key`. Default 256. */
  readonly clientKeyBytes?: number | undefined
  /** The most bytes of a `client_secret`. Default 1,024. */
  readonly clientSecretBytes?: number | undefined
  /** The most bytes of an `instance_key`. Default 256. */
  readonly instanceKeyBytes?: number | undefined
  /** The most bytes of each `spec_json`, `meta_json` and `endpoints_json`. Default 65,536. */
  readonly jsonBytes?: number | undefined
  /** The most endpoints of an instance. Default 64. */
  readonly endpoints?: number | undefined
  /** The most services. Default 10,000. */
  readonly services?: number | undefined
  /** The most instances, those whose lease has ended in the last hour among them. Default 1,000,000. */
  readonly instances?: number | undefined
  /** The most characters of JSON that all services and instances hold together. Default 268,435,456. */
  readonly totalJson?: number | undefined
  /** The most secrets that wait to be checked; two are checked at a time. Default 256. */
  readonly waitingAuthentications?: number | undefined
  /** The most connections; what comes beyond is closed at once, without an answer. Default 10,000. */
  readonly connections?: number | undefined
  /** The most calls and streams of a connection at a time; a client is told, and lets its further calls wait. Default 1,000. */
  readonly streams?: number | undefined
  /** How long a request, or a message on a stream, may take to arrive. Default 10 seconds. */
  readonly requestTime?: Duration.DurationInput | undefined
  /** How long a connection may live on which no token was issued or accepted. Default 30 seconds. */
  readonly authenticationTime?: Duration.DurationInput | undefined
  /** How long a connection may live without a call or a stream. Default 5 minutes. */
  readonly idleTime?: Duration.DurationInput | undefined
}

const MOST = 2 ** 31 - 1

const rules = {
  clientKeyBytes: Options.whole(256, 1, MOST),
  clientSecretBytes: Options.whole(1_024, 1, MOST),
  instanceKeyBytes: Options.whole(256, 1, MOST),
  jsonBytes: Options.whole(64 * 1_024, 1, MOST),
  endpoints: Options.whole(64, 1, MOST),
  services: Options.whole(10_000, 1, MOST),
  instances: Options.whole(1_000_000, 1, MOST),
  totalJson: Options.whole(256 * 1_024 * 1_024, 1, MOST),
  waitingAuthentications: Options.whole(256, 1, MOST),
  connections: Options.whole(10_000, 1, MOST),
  streams: Options.whole(1_000, 1, MOST),
  requestTime: Options.duration("10 seconds"),
  authenticationTime: Options.duration("30 seconds"),
  idleTime: Options.duration("5 minutes")
} satisfies Options.Rules<PlaneLimits>

/** Limits that were checked. */
export type CheckedLimits = Options.Checked<typeof rules>

/** Fills in the defaults and checks all of it. The error names the field as `limits.services`. */
export const check = Options.check("limits.", rules)

/** All at their defaults. */
export const standard: CheckedLimits = Either.getOrThrow(check())

/** A status that names the limit as the options do. */
export const refusal = <Limit extends keyof CheckedLimits>(
  problem: string,
  limit: Limit,
  limits: Pick<CheckedLimits, NoInfer<Limit>>
) => ({ code: StatusCode.RESOURCE_EXHAUSTED, details: `${problem}: limit ${limit} is ${limits[limit]}` })

export const exceeded = <Limit extends keyof CheckedLimits>(...refused: Parameters<typeof refusal<Limit>>) =>
  Either.left(refusal(...refused))

/** Refuses a text of more bytes than a limit. */
export const longer = <Limit extends keyof CheckedLimits>(
  field: string,
  text: string,
  limit: Limit,
  limits: Pick<CheckedLimits, NoInfer<Limit>>
): Either.Either<never, { readonly code: number; readonly details: string }> | undefined => {
  const max = limits[limit]
  // A UTF-16 unit is one to three bytes.
  const fits = text.length * 3 <= max || (text.length <= max && Buffer.byteLength(text) <= max)
  return fits ? undefined : exceeded(`${field} is too long`, limit, limits)
}
