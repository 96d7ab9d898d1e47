/** `Auth` from the token in the cell: a caller waits for an acquisition only where that is of no use any more. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as TokenAcquirer from "../../core/auth/TokenAcquirer.js"
import * as TokenLife from "../../core/auth/TokenLife.js"
import type { Connection } from "../../grpc/client/Connection.js"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { RegistryError } from "../../schemas/AioError.js"
import type { Auth } from "../../services/Auth.js"
import * as CachedAcquisition from "./CachedAcquisition.js"
import * as TokenAcquisition from "./TokenAcquisition.js"
import * as TokenCell from "./TokenCell.js"
import * as TokenPort from "./TokenPort.js"

export const make = (
  source: TokenAcquisition.Options,
  connection: Connection.Service
): Effect.Effect<Auth.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { policy } = source
    const cell = yield* TokenCell.make(policy)
    const acquire = yield* CachedAcquisition.make(TokenAcquisition.make(source, connection), cell)
    const unsafeRenew = yield* CachedAcquisition.makeUnsafeRenew(acquire, cell)

    // A failed acquisition fails no caller while the current token lives.
    const waited: Effect.Effect<AccessToken, RegistryError> = Effect.catchAll(acquire, (error) => {
      const alive = TokenAcquirer.alive(cell.unsafeState(), cell.unsafeNow())
      return alive === undefined ? Effect.fail(error) : Effect.succeed(alive.token)
    })

    // Every call asks: a plain field and two comparisons, no step of the machine.
    const unsafeFresh = (): AccessToken | undefined => {
      const { hasFailed, life } = cell.unsafeState()
      if (life === undefined) return undefined
      const now = cell.unsafeNow()
      const decision = TokenLife.decide(life, now)
      if (decision === "Use") return life.token
      // Where renewing fails, waiting for it would only take the caller's time.
      if (decision === "Wait" && !(hasFailed && TokenLife.isAlive(life, now))) return undefined
      unsafeRenew()
      return life.token
    }

    return TokenPort.attach({
      unsafeFresh,
      token: Effect.suspend(() => {
        const fresh = unsafeFresh()
        return fresh === undefined ? waited : Effect.succeed(fresh)
      }),
      changes: cell.changes,
      invalidate: ({ generation }) => Effect.sync(() => void cell.unsafeStep({ _tag: "Refused", generation })),
      unsafeSecondTry: (token) => TokenLife.secondTryMillis(token, cell.unsafeNow(), policy),
      unsafeAccepted: ({ generation }) => {
        if (cell.unsafeState().strikes > 0) cell.unsafeStep({ _tag: "Accepted", generation })
      }
    })
  })
