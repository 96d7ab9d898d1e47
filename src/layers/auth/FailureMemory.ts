/** What is remembered of failures, so that neither a wrong secret nor a dying registry is asked again and again. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as AcquisitionBackoff from "../../core/auth/AcquisitionBackoff.js"
import type * as TokenLife from "../../core/auth/TokenLife.js"
import * as ServerStatus from "../../grpc/client/ServerStatus.js"
import * as Monotonic from "../../internal/monotonic.js"
import type { AioCredentialsRejected, RegistryError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as TokenAcquisition from "./TokenAcquisition.js"

/** A failure that cost the server something. What never reached it may be tried as before. */
const burdensServer = (error: RegistryError): boolean =>
  error._tag === "AioRpcError" &&
  (error.code === StatusCode.INTERNAL ||
    error.code === StatusCode.UNAVAILABLE ||
    error.code === StatusCode.DEADLINE_EXCEEDED) &&
  ServerStatus.wasSent(error)

interface Rejection {
  readonly of: TokenAcquisition.Credentials
  readonly error: RegistryError
  readonly until: number
}

export const make = (
  options: TokenAcquisition.Options,
  acquisition: TokenAcquisition.TokenAcquisition,
  clock: Clock.Clock
) => {
  let brake = AcquisitionBackoff.released
  let failure: RegistryError | undefined
  let rejection: Rejection | undefined
  let rejections = 0
  const now = () => Monotonic.unsafeNow(clock)

  const strike: Effect.Effect<void> = Effect.map(Random.next, (random) => {
    brake = AcquisitionBackoff.struck(options.policy, brake, now(), random)
  })

  const reject = (of: TokenAcquisition.Credentials, error: AioCredentialsRejected): Effect.Effect<void> =>
    Effect.suspend(() => {
      rejections = rejection !== undefined && TokenAcquisition.isSame(rejection.of, of) ? rejections + 1 : 1
      rejection = { of, error, until: now() + AcquisitionBackoff.rejectionMillis(options.policy, rejections) }
      return Effect.logWarning(error.message)
    })

  const credentials = Effect.flatMap(TokenAcquisition.readCredentials(options), (read) =>
    rejection !== undefined && now() < rejection.until && TokenAcquisition.isSame(rejection.of, read)
      ? Effect.fail(rejection.error)
      : Effect.succeed(read)
  )

  // Waits out the pause after refusals; fails at once with the last failure in the pause after failures.
  const pause = Effect.suspend(() => {
    const left = brake.notBefore - now()
    if (left <= 0) return Effect.void
    return failure === undefined ? Effect.sleep(Duration.millis(Math.ceil(left))) : Effect.fail(failure)
  })

  const send = (read: TokenAcquisition.Credentials): Effect.Effect<TokenLife.TokenLife, RegistryError> =>
    acquisition.authenticate(read).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          failure = undefined
          rejection = undefined
        })
      ),
      Effect.tapError((error) => {
        if (error._tag === "AioCredentialsRejected") return reject(read, error)
        failure = burdensServer(error) ? error : undefined
        return failure === undefined ? Effect.void : strike
      })
    )

  return {
    /** An acquisition was caused by a refusal: if its token is refused as well, the next one waits. */
    strike,
    accepted: (): void => {
      if (brake.strikes > 0) brake = AcquisitionBackoff.released
    },
    /** Fails at once while these credentials are known to be refused; does not read them otherwise. */
    checkRejection: Effect.suspend(() =>
      rejection === undefined || now() >= rejection.until ? Effect.void : Effect.asVoid(credentials)
    ),
    /** The credentials are read when the pause is over, so that they are the newest there are. */
    authenticate: Effect.zipRight(pause, Effect.flatMap(credentials, send))
  }
}
