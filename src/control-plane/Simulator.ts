/**
 * A control plane with switches: for tests of an app over real gRPC. Nothing fails until a switch is set.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Aio from "../layers/Aio.js"
import type { AioConfigError } from "../schemas/AioError.js"
import * as PlaneLimits from "../schemas/PlaneLimits.js"
import * as PlaneFaults from "../simulator/PlaneFaults.js"
import * as StoreFaults from "../simulator/StoreFaults.js"
import * as RegistryStore from "../store/RegistryStore.js"
import * as ControlPlane from "./ControlPlane.js"
import { type ClientOptions, withClient } from "./withClient.js"

export type { CallSwitches } from "../simulator/CallFaults.js"
export type { JournalSwitches, NotedCall } from "../simulator/Journal.js"
export type { Call, Method, PlaneFailure, PlaneSwitches } from "../simulator/PlaneFaults.js"
export type { Hidden, MalformedAnswers, StoreSwitches } from "../simulator/StoreFaults.js"

/**
 * A control plane that is listening, with its switches.
 *
 * @since 0.1.0
 * @category tags
 */
export class Simulator extends Context.Tag("effect-aio/Simulator")<Simulator, Simulator.Service>() {}

/** @since 0.1.0 */
export declare namespace Simulator {
  /**
   * @since 0.1.0
   * @category models
   */
  export interface Service extends ControlPlane.ControlPlane.Service {
    readonly control: Control
  }

  /**
   * What an operator may do, and every switch. `RegistryMemory` has those of the store and of its calls under the same
   * names.
   *
   * @since 0.1.0
   * @category models
   */
  export interface Control
    extends ControlPlane.ControlPlane.Control,
      StoreFaults.StoreSwitches,
      PlaneFaults.PlaneSwitches {}
}

/**
 * @since 0.1.0
 * @category models
 */
export type Options = Omit<ControlPlane.Options, "around">

/**
 * Starts a control plane with switches. Fails as `ControlPlane.make` does.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Simulator.Service, AioConfigError, Scope.Scope> {
  const { around, switches } = yield* PlaneFaults.make
  const faults = StoreFaults.make()
  const store = faults.around(
    options.store ?? (yield* RegistryStore.makeMemory(options.quirks, yield* PlaneLimits.check(options.limits)))
  )
  const plane = yield* ControlPlane.make({ ...options, store, around })
  return { ...plane, control: { ...plane.control, ...faults.switches, ...switches } }
})

/**
 * A control plane with switches for as long as the layer lives.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Simulator | ControlPlane.ControlPlane, AioConfigError> =>
  Layer.scopedContext(
    Effect.map(make(options), (simulator) =>
      Context.make(Simulator, simulator).pipe(Context.add(ControlPlane.ControlPlane, simulator))
    )
  )

/**
 * A control plane with switches, and a client joined to it: see `ControlPlane.layerWithClient`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWithClient = (
  options: Options & ClientOptions = {}
): Layer.Layer<Simulator | ControlPlane.ControlPlane | Aio.Aio, AioConfigError> =>
  withClient(layer(options), Simulator, options)
