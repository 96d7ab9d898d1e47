/** The network to call an instance on, where it has endpoints on several. */
import type { Instance } from "../../schemas/Instance.js"

/**
 * The index of the first of `networks` on which the instance has an endpoint; the length of the list where it only has an
 * address of its own; -1 where it has no address to dial. Without a preference: 0 for all that have one.
 *
 * An address is an `endpoint`, or a port with a host: its own, or one of its `endpoints`, which are hosts alone. The real
 * server accepts a record without any.
 */
export const rankOf = (instance: Instance, networks: ReadonlyArray<string>): number => {
  const { endpoint, endpoints, grpcPort, host, httpPort } = instance
  const hasPort = httpPort !== undefined || grpcPort !== undefined
  if (hasPort && endpoints.length > 0) {
    if (networks.length === 0) return 0
    const isOn = (network: string) => endpoints.some((one) => one.network === network)
    const rank = networks.findIndex(isOn)
    if (rank !== -1) return rank
  }
  return endpoint !== "" || (host !== "" && hasPort) ? networks.length : -1
}

/**
 * The network for `Address.httpUrl` and `Address.grpcAddress` at this rank. For an instance without an endpoint on any of the
 * networks, these fall back to its own address.
 */
export const networkOf = (rank: number, networks: ReadonlyArray<string>): string | undefined =>
  networks[rank] ?? networks[0]
