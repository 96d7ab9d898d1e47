import { Effect } from "effect"
import { type LeaseKey, ServiceId } from "../../src/schemas/Ids.js"
import type * as Messages from "../../src/wire/Messages.js"
import type { Recording } from "../support/recordings.js"
import { recreate, type World } from "./replay.js"

/** Replays another recording of the same file, by name. */
export type Replay = (name: string) => Effect.Effect<void>

/** What had happened to the real server before an exchange, and between the heartbeats of one. */
export interface Step {
  readonly before?: (world: World, recording: Recording) => Effect.Effect<unknown>
  /** Runs once so many heartbeats have been answered. */
  readonly afterBeat?: Record<number, (world: World, replay: Replay) => Effect.Effect<unknown>>
}

const lease = (serviceId: string, instanceKey: string): LeaseKey => ({
  serviceId: ServiceId.make(serviceId),
  instanceKey
})

const lists = (recording: Recording) =>
  (recording.response as Messages.ListServicesResponse | undefined)?.services ?? []

const oneService = (recording: Recording) => {
  const shown = (recording.response as Messages.GetServiceByIDResponse | undefined)?.service
  return shown ? [shown] : []
}

/** A service of the heartbeat recordings, whose own making was not recorded. */
const service = Effect.fnUntraced(function* (world: World, id: number, instances: Record<string, number>) {
  yield* world.nextServiceId(id)
  yield* world.ensure({ project: "beats", name: String(id) })
  for (const [instance_key, ttl] of Object.entries(instances)) {
    const address = { host: "10.0.0.1", endpoint: "10.0.0.1:8080" }
    yield* world.call("RegisterInstance", {
      service_id: String(id),
      instance_key,
      env: "dev",
      ttl_seconds: String(ttl),
      ...address
    })
  }
})

const moveTo = (seconds: number) => (world: World) => Effect.sync(() => world.moveTo(seconds))

export const steps: Record<string, Step> = {
  // auth
  "authenticate disabled client": { before: ({ control }) => control.disableClient("ck_golden_disabled") },
  "authenticate expired client": {
    before: ({ clock, control }) => Effect.withClock(control.expireClient("ck_golden_expired"), clock)
  },
  "authenticate deleted client": { before: ({ control }) => control.deleteClient("ck_golden_deleted") },
  "old token after renew": { before: (world, recording) => recreate(world, oneService(recording)) },

  // registry
  "ensure after the race": {
    before: (world) =>
      Effect.zipRight(world.nextServiceId(13), world.ensure({ project: "golden1795361365", name: "raced" }))
  },
  "ensure service an operator has deleted": { before: ({ control }) => control.deleteService("25") },
  "get service after register": { before: (world, recording) => recreate(world, oneService(recording)) },
  "get service after replace and heartbeat": { before: ({ heartbeat }) => heartbeat(lease("2", "orders-1")) },
  "list project": { before: (world, recording) => recreate(world, lists(recording)) },

  // heartbeat
  "hb ok, one instance": {
    before: (world) =>
      Effect.all([moveTo(1_795_361_367)(world), service(world, 30, { a: 60 }), service(world, 31, { b: 30 })])
  },
  "hb exact expires_at": { before: moveTo(1_795_361_372) },
  "hb token expires while the stream is open": { afterBeat: { 1: moveTo(1_795_361_371) } },
  "hb after the lease has lapsed revives it": {
    before: (world) => Effect.zipRight(service(world, 32, { l: 2 }), moveTo(1_795_361_377)(world))
  },
  "hb after an operator forced the instance offline": {
    before: (world) => service(world, 33, { o1: 600, o2: 600 }),
    afterBeat: { 1: ({ control }) => control.forceOffline(lease("33", "o1")) }
  },
  "hb after an operator deleted the instance": {
    afterBeat: {
      1: ({ control }) => control.deleteInstance(lease("33", "o2")),
      2: (_, replay) => replay("register the key an operator deleted")
    }
  },
  "hb after DeregisterInstance, then register the same key again": {
    before: (world) => Effect.zipRight(moveTo(1_795_361_380)(world), service(world, 34, { d: 60 })),
    afterBeat: {
      1: (_, replay) => replay("deregister own"),
      2: (_, replay) => replay("register the key after own deregister"),
      3: (_, replay) => replay("register the deregistered key once more")
    }
  },
  "hb of an instance whose service an operator deleted": {
    before: (world) =>
      moveTo(1_795_361_383)(world).pipe(
        Effect.zipRight(service(world, 35, { x: 60 })),
        Effect.zipRight(world.control.deleteService("35"))
      )
  },

  // transport
  "unknown field in request": { before: (world, recording) => recreate(world, oneService(recording)) }
}

/** Replayed by the steps of another recording. */
export const replayedWithin = [
  "register the key an operator deleted",
  "deregister own",
  "register the key after own deregister",
  "register the deregistered key once more"
]

/** Those that this control plane cannot meet, each with the reason. */
export const exceptions: Record<string, { readonly reason: string; readonly canBeSent: boolean }> = {
  "ensure lost race (1 of 20 at once)": {
    reason: "the store creates a service in one step: there is no race to lose",
    canBeSent: false
  },
  "rpc two values, first valid": {
    reason: "Node's http2 refuses to send the authorization header twice",
    canBeSent: false
  },
  "rpc two values, second valid": {
    reason: "Node's http2 refuses to send the authorization header twice",
    canBeSent: false
  },
  "malformed request bytes": {
    reason: "protobufjs reads a field of the wrong wire type as the declared one, where Go skips it",
    canBeSent: true
  },
  "grpc-go client, keepalive 10 s, one idle HeartbeatStream": {
    reason: "the text is a grpc-go client's own; grpc-js's server tolerates pings",
    canBeSent: false
  }
}
