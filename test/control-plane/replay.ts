import { Metadata } from "@grpc/grpc-js"
import { Effect, Redacted } from "effect"
import * as ControlPlane from "effect-aio/ControlPlane"
import * as Jose from "jose"
import { type LeaseKey, ServiceId } from "../../src/schemas/Ids.js"
import type * as Messages from "../../src/wire/Messages.js"
import * as MovableClock from "../support/movableClock.js"
import * as RawClient from "../support/rawClient.js"
import type { Recording } from "../support/recordings.js"

const signingSecret = "made up for the replay"
const otherSecret = "another secret"
const day = 24 * 60 * 60
const REGISTRY = "/xiaozhizhang.registry.v1.RegistryService"

const golden = "cs_golden_0001_made_up_secret"

/** A control plane whose clock stands where a recording wants it, and a client that speaks bytes. */
export const makeWorld = Effect.gen(function* () {
  const time = MovableClock.make(0)
  const secret = Redacted.make(golden)
  const plane = yield* ControlPlane.make({
    signingSecret: Redacted.make(signingSecret),
    // The recorded clients have the ids 2 to 6.
    clients: ["first", "ck_golden_0001", "ck_golden_disabled", "ck_golden_expired", "ck_golden_deleted"]
      .map((clientKey): ControlPlane.NewClient => ({ clientKey, clientSecret: secret }))
      .concat({ clientKey: "ck_golden_soon", clientSecret: secret, expiresAt: (1_795_361_217 + 10) * 1_000 })
  }).pipe(Effect.withClock(time.clock))
  const client = yield* RawClient.make(plane.address)
  let seconds = 0
  const moveTo = (to: number) => {
    seconds = to
    time.moveTo(to * 1_000)
  }

  const sign = (claims: object, options: { readonly alg?: string; readonly secret?: string } = {}) =>
    Effect.promise(() =>
      new Jose.SignJWT({ iss: "xiaozhizhang", sub: "client", clientId: 2, clientKey: "ck_golden_0001", ...claims })
        .setProtectedHeader({ alg: options.alg ?? "HS256", typ: "JWT" })
        .sign(new TextEncoder().encode(options.secret ?? signingSecret))
    )
  const token = (claims: object = {}) =>
    Effect.suspend(() => sign({ exp: seconds + day, nbf: seconds, iat: seconds, status: 1, ...claims }))
  const valid = Effect.suspend(() => token())

  const call = (method: string, message: object) =>
    Effect.flatMap(valid, (jwt) => {
      const metadata = new Metadata()
      metadata.set("authorization", `Bearer ${jwt}`)
      return client.unary(`${REGISTRY}/${method}`, RawClient.encodeRequest(`${REGISTRY}/${method}`, message), metadata)
    })
  const heartbeat = (key: LeaseKey) =>
    Effect.scoped(
      Effect.gen(function* () {
        const metadata = new Metadata()
        metadata.set("authorization", `Bearer ${yield* valid}`)
        const path = `${REGISTRY}/HeartbeatStream`
        const stream = yield* client.bidi(path, metadata)
        yield* stream.send(RawClient.encodeRequest(path, { service_id: key.serviceId, instance_key: key.instanceKey }))
        yield* stream.next
      })
    )

  let lastServiceId = 0
  const sawService = (id: string) => {
    lastServiceId = Math.max(lastServiceId, Number(id))
  }
  const ensure = (service: Messages.EnsureServiceRequest) =>
    Effect.tap(call("EnsureService", service), ({ response }) =>
      Effect.sync(() => {
        const answer: { readonly service?: { readonly id: string } } = response ?? {}
        if (answer.service !== undefined) sawService(answer.service.id)
      })
    )
  /** Lets the next service have this id, as it had when the recording was made. */
  const nextServiceId = (id: number) =>
    Effect.whileLoop({
      while: () => lastServiceId < id - 1,
      body: () => ensure({ project: "filler", name: String(lastServiceId) }),
      step: () => {}
    })
  return {
    heartbeat,
    call,
    client,
    control: plane.control,
    clock: time.clock,
    ensure,
    moveTo,
    nextServiceId,
    now: () => seconds,
    sawService,
    sign,
    token,
    valid
  }
})

export type World = Effect.Effect.Success<typeof makeWorld>

