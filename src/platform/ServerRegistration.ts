/** Registers an instance with the port that its server has bound. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  Heartbeat,
  type HeartbeatError,
  type NewRegistration,
  type Registration,
  type SelfInstance
} from "../services/Heartbeat.js"

interface Described extends Omit<NewRegistration, "instance"> {
  readonly instance?: Partial<SelfInstance> | undefined
}

/** Until the scope closes. The ports go before those of the description. */
export const register = (
  { instance, ...registration }: Described,
  ports: Pick<SelfInstance, "httpPort" | "grpcPort">
): Effect.Effect<Registration, HeartbeatError, Heartbeat | Scope.Scope> =>
  Effect.flatMap(Heartbeat, (heartbeat) =>
    heartbeat.registerSelf({ ...registration, instance: { ...instance, host: instance?.host ?? "auto", ...ports } })
  )
