/**
 * What happens to a call whose token the server refuses.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Deadline from "../grpc/Deadline.js"
import * as Monotonic from "../internal/monotonic.js"
import type { AccessToken } from "../schemas/AccessToken.js"
import { isAioError } from "../schemas/AioError.js"
import * as StatusCode from "../schemas/StatusCode.js"
import type { Auth } from "../services/Auth.js"
import type { RegistryError } from "../services/Registry.js"

/** A replica whose clock is behind refuses a token that is not valid yet for it (`nbf`), and takes it a moment later. */
const YOUNG_MILLIS = 5_000
const YOUNG_PAUSE = Duration.millis(1_100)

const isRefused = (error: unknown): boolean =>
  isAioError(error) && error._tag === "AioRpcError" && StatusCode.dropsToken(error.code)

/**
 * The token for a call that has until `deadline`. A fresh one is taken as it is: a timeout costs as much as half a call.
 *
 * @since 0.1.0
 * @category combinators
 */
export const tokenBefore = (
  auth: Auth.Service,
  deadline: Deadline.Deadline,
  method: string
): Effect.Effect<AccessToken, Effect.Effect.Error<Auth.Service["token"]>> =>
  Effect.suspend(() => {
    const fresh = auth.unsafeFresh()
    return fresh === undefined ? Deadline.before(auth.token, deadline, method) : Effect.succeed(fresh)
  })

/**
 * What the attempts of one call share.
 *
 * @since 0.1.0
 * @category models
 */
export interface CallState {
  readonly deadline: Deadline.Deadline
  isReplayed?: boolean
}

/**
 * Runs a call with the token. Refused, it is sent once more with another token, the refused one having been dropped if it
 * was still the present one; so that fifty calls refused at once lead to one acquisition. A refused token that is younger
 * than 5 seconds is tried again first, after 1.1 seconds, if the deadline leaves time for that. Replayed once for each
 * `state`, however often the call is attempted.
 *
 * @since 0.1.0
 * @category combinators
 */
export const unary = <A, E, E2>(
  auth: Auth.Service,
  state: CallState,
  token: Effect.Effect<AccessToken, E2>,
  call: (token: AccessToken) => Effect.Effect<A, E>
): Effect.Effect<A, E | E2> => {
  const accepted = (used: AccessToken) =>
    Effect.map(call(used), (answer) => {
      auth.unsafeAccepted(used)
      return answer
    })

  const replay = (refused: AccessToken): Effect.Effect<A, E | E2> => {
    state.isReplayed = true
    return Effect.zipRight(
      auth.invalidate(refused),
      Effect.flatMap(token, (second) =>
        Effect.tapError(accepted(second), (error) => (isRefused(error) ? auth.invalidate(second) : Effect.void))
      )
    )
  }

  const onceMoreWhileYoung = (used: AccessToken, error: E): Effect.Effect<A, E> =>
    Effect.clockWith((clock) =>
      Monotonic.unsafeNow(clock) - used.acquiredAt < YOUNG_MILLIS &&
      Deadline.after(Duration.toMillis(YOUNG_PAUSE)) < state.deadline
        ? Effect.delay(accepted(used), YOUNG_PAUSE)
        : Effect.fail(error)
    )

  return Effect.flatMap(token, (first) =>
    Effect.matchEffect(call(first), {
      onSuccess: (answer) => {
        auth.unsafeAccepted(first)
        return Effect.succeed(answer)
      },
      onFailure: (error): Effect.Effect<A, E | E2> => {
        if (!isRefused(error)) return Effect.fail(error)
        return state.isReplayed === true
          ? Effect.zipRight(auth.invalidate(first), Effect.fail(error))
          : Effect.catchIf(onceMoreWhileYoung(first, error), isRefused, () => replay(first))
      }
    })
  )
}

/**
 * The same for a stream of requests. It is opened again only if it was refused before its first answer, with the requests
 * that were sent by then first, so that none is lost and none answered twice.
 *
 * @since 0.1.0
 * @category combinators
 */
export const stream = <Request, E, R, A>(
  auth: Auth.Service,
  requests: Stream.Stream<Request, E, R>,
  open: <E3, R3>(
    token: AccessToken,
    requests: Stream.Stream<Request, E3, R3>
  ) => Stream.Stream<A, E3 | RegistryError, R3>
): Stream.Stream<A, E | RegistryError, R> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const pull = yield* Stream.toPull(requests)
      const first = yield* auth.token
      let unanswered: Chunk.Chunk<Request> = Chunk.empty()
      let answered = false
      const noted = Stream.repeatEffectChunkOption(
        Effect.tap(pull, (chunk) =>
          Effect.sync(() => {
            if (!answered) unanswered = Chunk.appendAll(unanswered, chunk)
          })
        )
      )
      const accept = (token: AccessToken) => (answer: A) => {
        if (!answered) {
          answered = true
          unanswered = Chunk.empty()
          auth.unsafeAccepted(token)
        }
        return answer
      }
      return Stream.map(open(first, noted), accept(first)).pipe(
        Stream.catchSome((error) =>
          answered || !isRefused(error)
            ? Option.none()
            : Option.some(
                Stream.unwrap(
                  Effect.zipRight(
                    auth.invalidate(first),
                    Effect.map(auth.token, (second) =>
                      Stream.map(
                        open(second, Stream.concat(Stream.fromChunk(unanswered), Stream.repeatEffectChunkOption(pull))),
                        accept(second)
                      ).pipe(Stream.tapError((again) => (isRefused(again) ? auth.invalidate(second) : Effect.void)))
                    )
                  )
                )
              )
        )
      )
    })
  )
