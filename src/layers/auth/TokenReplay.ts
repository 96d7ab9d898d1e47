/** What happens to a call whose token the server refuses. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Deadline from "../../grpc/client/Deadline.js"
import * as Pulls from "../../internal/pulls.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import { isAioError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type { RegistryError } from "../../services/Registry.js"
import type { TokenPort } from "./TokenPort.js"

const isRefused = (error: unknown): boolean =>
  isAioError(error) && error._tag === "AioRpcError" && StatusCode.dropsToken(error.code)

type TokenError = Effect.Effect.Error<TokenPort["token"]>

/** What the attempts of one call share. */
export interface CallState {
  readonly deadline: Deadline.Deadline
  /** For errors: `RegistryService/ListServices`. */
  readonly method: string
  /** What it sends is not kept, so it cannot be sent again. */
  readonly isOnce?: boolean
  isReplayed?: boolean
}

// A fresh token is taken without a deadline: a timeout costs as much as half a call.
const withToken = <A, E, E2>(
  auth: TokenPort,
  { deadline, method }: CallState,
  use: {
    readonly onSuccess: (token: AccessToken) => Effect.Effect<A, E>
    readonly onFailure: (error: TokenError) => Effect.Effect<A, E2>
  }
): Effect.Effect<A, E | E2> => {
  const fresh = auth.unsafeFresh()
  return fresh === undefined
    ? Effect.matchEffect(Deadline.before(auth.token, deadline, method), use)
    : use.onSuccess(fresh)
}

/**
 * What follows a call's answer, and a failure that is no refusal of its token: its own, or that of acquiring one. Not
 * combinators around the call: each costs every call some tenths of a microsecond.
 */
export interface Handlers<A, E, B, E2> {
  readonly answered: (answer: A, state: CallState) => Effect.Effect<B, E2>
  readonly failed: (error: E | TokenError) => Effect.Effect<B, E2>
}

/**
 * Runs a call with the token, now: to be called in a suspended effect. If the token is refused, it is dropped unless it was
 * replaced already, and the call is sent once more with the next one: fifty calls refused at once lead to one acquisition.
 * A young token that is refused is tried again first, if the deadline allows. One replay for each `state`, however often the
 * call is attempted.
 */
export const unary = <A, E, B, E2>(
  auth: TokenPort,
  state: CallState,
  call: (token: AccessToken) => Effect.Effect<A, E>,
  handlers: Handlers<A, E, B, E2>
): Effect.Effect<B, E | E2> => {
  const attempt = (used: AccessToken, isSecondTry: boolean): Effect.Effect<B, E | E2> =>
    Effect.matchEffect(call(used), {
      onSuccess: (answer) => {
        auth.unsafeAccepted(used)
        return handlers.answered(answer, state)
      },
      onFailure: (error): Effect.Effect<B, E | E2> =>
        isRefused(error) ? refused(used, error, isSecondTry) : handlers.failed(error)
    })

  const refused = (used: AccessToken, error: E, isSecondTry: boolean): Effect.Effect<B, E | E2> => {
    const delay = isSecondTry ? undefined : auth.unsafeSecondTry(used)
    // The next call tries a young token again.
    if (state.isOnce === true && delay !== undefined) return Effect.fail(error)
    if (delay !== undefined && Deadline.after(delay) < state.deadline) {
      return Effect.delay(
        Effect.suspend(() => attempt(used, true)),
        delay
      )
    }
    if (state.isOnce === true || state.isReplayed === true)
      return Effect.zipRight(auth.invalidate(used), Effect.fail(error))
    state.isReplayed = true
    return Effect.zipRight(
      auth.invalidate(used),
      Effect.suspend(() => withToken(auth, state, begin))
    )
  }

  const begin = { onSuccess: (token: AccessToken) => attempt(token, false), onFailure: handlers.failed }
  return withToken(auth, state, begin)
}

/**
 * {@link unary} for a stream of requests. It is opened again only if it was refused before its first answer, and sends the
 * requests it had sent by then first: none is lost, and none answered twice.
 */
export const stream = <Request, E, R, A>(
  auth: TokenPort,
  requests: Stream.Stream<Request, E, R>,
  open: <E3, R3>(
    token: AccessToken,
    requests: Stream.Stream<Request, E3, R3>
  ) => Stream.Stream<A, E3 | RegistryError, R3>
): Stream.Stream<A, E | RegistryError, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const pull = yield* Pulls.open(requests)
      const unanswered: Array<Request> = []
      let answered = false
      let isReplayed = false
      const noted = Pulls.stream(
        Effect.tap(pull, (chunk) =>
          Effect.sync(() => {
            if (!answered) for (const request of chunk) unanswered.push(request)
          })
        )
      )
      const accept = (token: AccessToken) => (answer: A) => {
        if (!answered) {
          answered = true
          unanswered.length = 0
          auth.unsafeAccepted(token)
        }
        return answer
      }
      type Answers = Stream.Stream<A, E | RegistryError, R>

      const attempt = (token: AccessToken, isSecondTry: boolean): Answers =>
        Stream.map(open(token, Stream.concat(Pulls.batch([...unanswered]), noted)), accept(token)).pipe(
          Stream.catchAll(
            (error): Answers =>
              answered || !isRefused(error) ? Stream.fail(error) : Stream.unwrap(refused(token, error, isSecondTry))
          )
        )

      const refused = (
        used: AccessToken,
        error: E | RegistryError,
        isSecondTry: boolean
      ): Effect.Effect<Answers, E | RegistryError> => {
        const delay = isSecondTry ? undefined : auth.unsafeSecondTry(used)
        if (delay !== undefined) {
          return Effect.delay(
            Effect.sync(() => attempt(used, true)),
            delay
          )
        }
        if (isReplayed) return Effect.zipRight(auth.invalidate(used), Effect.fail(error))
        isReplayed = true
        return Effect.zipRight(
          auth.invalidate(used),
          Effect.map(auth.token, (another) => attempt(another, false))
        )
      }

      return attempt(yield* auth.token, false)
    })
  )
