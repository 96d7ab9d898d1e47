import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Aio from "../layers/Aio.js"
import type { Common, ServerTls, Tls } from "../schemas/AioConfig.js"
import type { AioConfigError } from "../schemas/AioError.js"
import type { Credentials } from "./Clients.js"

/**
 * Of the client.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions extends Pick<Common, "backgroundSpans"> {
  /** Default `test`. */
  readonly env?: string | undefined
  /** The roots that it trusts and the certificate that it presents. Default: the roots that Node trusts. */
  readonly clientTls?: Tls | undefined
}

interface Options extends ClientOptions {
  readonly tls?: ServerTls | undefined
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
        tls: options.clientTls ?? options.tls !== undefined,
        backgroundSpans: options.backgroundSpans
      })
    )
  ).pipe(Layer.provideMerge(plane))
