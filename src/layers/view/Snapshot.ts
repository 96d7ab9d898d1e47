/** Keeps what discovery knows for the next process, which may find the registry unavailable when it starts. */
import { createHash } from "node:crypto"
import type * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ServiceView from "../../core/view/ServiceView.js"
import * as View from "../../core/view/View.js"
import * as Background from "../../internal/background.js"
import * as Logs from "../../internal/logs.js"
import { messageOf } from "../../internal/messageOf.js"
import * as Monotonic from "../../internal/monotonic.js"
import * as Schemas from "../../internal/schemas.js"
import * as Slices from "../../internal/slices.js"
import * as Stores from "../../internal/stores.js"
import * as Wakes from "../../internal/wakes.js"
import { Instance } from "../../schemas/Instance.js"
import { Service } from "../../schemas/Service.js"
import * as Annotations from "../../telemetry/Annotations.js"
import type * as ProjectView from "./ProjectView.js"

export interface Options {
  /** Where it is kept. `SnapshotStore` writes atomically, for this user only. */
  readonly store: KeyValueStore.KeyValueStore
  /** The key: one for each registry that shares the store. Default `effect-aio-discovery`. */
  readonly key?: string | undefined
}

export interface SnapshotSettings {
  readonly store: KeyValueStore.KeyValueStore
  readonly key: string
  readonly maxStaleMillis: number
}

export const defaultKey = "effect-aio-discovery"

export interface Snapshot {
  /** What an earlier process knew of a project. */
  readonly remembered: (project: string, env: string, now: number) => ReadonlyArray<ServiceView.ServiceView>
  /** A view was fetched, or changed otherwise. */
  readonly note: (isChanged: boolean) => void
  /** Keeps it up to date until the scope closes; writes it once more then, in 2 seconds at most. */
  readonly keep: (entries: () => Iterable<ProjectView.ProjectView>) => Effect.Effect<void, never, Scope.Scope>
}

const VERSION = 2

/** How long after a change it is written, together with what else has changed by then. */
const DEBOUNCE = "5 seconds"

/** Unchanged services are written every 5 minutes, since their age counts from when they were confirmed. */
const CONFIRM_MILLIS = 300_000

/** A disk that hangs holds up neither a start nor a stop for longer, and so does a text that is too long to decode. */
const READ_MILLIS = 2_000
const LAST_WRITE_TIMEOUT = "2 seconds"
const WRITE_TIMEOUT = "30 seconds"

const described = { project: Schema.String, env: Schema.String, fetchedAt: Schema.Number, service: Service }

/** The line of a service, before those of its instances. `fetchedAt`: when the registry has answered, in milliseconds since the epoch. */
const ServiceLine = Schema.Struct({ ...described, instances: Schema.Number })

/** A service, with its instances. */
interface Known extends Schema.Schema.Type<Schema.Struct<typeof described>> {
  readonly instances: ReadonlyArray<Instance>
}

const Header = Schema.Struct({
  format: Schema.Literal("effect-aio/discovery"),
  version: Schema.Number,
  sha256: Schema.String
})

const decodeHeader = Schema.decodeUnknownOption(Schemas.json(Header))
const decodeService = Schemas.decoder(Schemas.json(ServiceLine))
const decodeInstance = Schemas.decoder(Schemas.json(Instance))

function* linesOf(services: ReadonlyArray<Known>): Generator<string> {
  for (const { env, fetchedAt, instances, project, service } of services) {
    yield JSON.stringify({ project, env, fetchedAt, service, instances: instances.length })
    for (const instance of instances) yield JSON.stringify(instance)
  }
}

/** So many characters are hashed, or joined, at once. */
const CHUNK = 64 * 1024

/** A header with the checksum of the rest, then the services: a line for each, and one for each of its instances. */
const encode = (services: ReadonlyArray<Known>): Effect.Effect<string> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    const chunks: Array<string> = []
    const lines = linesOf(services)
    let chunk = ""
    const endChunk = () => {
      hash.update(chunk)
      chunks.push(chunk)
      chunk = ""
    }
    return Effect.map(
      Slices.run(() => {
        const line = lines.next()
        if (line.done === true) return true
        chunk += `${line.value}\n`
        if (chunk.length >= CHUNK) endChunk()
        return false
      }),
      () => {
        endChunk()
        const header = { format: "effect-aio/discovery", version: VERSION, sha256: hash.digest("hex") }
        return `${JSON.stringify(header)}\n${chunks.join("")}`
      }
    )
  })

