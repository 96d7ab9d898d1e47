/** The hook of grpc-js for each attempt of a call: the instance is ours to pick, its connection is grpc-js'. */
import * as grpc from "@grpc/grpc-js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"
import type { Connections } from "./Connections.js"
import type * as Targets from "./Targets.js"

const { PickResultType } = grpc.experimental

type PickArgs = grpc.experimental.PickArgs
type PickResult = grpc.experimental.PickResult

/** How many instances without a connection are passed over, before only those with one are asked for. */
const MAX_PASSED = 3

const queued: PickResult = {
  pickResultType: PickResultType.QUEUE,
  subchannel: null,
  status: null,
  onCallStarted: null,
  onCallEnded: null
}

const failed = (details: string): PickResult => ({
  pickResultType: PickResultType.TRANSIENT_FAILURE,
  subchannel: null,
  status: { code: StatusCode.UNAVAILABLE, details, metadata: new grpc.Metadata() },
  onCallStarted: null,
  onCallEnded: null
})

/** The connections change under it, and so one picker is enough. */
export class Picker implements grpc.experimental.Picker {
  constructor(private readonly connections: Connections) {}

  pick(args: PickArgs): PickResult {
    const { instances } = this.connections
    if (instances === undefined) return failed(this.connections.problem)
    try {
      return this.pickFrom(instances, args)
    } catch (cause) {
      instances.onThrow(cause)
      return failed("the pick of an instance has failed")
    }
  }

  private pickFrom(instances: Targets.Instances, args: PickArgs): PickResult {
    const { connections } = this
    const tried: Array<Targets.Picked> = []
    // While all are on the way, there is nothing to learn from a pick.
    const passes = connections.ready > 0 || connections.broken > 0 ? MAX_PASSED : 0
    while (tried.length < passes) {
      const picked = instances.pick(tried, undefined)
      if (picked === undefined) break
      const found = connections.find(picked.address)
      if (found?.state === grpc.connectivityState.READY) return this.through(found, picked, instances, args)
      picked.pass(found?.state === grpc.connectivityState.TRANSIENT_FAILURE ? "Unreachable" : "Connecting")
      tried.push(picked)
    }
    if (connections.ready === 0) return connections.isConnecting ? queued : failed(connections.problem)
    const picked = instances.pick([], connections.isReady)
    const found = picked && connections.find(picked.address)
    if (found?.state === grpc.connectivityState.READY) return this.through(found, picked, instances, args)
    // The list has changed in this very moment: what is connected has left it, and is better than none.
    return connections.anyReady()?.leaf.getPicker().pick(args) ?? queued
  }

  private through(
    { leaf }: { readonly leaf: grpc.experimental.LeafLoadBalancer },
    picked: Targets.Picked | undefined,
    { onThrow }: Targets.Instances,
    args: PickArgs
  ): PickResult {
    const result = leaf.getPicker().pick(args)
    if (picked === undefined || result.pickResultType !== PickResultType.COMPLETE) return result
    const begin = () => {
      // Such a call has ended with INTERNAL by now, and grpc-js (1.14.7) says so to no policy.
      if (args.metadata.get("authorization").length < 2) picked.begin()
    }
    return {
      ...result,
      // Not before: grpc-js forgets a call that ends while its credentials are fetched.
      onCallStarted: Callbacks.of(begin, onThrow),
      onCallEnded: Callbacks.of((code: number, details: string) => picked.end(code, details), onThrow)
    }
  }
}
