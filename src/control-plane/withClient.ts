import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Aio from "../layers/Aio.js"
import type { ServerTls, Tls } from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import type { Credentials } from "./Clients.js"

interface Options {
  readonly env?: string | undefined
  readonly tls?: ServerTls | undefined
  readonly clientTls?: Tls | undefined
}

/** Joins a client to a control plane over loopback. Closing the layer closes the client first. */
export const withClient = <Plane>(
  plane: Layer.Layer<Plane, AioConfigError>,
  running: Effect.Effect<{ readonly address: string; readonly credentials: Credentials }, never, NoInfer<Plane>>,
  options: Options
): Layer.Layer<Plane | Aio.Aio, AioConfigError> =>
  Layer.unwrapEffect(
    Effect.map(running, ({ address, credentials }) =>
      Aio.layer({
        address,
        ...credentials,
        env: options.env ?? "test",
        tls: options.clientTls ?? options.tls !== undefined
      })
    )
  ).pipe(Layer.provideMerge(plane))