/** Whether a text has this checksum, from a position on, where a line begins. */
const hasChecksum = (text: string, from: number, sha256: string): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    let start = from
    return Effect.map(
      Slices.run(() => {
        // Not in the middle of a character.
        const end = text.indexOf("\n", start + CHUNK) + 1 || text.length
        hash.update(text.slice(start, end))
        start = end
        return start === text.length
      }),
      () => hash.digest("hex") === sha256
    )
  })

/** What was read: a record that is unreadable spoils itself only, or its service. */
interface Decoded {
  readonly services: ReadonlyArray<Known>
  readonly unreadable: number
  readonly isWhole: boolean
}

const decodeLines = (text: string, from: number, isTooLate: () => boolean): Effect.Effect<Decoded> =>
  Effect.suspend(() => {
    const services: Array<Known> = []
    let unreadable = 0
    let instances: Array<Instance> = []
    /** How many of the next lines are instances. */
    let due = 0
    let start = from
    return Effect.map(
      Slices.run(() => {
        const end = text.indexOf("\n", start)
        if (end === -1) return true
        const line = text.slice(start, end)
        start = end + 1
        if (due > 0) {
          due--
          const instance = decodeInstance(line)
          if (Either.isRight(instance)) instances.push(instance.right)
          else unreadable++
          return false
        }
        const service = decodeService(line)
        if (Either.isLeft(service)) {
          unreadable++
          return false
        }
        instances = []
        due = service.right.instances
        services.push({ ...service.right, instances })
        return false
      }, isTooLate),
      (isWhole) => ({ services, unreadable, isWhole })
    )
  })

/** What a text holds, or what is wrong with it. */
const decode = (text: string, isTooLate: () => boolean): Effect.Effect<Decoded, string> =>
  Effect.suspend(() => {
    const from = text.indexOf("\n") + 1
    const header = decodeHeader(text.slice(0, Math.max(0, from - 1)))
    if (Option.isNone(header)) return Effect.fail("it is damaged, or something else")
    const { sha256, version } = header.value
    if (version !== VERSION) return Effect.fail(`it is of version ${version}, and not ${VERSION}`)
    return Effect.flatMap(hasChecksum(text, from, sha256), (isIntact) =>
      isIntact ? decodeLines(text, from, isTooLate) : Effect.fail("it is damaged")
    )
  })

const reasonOf = (cause: Cause.Cause<unknown>): string => messageOf(cause).split("\n", 1)[0] ?? ""

const warnings = ({ isWhole, unreadable }: Decoded): ReadonlyArray<string> => [
  ...(unreadable > 0 ? [`${unreadable} records of the snapshot of discovery are unreadable, the others are used`] : []),
  ...(isWhole ? [] : [`the snapshot of discovery takes more than ${READ_MILLIS} ms to read: its beginning is used`])
]

const read = ({ key, store }: SnapshotSettings): Effect.Effect<ReadonlyArray<Known>> =>
  Effect.clockWith((clock) => {
    const end = Monotonic.unsafeNow(clock) + READ_MILLIS
    return Stores.get(store, key).pipe(
      Effect.interruptible,
      Effect.timeout(READ_MILLIS),
      Effect.flatMap(
        Option.match({
          onNone: () => Effect.succeed([]),
          onSome: (text) =>
            Effect.tap(
              decode(text, () => Monotonic.unsafeNow(clock) >= end),
              (decoded) => Effect.forEach(warnings(decoded), (line) => Logs.warning(line), { discard: true })
            ).pipe(Effect.map(({ services }) => services))
        })
      ),
      Effect.catchAllCause((cause) =>
        Effect.as(Logs.warning(`the snapshot of discovery is not used: ${reasonOf(cause)}`), [])
      )
    )
  })

const groupOf = ({ env, project }: { readonly project: string; readonly env: string }) => JSON.stringify([project, env])

