/** The network to call an instance on, where it has endpoints on several. */
import * as Address from "../../schemas/Address.js"
import type { Instance } from "../../schemas/Instance.js"

/**
 * The index of the first of `networks` on which the instance has an endpoint; the length of the list where it only has an
 * address of its own; -1 where it has no address to dial. Without a preference: 0 for all that have one.
 *
 * An address is an `endpoint`, or a port with a host: its own, or one of its `endpoints`, which are hosts alone. The real
 * server accepts a record without any, and one whose host is no host: that one has no address to dial either.
 */
export const rankOf = (instance: Instance, networks: ReadonlyArray<string>): number => {
  if (!Address.namesHosts(instance)) return -1
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

/** The same answer of {@link rankOf}: a list repeats most addresses, and looking at them again costs as much as decoding them. */
export const isSameAddress = (one: Instance, other: Instance): boolean =>
  one.host === other.host &&
  one.endpoint === other.endpoint &&
  one.endpoints === other.endpoints &&
  one.httpPort === other.httpPort &&
  one.grpcPort === other.grpcPort

/**
 * The network for `Address.httpUrl` and `Address.grpcAddress` at this rank. For an instance without an endpoint on any of the
 * networks, these fall back to its own address.
 */
export const networkOf = (rank: number, networks: ReadonlyArray<string>): string | undefined =>
  networks[rank] ?? networks[0]
