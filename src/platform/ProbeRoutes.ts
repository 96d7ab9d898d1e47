/** The answers to the probes of an orchestrator. */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { askWithin } from "../layers/lease/askWithin.js"
import type { ServiceRef } from "../schemas/Service.js"
import type { Heartbeat, RegistrationStatus } from "../services/Heartbeat.js"
import * as Readiness from "./Readiness.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface ReadyOptions {
  /** The app's own check. A failure, a defect or more than 5 seconds count as `false`. Default: none. */
  readonly check?: Effect.Effect<boolean> | undefined
  /**
   * `"first"` (default): ready from the moment when the lease was `Live` for the first time. A lease that is lost later is
   * told in the body and changes nothing: an outage of the registry must not take a whole fleet out of service.
   * `"always"`: ready only while the lease is `Live` or `Suspect`.
   */
  readonly requireLease?: "first" | "always" | undefined
}

type Named = Pick<ServiceRef, "project" | "name">

const answer = (status: 200 | 503, body: unknown): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(`${JSON.stringify(body)}\n`, {
    status,
    contentType: "application/json",
    headers: { "cache-control": "no-store" }
  })

/** Never looks at the registry: a restart of the process brings no registry back. */
export const alive = answer(200, { alive: true })

const isOf =
  (named: Named | undefined) =>
  ({ service }: RegistrationStatus): boolean =>
    named === undefined || (service.project === named.project && service.name === named.name)

/** `named`: only registrations of this service count. */
export const ready = (
  { registrations }: Heartbeat.Service,
  { check = Effect.succeed(true), requireLease = "first" }: ReadyOptions,
  isStopping: () => boolean,
  named: Named | undefined
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.gen(function* () {
    const checked = yield* Effect.exit(askWithin(check, "5 seconds"))
    // Read last: a stop may have begun while the check ran.
    const readiness = Readiness.judge({
      registrations: (yield* registrations).filter(isOf(named)),
      isWell: Exit.isSuccess(checked) && checked.value,
      isStopping: isStopping(),
      always: requireLease === "always"
    })
    return answer(readiness.ready ? 200 : 503, readiness)
  })