/** The services in use; of projects that were not listed yet, what the previous snapshot knew. */
const collect = (
  entries: Iterable<ProjectView.ProjectView>,
  previous: Map<string, ReadonlyArray<Known>>,
  clock: Clock.Clock,
  maxStaleMillis: number
): ReadonlyArray<Known> => {
  const wallNow = clock.unsafeCurrentTimeMillis()
  const now = Monotonic.unsafeNow(clock)
  const lines: Array<Known> = []
  for (const { uses, view } of entries) {
    if (view.listedAt === undefined) continue
    previous.delete(groupOf(view))
    for (const name of uses.keys()) {
      const known = View.find(view, name)
      if (known === undefined || known.isStatic) continue
      const { instances, service } = known
      const fetchedAt = wallNow - Math.round(ServiceView.ageMillis(known, now))
      lines.push({ project: view.project, env: view.env, fetchedAt, service, instances })
    }
  }
  for (const old of previous.values()) {
    for (const one of old) if (wallNow - one.fetchedAt < maxStaleMillis) lines.push(one)
  }
  return lines
}

/** Writes. Logs the first failure of a row. Never fails: gives whether it was written. */
const makeWrite = ({ key, store }: SnapshotSettings) => {
  let hasFailed = false
  return (lines: ReadonlyArray<Known>, timeout: Duration.DurationInput): Effect.Effect<boolean> =>
    encode(lines).pipe(
      Effect.flatMap((text) => store.set(key, text)),
      Effect.timeout(timeout),
      Effect.zipRight(
        Effect.sync(() => {
          hasFailed = false
          return true
        })
      ),
      Effect.catchAllCause((cause) => {
        if (hasFailed || Cause.isInterruptedOnly(cause)) return Effect.succeed(false)
        hasFailed = true
        return Effect.as(Logs.warning(`the snapshot of discovery cannot be written: ${reasonOf(cause)}`), false)
      })
    )
}

/** Reads the snapshot. One that cannot be read is a warning, and is not used. */
export const make = (settings: SnapshotSettings): Effect.Effect<Snapshot> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const write = makeWrite(settings)
    const previous = new Map<string, Array<Known>>()
    for (const known of yield* read(settings)) {
      const group = previous.get(groupOf(known))
      if (group === undefined) previous.set(groupOf(known), [known])
      else group.push(known)
    }
    let hasNews = false
    let writtenAt = Number.NEGATIVE_INFINITY
    let due = Deferred.unsafeMake<void>(FiberId.none)

    const writeNow = (entries: () => Iterable<ProjectView.ProjectView>, timeout: Duration.DurationInput) =>
      Effect.suspend(() => {
        hasNews = false
        writtenAt = Monotonic.unsafeNow(clock)
        due = Deferred.unsafeMake<void>(FiberId.none)
        return Effect.onExit(write(collect(entries(), previous, clock, settings.maxStaleMillis), timeout), (exit) =>
          Effect.sync(() => {
            // The scope may close in the middle of it.
            if (!Exit.isSuccess(exit) || !exit.value) hasNews = true
          })
        )
      })

    const snapshot: Snapshot = {
      remembered: (project, env, now) =>
        (previous.get(groupOf({ project, env })) ?? []).map((line) =>
          ServiceView.remembered(line, now - Math.max(0, clock.unsafeCurrentTimeMillis() - line.fetchedAt))
        ),
      note: (isChanged) => {
        hasNews = true
        if (isChanged || Monotonic.unsafeNow(clock) - writtenAt >= CONFIRM_MILLIS) Wakes.unsafeDone(due, Effect.void)
      },
      keep: (entries) =>
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() =>
            Effect.suspend(() => (hasNews ? Effect.interruptible(writeNow(entries, LAST_WRITE_TIMEOUT)) : Effect.void))
          )
          yield* Effect.suspend(() => Wakes.awaiting(due)).pipe(
            Effect.zipRight(Effect.sleep(DEBOUNCE)),
            Effect.zipRight(Effect.suspend(() => writeNow(entries, WRITE_TIMEOUT))),
            Effect.forever,
            Background.fork
          )
        }).pipe(Annotations.from("DiscoveryCached"))
    }
    return snapshot
  }).pipe(Annotations.from("DiscoveryCached"))
