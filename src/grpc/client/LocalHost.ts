/** The address of this machine on the way to another. */
import { createSocket, type SocketType } from "node:dgram"
import { isIPv6 } from "node:net"
import * as Effect from "effect/Effect"
import { type Address, format } from "../../schemas/Address.js"
import { AioRpcError } from "../../schemas/AioError.js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"

/** No rpc is called. */
const METHOD = "the way to the registry"

const unknown = (address: Address, cause: Error) =>
  new AioRpcError({
    method: METHOD,
    code: StatusCode.UNAVAILABLE,
    details: `this machine's address on the way to ${format(address)} is not known: ${cause.message}`,
    cause
  })

// A connected datagram socket is bound to the address that its packets would carry. None is sent: this works without a
// listener there.
const over = (type: SocketType, address: Address): Effect.Effect<string, AioRpcError> =>
  Effect.acquireUseRelease(
    Effect.sync(() => createSocket(type)),
    (socket) =>
      Effect.async<string, AioRpcError>((resume) => {
        socket.on(
          "error",
          Callbacks.resuming(resume, (cause: Error) => Effect.fail(unknown(address, cause)))
        )
        socket.once(
          "connect",
          Callbacks.resuming(resume, () => Effect.succeed(socket.address().address))
        )
        socket.connect(address.port, address.host)
      }),
    (socket) => Effect.sync(() => socket.close())
  )

/**
 * The address from which this machine reaches the first of these that it has a route to. Sends nothing but name lookups.
 * Fails with `AioRpcError` (`UNAVAILABLE`) without a route to any.
 */
export const towards = (addresses: ReadonlyArray<Address>): Effect.Effect<string, AioRpcError> =>
  Effect.firstSuccessOf(
    addresses.flatMap((address) =>
      isIPv6(address.host) ? [over("udp6", address)] : [over("udp4", address), over("udp6", address)]
    )
  )
