/** Which instances of a service fit what a pick asks for. */
import * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"

export type Where = (instance: Instance) => boolean

/** Has the instance an address of the protocol on this network? One that can be reached at all has `any`. */
export const speaks = (protocol: Address.Protocol, instance: Instance, network: string | undefined): boolean => {
  switch (protocol) {
    case "any":
      return true
    case "http":
      return Address.httpUrl(instance, network) !== undefined
    case "grpc":
      return Address.grpcAddress(instance, network) !== undefined
  }
}
