/**
 * The ids of services, asked for by name. An id is a number of one database: after a restore, or a restart with an empty
 * store, a remembered one may belong to another service.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Fibers from "../../internal/fibers.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as SingleFlight from "../../internal/singleFlight.js"
import { AioRpcError } from "../../schemas/AioError.js"
import type { ServiceId } from "../../schemas/Ids.js"
import type { NewService } from "../../schemas/Service.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { Registry, RegistryError } from "../../services/Registry.js"

/** What the registry answered; the same object for all leases that share the answer. */
export interface Ensured {
  readonly id: ServiceId
  /** The outages that had ended when it was asked for. */
  readonly outages: number
  /** Leases that took the id for that of another service have been told. */
  isTold: boolean
}

/** One call, and what it was answered with. */
export interface Question {
  readonly ask: Effect.Effect<Ensured, RegistryError>
  /** `undefined` until it is answered; what it was answered with then. */
  exit: Exit.Exit<Ensured, RegistryError> | undefined
  /** Until when that answers others as well. */
  sharedUntil: number
}

/** A lease: the question whose answer it had last. */
export interface Asker {
  question: Question | undefined
}

/**
 * About one call a second for each service, however many leases it has. An answer is shared for so long from when it was asked
 * for, a failure from when it came: with a database that is down, a thousand leases asked 65 times a second (measured).
 */
const SHARED_MILLIS = 1_000

/** A registry of the user's may have no deadline, and all leases of the service wait. */
const ENSURE_TIMEOUT = "30 seconds"

const failure = (code: number, details: string) =>
  new AioRpcError({ method: "RegistryService/EnsureService", code, details })

/** The calls end with the scope. */
export const make = (registry: Registry.Service, clock: Clock.Clock, scope: Scope.Scope) => {
  // In the order in which they were asked.
  const questions = new Map<string, Question>()
  let outages = 0

  const forgetOld = (now: number) => {
    for (const [name, { exit, sharedUntil }] of questions) {
      if (exit === undefined || now < sharedUntil) return
      questions.delete(name)
    }
  }

  const begin = (name: string, service: NewService, askedAt: number): Question => {
    const before = outages
    const closed = failure(StatusCode.StatusCode.CANCELLED, "the layer was closed")
    const ensure = registry.ensureService(service).pipe(
      Fibers.disconnect,
      Effect.timeoutFail({
        duration: ENSURE_TIMEOUT,
        onTimeout: () => failure(StatusCode.StatusCode.DEADLINE_EXCEEDED, `no answer within ${ENSURE_TIMEOUT}`)
      }),
      Effect.map(({ service: { id } }): Ensured => ({ id, outages: before, isTold: false })),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          question.exit = Exit.isInterrupted(exit) ? Exit.fail(closed) : exit
          question.sharedUntil = SHARED_MILLIS + (Exit.isSuccess(exit) ? askedAt : Monotonic.unsafeNow(clock))
        })
      )
    )
    const ask = SingleFlight.make({ scope, run: ensure, closed })
    const question: Question = { ask, exit: undefined, sharedUntil: Number.POSITIVE_INFINITY }
    forgetOld(askedAt)
    questions.delete(name)
    questions.set(name, question)
    return question
  }

  const isCurrent = (ensured: Ensured): boolean => ensured.outages === outages

  const find = (service: NewService, asker: Asker): Effect.Effect<Ensured, RegistryError> =>
    Effect.suspend(() => {
      const name = `${service.project}\u0000${service.name}`
      const now = Monotonic.unsafeNow(clock)
      const known = questions.get(name)
      const isShared =
        known !== undefined && now < known.sharedUntil && (known.exit === undefined || known !== asker.question)
      const question = isShared ? known : begin(name, service, now)
      asker.question = question
      return (
        question.exit ??
        // Of before an outage: the registry that answered may not be the one that is there now.
        Effect.flatMap(question.ask, (ensured) => (isCurrent(ensured) ? Effect.succeed(ensured) : find(service, asker)))
      )
    })

  return {
    /**
     * The id that the service has now, ensured by name. Never what this lease had the last time: that has turned out not to do,
     * or has failed. Interrupting one caller disturbs no other.
     */
    find,
    /** No outage has ended since it was asked for. */
    isCurrent,
    /** The registry can be reached again, with another database perhaps. */
    forget: (): void => {
      outages++
      questions.clear()
    }
  }
}

export type ServiceIds = ReturnType<typeof make>