/** Puts services and their instances where a recorded list shows them. */
export const recreate = Effect.fnUntraced(function* (
  world: World,
  shown: ReadonlyArray<Messages.ServiceWithInstances>
) {
  const idOf = ({ service }: Messages.ServiceWithInstances) => Number(service?.id)
  for (const { instances, service } of [...shown].sort((a, b) => idOf(a) - idOf(b))) {
    if (service === null) continue
    yield* world.nextServiceId(Number(service.id))
    world.moveTo(Number(service.created_at))
    yield* world.ensure(service)
    for (const instance of instances) {
      world.moveTo(Number(instance.created_at))
      yield* world.call("RegisterInstance", instance)
      if (instance.last_heartbeat_at !== instance.created_at) {
        world.moveTo(Number(instance.last_heartbeat_at))
        yield* world.heartbeat({ serviceId: ServiceId.make(service.id), instanceKey: instance.instance_key })
      }
    }
  }
})

const pair = (key: string, value: Effect.Effect<string>) => Effect.map(value, (text) => [key, text] as const)

/** The metadata that a recording describes in words. */
export const metadataOf = (world: World, description: string): Effect.Effect<Metadata> => {
  const { now, sign, token, valid } = world
  const bearer = (jwt: Effect.Effect<string>) =>
    pair(
      "authorization",
      Effect.map(jwt, (text) => `Bearer ${text}`)
    )
  const authorization = (prefix: string) =>
    pair(
      "authorization",
      Effect.map(valid, (text) => `${prefix}${text}`)
    )
  const noneSigned = (claims: object) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
    return `${part({ alg: "none", typ: "JWT" })}.${part(claims)}.`
  }
  const table: Record<string, Effect.Effect<readonly [key: string, value: string]>> = {
    "Bearer <valid token>": bearer(valid),
    "Bearer garbage": bearer(Effect.succeed("garbage")),
    "authorization: '' (empty)": pair("authorization", Effect.succeed("")),
    "authorization: ''": pair("authorization", Effect.succeed("")),
    "authorization: 'Bearer '": pair("authorization", Effect.succeed("Bearer ")),
    "Bearer <expired token>": bearer(token({ exp: now() - 3_600, nbf: now() - 7_200, iat: now() - 7_200 })),
    "Bearer <expired>": bearer(token({ exp: now() - 3_600, nbf: now() - 7_200, iat: now() - 7_200 })),
    "Bearer <valid for 2 s>": bearer(token({ exp: now() + 2 })),
    "Bearer <token of a client since disabled>": bearer(token({ clientId: 3 })),
    "Bearer <token of a client since expired>": bearer(token({ clientId: 4 })),
    "Bearer <token of a client since deleted>": bearer(token({ clientId: 5 })),
    "Bearer <token signed by another secret>": bearer(sign({ exp: now() + day }, { secret: otherSecret })),
    "Bearer <nbf in 60 s>": bearer(token({ nbf: now() + 60 })),
    "Bearer <expired 1 s ago>": bearer(token({ exp: now() - 1 })),
    "Bearer <exp = now>": bearer(token({ exp: now() })),
    "Bearer <exp = now+1>": bearer(token({ exp: now() + 1 })),
    "Bearer <alg none>": bearer(Effect.sync(() => noneSigned({ exp: now() + day, clientId: 2 }))),
    "Bearer <HS512>": bearer(sign({ exp: now() + day }, { alg: "HS512" })),
    "Bearer <no exp>": bearer(sign({ iat: now() })),
    "Bearer <unknown client id>": bearer(token({ clientId: 999_999 })),
    "Bearer <status 0>": bearer(token({ status: 0 })),
    "authorization: bearer <valid>": authorization("bearer "),
    "authorization: BEARER <valid>": authorization("BEARER "),
    "authorization: <valid> (raw)": authorization(""),
    "authorization: 'Bearer  <valid>'": authorization("Bearer  "),
    "authorization: Basic <valid>": authorization("Basic "),
    "Authorization: Bearer <valid>": pair(
      "Authorization",
      Effect.map(valid, (text) => `Bearer ${text}`)
    ),
    "token: <valid>": pair("token", valid),
    "token: Bearer <valid>": pair(
      "token",
      Effect.map(valid, (text) => `Bearer ${text}`)
    )
  }
  if (description === "none") return Effect.succeed(new Metadata())
  const found = table[description]
  if (found === undefined) return Effect.dieMessage(`no metadata is known for ${description}`)
  return Effect.map(found, ([key, value]) => {
    const metadata = new Metadata()
    metadata.set(key, value)
    return metadata
  })
}

export const pathOf = (recording: Recording): string => `/${recording.service}/${recording.method}`

export const bytesOf = (base64: string | undefined): Buffer => Buffer.from(base64 ?? "", "base64")
