/** The hook of grpc-js for a load-balancing policy: keeps a connection to each address, and hands calls to `Picker`. */
import * as grpc from "@grpc/grpc-js"
import { type Connection, Connections } from "./Connections.js"
import { Picker } from "./Picker.js"
import { instancesKey, policy } from "./Resolver.js"
import * as Targets from "./Targets.js"

const { LeafLoadBalancer, createChildChannelControlHelper } = grpc.experimental
const { connectivityState: State } = grpc

type Helper = Parameters<typeof createChildChannelControlHelper>[0]
type Update = grpc.experimental.LoadBalancer["updateAddressList"]
type Endpoint = grpc.experimental.Endpoint

export class Config implements grpc.experimental.TypedLoadBalancingConfig {
  getLoadBalancerName(): string {
    return policy
  }
  toJsonObject(): object {
    return { [policy]: {} }
  }
  static createFromJson(): Config {
    return new Config()
  }
}

const addressOf = ({ addresses: [address] }: Endpoint): string =>
  address === undefined ? "" : grpc.experimental.subchannelAddressToString(address)

export class Balancer implements grpc.experimental.LoadBalancer {
  private readonly connections = new Connections()
  private readonly picker = new Picker(this.connections)
  private isPaused = false
  private isDestroyed = false

  constructor(private readonly helper: Helper) {}

  updateAddressList(...[endpoints, , options, note]: Parameters<Update>): boolean {
    const { connections } = this
    const instances: unknown = options[instancesKey]
    this.isPaused = true
    if (endpoints.ok && instances instanceof Targets.Instances) {
      connections.instances = instances
      const wanted = new Map(endpoints.value.map((endpoint) => [addressOf(endpoint), endpoint]))
      // First what is new: a connection that two addresses share is not let go in between.
      for (const [address, endpoint] of wanted) {
        if (connections.find(address) === undefined) this.connect(address, endpoint, options, note)
      }
      this.retain(wanted)
    } else {
      // A list that is known survives an outage of the registry: what fails has no instances.
      connections.instances = undefined
      connections.problem = endpoints.ok ? "no instances came with the addresses" : endpoints.error.details
      this.retain(new Map())
    }
    this.isPaused = false
    this.tell()
    return true
  }

  private retain(wanted: ReadonlyMap<string, unknown>): void {
    for (const address of [...this.connections.byAddress.keys()]) {
      if (!wanted.has(address)) this.connections.remove(address)
    }
  }

  private connect(address: string, endpoint: Endpoint, options: grpc.ChannelOptions, note: string): void {
    let connection: Connection | undefined
    const helper = createChildChannelControlHelper(this.helper, {
      updateState: (state, _, problem) => {
        if (connection !== undefined) this.onState(address, connection, state, problem)
      }
    })
    const leaf = new LeafLoadBalancer(endpoint, helper, options, note)
    connection = this.connections.add(address, leaf)
    leaf.startConnecting()
  }

  private onState(
    address: string,
    connection: Connection,
    state: grpc.connectivityState,
    problem: string | null
  ): void {
    const { connections } = this
    if (this.isDestroyed || connections.find(address) !== connection) return
    connections.set(connection, state)
    if (problem !== null) connections.problem = problem
    this.tell()
    // A connection that was closed is made again before a call needs it.
    if (connection.state === State.IDLE) connection.leaf.exitIdle()
  }

  private tell(): void {
    if (this.isPaused || this.isDestroyed) return
    const { connections } = this
    const { state } = connections
    this.helper.updateState(state, this.picker, state === State.TRANSIENT_FAILURE ? connections.problem : null)
  }

  exitIdle(): void {
    // It is never idle.
  }

  resetBackoff(): void {
    // The connections have their own.
  }

  destroy(): void {
    this.isDestroyed = true
    this.retain(new Map())
  }

  getTypeName(): string {
    return policy
  }
}
