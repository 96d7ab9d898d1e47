/** The network to call an instance on, where it has endpoints on several. */
import type { Instance } from "../../schemas/Instance.js"

/**
 * Does the record have an address to dial? That is an `endpoint`, or a port with a host: its own, or one of its `endpoints`,
 * which are hosts alone. (The real server accepts a record without any of them.)
 */
export const hasAddress = (instance: Instance): boolean =>
  hasOwnAddress(instance) || (hasPort(instance) && instance.endpoints.length > 0)

const isOn =
  ({ endpoints }: Instance) =>
  (network: string): boolean =>
    endpoints.some((endpoint) => endpoint.network === network)

const hasPort = ({ grpcPort, httpPort }: Instance): boolean => httpPort !== undefined || grpcPort !== undefined

const hasOwnAddress = (instance: Instance): boolean =>
  instance.endpoint !== "" || (instance.host !== "" && hasPort(instance))

/**
 * The index of the first of `networks` on which the instance has an endpoint (and a port for it); the length of the list where
 * it only has an address of its own; -1 where it has no address. Without a preference: 0 for all that have an address.
 */
export const rankOf = (instance: Instance, networks: ReadonlyArray<string>): number => {
  if (networks.length === 0) return hasAddress(instance) ? 0 : -1
  if (hasPort(instance) && instance.endpoints.length > 0) {
    const rank = networks.findIndex(isOn(instance))
    if (rank !== -1) return rank
  }
  return hasOwnAddress(instance) ? networks.length : -1
}

/**
 * The network for `Address.httpUrl` and `Address.grpcAddress` at this rank. For an instance without an endpoint on any of the
 * networks, these fall back to its own address.
 */
export const networkOf = (rank: number, networks: ReadonlyArray<string>): string | undefined =>
  networks[rank] ?? networks[0]
