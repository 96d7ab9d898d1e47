import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Recording, recordingFiles, recordings } from "../support/recordings.js"
import { bytesOf, makeWorld, metadataOf, pathOf, type World } from "./replay.js"
import { exceptions, type Replay, replayedWithin, steps } from "./steps.js"

interface Compared {
  readonly seen: unknown
  readonly expected: unknown
}

const firstLine = (text: string) => text.split("\n", 1)[0]

// Ids of instances come from a sequence that other calls used as well; tokens are signed with another secret.
const comparable = (response: object | undefined): unknown =>
  JSON.parse(JSON.stringify(response ?? null), (key, value) => {
    if (key === "instances") {
      return value
        .map((instance: object) => ({ ...instance, id: "some id" }))
        .sort((a: { instance_key: string }, b: { instance_key: string }) =>
          a.instance_key.localeCompare(b.instance_key)
        )
    }
    if (key === "access_token") return JSON.parse(Buffer.from(value.split(".")[1], "base64url").toString())
    if (key === "instance_key" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)) return "some UUID"
    return value
  })

const DEFAULT_TTL = 60
const HOURS_24 = 24 * 60 * 60

/** Puts the clock where the recorded answer says that it stood. */
const moveClock = (world: World, { method, request, response }: Recording): void => {
  const answer: { expires_at?: string; created?: boolean; service?: { created_at?: string } } = response ?? {}
  const expiresAt = Number(answer.expires_at)
  if (method === "RegisterInstance" && answer.expires_at !== undefined) {
    const ttl = Number(request?.ttl_seconds)
    // The longest of all overflows: it ends one second before it began.
    world.moveTo(expiresAt - (ttl > 9_223_372_036 ? -1 : ttl > 0 ? ttl : DEFAULT_TTL))
  } else if (answer.expires_at !== undefined) {
    world.moveTo(expiresAt - HOURS_24)
  } else if (answer.service?.created_at !== undefined) {
    world.moveTo(Number(answer.service.created_at))
  }
}

const sendUnary = Effect.fnUntraced(function* (world: World, recording: Recording) {
  moveClock(world, recording)
  const { created, service }: { created?: boolean; service?: { id: string } } = recording.response ?? {}
  const newId = created === true ? service?.id : undefined
  if (newId !== undefined) yield* world.nextServiceId(Number(newId))
  const metadata = yield* metadataOf(world, recording.metadata)
  const outcome = yield* world.client.unary(pathOf(recording), bytesOf(recording.requestBytesBase64), metadata)
  if (newId !== undefined) world.sawService(newId)
  return {
    seen: {
      code: outcome.code,
      details: outcome.code === 0 ? "" : firstLine(outcome.details),
      response: comparable(outcome.response)
    },
    expected: {
      code: recording.status?.code ?? 0,
      details: firstLine(recording.status?.details ?? ""),
      response: comparable(recording.response)
    }
  }
})

const sendBidi = Effect.fnUntraced(function* (world: World, recording: Recording, replay: Replay) {
  const metadata = yield* metadataOf(world, recording.metadata)
  const stream = yield* world.client.bidi(pathOf(recording), metadata)
  const requests = recording.requestsBytesBase64 ?? []
  const seen: Array<object> = []
  const isPipelined = recording.name.includes("pipelined")
  if (isPipelined) yield* Effect.forEach(requests, (request) => stream.send(bytesOf(request)))
  for (const [index, request] of requests.entries()) {
    if (!isPipelined) yield* stream.send(bytesOf(request))
    if (recording.responses === undefined) break
    seen.push(yield* stream.next)
    yield* steps[recording.name]?.afterBeat?.[index + 1]?.(world, replay) ?? Effect.void
  }
  if (recording.status?.code === 0) yield* stream.end
  const status = yield* stream.status
  return {
    seen: { code: status.code, details: status.code === 0 ? "" : status.details, responses: seen },
    expected: {
      code: recording.status?.code ?? 0,
      details: recording.status?.details ?? "",
      responses: recording.responses ?? []
    }
  }
}, Effect.scoped)

const replayOne = Effect.fnUntraced(function* (world: World, recording: Recording, all: ReadonlyArray<Recording>) {
  yield* steps[recording.name]?.before?.(world, recording) ?? Effect.void
  const replay: Replay = (name) => {
    const inner = all.find((candidate) => candidate.name === name)
    return inner === undefined
      ? Effect.dieMessage(`no recording is called ${name}`)
      : Effect.map(sendUnary(world, inner), ({ expected, seen }) => assert.deepStrictEqual(seen, expected, name))
  }
  const compared: Effect.Effect<Compared> =
    recording.kind === "unary" ? sendUnary(world, recording) : sendBidi(world, recording, replay)
  return yield* compared
})

describe("the control plane answers as the real one was recorded", () => {
  for (const file of recordingFiles) {
    it.scopedLive(`every exchange of ${file}.json`, () =>
      Effect.gen(function* () {
        const world = yield* makeWorld
        const all = recordings(file)
        for (const recording of all) {
          if (recording.name in exceptions || replayedWithin.includes(recording.name)) continue
          const { expected, seen } = yield* replayOne(world, recording, all)
          assert.deepStrictEqual(seen, expected, recording.name)
        }
      })
    )
  }

  it("names no exception and no step that is not recorded", () => {
    const names = new Set(recordingFiles.flatMap((file) => recordings(file).map((recording) => recording.name)))
    const named = [...Object.keys(exceptions), ...Object.keys(steps), ...replayedWithin]
    assert.deepStrictEqual(
      named.filter((name) => !names.has(name)),
      []
    )
  })

  it.scopedLive("excepts nothing that it would answer alike after all", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      world.moveTo(1_795_361_365)
      for (const recording of recordingFiles.flatMap(recordings)) {
        if (exceptions[recording.name]?.canBeSent !== true) continue
        const { expected, seen } = yield* replayOne(world, recording, [])
        assert.notDeepEqual(seen, expected, recording.name)
      }
    })
  )
})
