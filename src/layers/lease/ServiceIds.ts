/**
 * The ids of services, asked for by name. An id is a number of one database: after a restore, or a restart with an empty
 * store, a remembered one may belong to another service.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
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

interface Question {
  answer: Ensured | undefined
  readonly askedAt: number
  readonly ask: Effect.Effect<Ensured, RegistryError>
}

/** One call a second for each service, however many leases it has. */
const SHARED_MILLIS = 1_000

/** A registry of the user's may have no deadline, and all leases of the service wait. */
const ENSURE_TIMEOUT = "30 seconds"

const failure = (code: number, details: string) =>
  new AioRpcError({ method: "RegistryService/EnsureService", code, details })

/** The calls end with the scope. */
export const make = (registry: Registry.Service, clock: Clock.Clock, scope: Scope.Scope) => {
  // In the order in which they were asked. One that has failed is not kept.
  const questions = new Map<string, Question>()
  let outages = 0

  const forgetOld = (now: number) => {
    for (const [name, { answer, askedAt }] of questions) {
      if (answer === undefined || now - askedAt < SHARED_MILLIS) return
      questions.delete(name)
    }
  }

  const begin = (name: string, service: NewService, askedAt: number): Question => {
    const before = outages
    const ensure = registry.ensureService(service).pipe(
      Fibers.disconnect,
      Effect.timeoutFail({
        duration: ENSURE_TIMEOUT,
        onTimeout: () => failure(StatusCode.StatusCode.DEADLINE_EXCEEDED, `no answer within ${ENSURE_TIMEOUT}`)
      }),
      Effect.map(({ service: { id } }) => {
        const answer: Ensured = { id, outages: before, isTold: false }
        question.answer = answer
        return answer
      }),
      Effect.onError(() =>
        Effect.sync(() => {
          if (questions.get(name) === question) questions.delete(name)
        })
      )
    )
    const closed = failure(StatusCode.StatusCode.CANCELLED, "the layer was closed")
    const question: Question = {
      answer: undefined,
      askedAt,
      ask: SingleFlight.make({ scope, run: ensure, closed })
    }
    forgetOld(askedAt)
    questions.delete(name)
    questions.set(name, question)
    return question
  }

  const isCurrent = (ensured: Ensured): boolean => ensured.outages === outages

  const find = (service: NewService, refused: Ensured | undefined): Effect.Effect<Ensured, RegistryError> =>
    Effect.suspend(() => {
      const name = `${service.project}\u0000${service.name}`
      const now = Monotonic.unsafeNow(clock)
      const known = questions.get(name)
      if (known !== undefined && known.answer === undefined) return awaiting(service, known)
      const isShared = known?.answer !== undefined && known.answer !== refused && now - known.askedAt < SHARED_MILLIS
      return awaiting(service, isShared ? known : begin(name, service, now))
    })

  const awaiting = (service: NewService, { answer, ask }: Question): Effect.Effect<Ensured, RegistryError> =>
    answer !== undefined
      ? Effect.succeed(answer)
      : // Of before an outage: the registry that answered may not be the one that is there now.
        Effect.flatMap(ask, (ensured) => (isCurrent(ensured) ? Effect.succeed(ensured) : find(service, ensured)))

  return {
    /**
     * The id that the service has now, ensured by name. `refused` is the answer that has turned out not to do. Interrupting
     * one caller disturbs no other.
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
