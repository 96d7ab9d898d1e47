/** The connections of one channel: one to each instance. */
import * as grpc from "@grpc/grpc-js"
import type * as Targets from "./Targets.js"

const { connectivityState: State } = grpc

export interface Connection {
  readonly leaf: grpc.experimental.LeafLoadBalancer
  state: grpc.connectivityState
}

export class Connections {
  /** `undefined` until there is a list, and after a failure: see {@link problem}. */
  instances: Targets.Instances | undefined = undefined
  /** What is wrong with the target, or with the connection that failed last. */
  problem = "no addresses yet"
  ready = 0
  /** Whose connection has failed. */
  broken = 0
  readonly byAddress = new Map<string, Connection>()
  private readyNow: ((address: string) => boolean) | undefined = undefined

  find(address: string): Connection | undefined {
    return this.byAddress.get(address)
  }

  get isConnecting(): boolean {
    return this.ready + this.broken < this.byAddress.size
  }

  /** Another function after each change. */
  get isReady(): (address: string) => boolean {
    this.readyNow ??= (address) => this.byAddress.get(address)?.state === State.READY
    return this.readyNow
  }

  anyReady(): Connection | undefined {
    for (const connection of this.byAddress.values()) if (connection.state === State.READY) return connection
    return undefined
  }

  add(address: string, leaf: grpc.experimental.LeafLoadBalancer): Connection {
    const connection = { leaf, state: State.IDLE }
    this.byAddress.set(address, connection)
    this.readyNow = undefined
    return connection
  }

  remove(address: string): void {
    const connection = this.byAddress.get(address)
    if (connection === undefined) return
    this.count(connection.state, -1)
    this.byAddress.delete(address)
    this.readyNow = undefined
    connection.leaf.destroy()
  }

  set(connection: Connection, state: grpc.connectivityState): void {
    this.count(connection.state, -1)
    this.count(state, 1)
    connection.state = state
    this.readyNow = undefined
  }

  /** Of all together, as a channel tells it. */
  get state(): grpc.connectivityState {
    if (this.ready > 0) return State.READY
    return this.isConnecting ? State.CONNECTING : State.TRANSIENT_FAILURE
  }

  private count(state: grpc.connectivityState, by: 1 | -1): void {
    if (state === State.READY) this.ready += by
    else if (state === State.TRANSIENT_FAILURE) this.broken += by
  }
}
