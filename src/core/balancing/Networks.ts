/** On which network an instance is called, where it can be reached on several. */
import type { Instance } from "../../schemas/Instance.js"

/**
 * Does the record say anything that could be dialled? An `endpoint` does; else it takes a port, and a host for it: its own
 * or one of its `endpoints`, which are hosts and no more. (The real server accepts a record without any of them.)
 */
export const hasAddress = (instance: Instance): boolean =>
  hasAddressOfItsOwn(instance) || (hasPort(instance) && instance.endpoints.length > 0)

const isOn =
  ({ endpoints }: Instance) =>
  (network: string): boolean =>
    endpoints.some((endpoint) => endpoint.network === network)

const hasPort = ({ grpcPort, httpPort }: Instance): boolean => httpPort !== undefined || grpcPort !== undefined

const hasAddressOfItsOwn = (instance: Instance): boolean =>
  instance.endpoint !== "" || (instance.host !== "" && hasPort(instance))

/**
 * Where an instance stands in an ordered list of `networks`: the index of the first on which it has an endpoint (and a port
 * for it); the length of the list where it has none there but an address of its own; -1 where it cannot be reached at all.
 * Without any preference all that can be reached are equal: 0.
 */
export const rankOf = (instance: Instance, networks: ReadonlyArray<string>): number => {
  if (networks.length === 0) return hasAddress(instance) ? 0 : -1
  if (hasPort(instance) && instance.endpoints.length > 0) {
    const rank = networks.findIndex(isOn(instance))
    if (rank !== -1) return rank
  }
  return hasAddressOfItsOwn(instance) ? networks.length : -1
}

/**
 * What to hand to `Address.httpUrl` and `Address.grpcAddress` for an instance of this rank. Where it has no endpoint on any
 * of the networks, these fall back to its own address for whichever network is asked for.
 */
export const networkOf = (rank: number, networks: ReadonlyArray<string>): string | undefined =>
  networks[rank] ?? networks[0]
