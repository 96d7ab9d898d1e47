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

const VERSION = 1

/** How long after a change it is written, together with what else has changed by then. */
const DEBOUNCE = "5 seconds"

/** Unchanged services are written every 5 minutes, since their age counts from when they were confirmed. */
const CONFIRM_MILLIS = 300_000

/** A disk that hangs holds up neither a start nor a stop for longer. */
const READ_TIMEOUT = "2 seconds"
const LAST_WRITE_TIMEOUT = "2 seconds"
const WRITE_TIMEOUT = "30 seconds"

/** `fetchedAt`: when the registry has answered, in milliseconds since the epoch. */
const Line = Schema.Struct({
  project: Schema.String,
  env: Schema.String,
  fetchedAt: Schema.Number,
  service: Service,
  instances: Schema.Array(Instance)
})

interface Line extends Schema.Schema.Type<typeof Line> {}

const Header = Schema.Struct({
  format: Schema.Literal("effect-aio/discovery"),
  version: Schema.Number,
  sha256: Schema.String
})

const decodeHeader = Schema.decodeUnknownOption(Schemas.json(Header))
const decodeLine = Schemas.decoder(Schemas.json(Line))

/** A header with the checksum of the rest, then one line for each service. */
const encode = (lines: ReadonlyArray<Line>): Effect.Effect<string> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    const texts: Array<string> = []
    return Effect.map(
      Slices.run(() => {
        const line = lines[texts.length]
        if (line === undefined) return true
        const text = JSON.stringify(line)
        hash.update(text).update("\n")
        texts.push(text)
        return false
      }),
      () => {
        const header = { format: "effect-aio/discovery", version: VERSION, sha256: hash.digest("hex") }
        return [JSON.stringify(header), ...texts, ""].join("\n")
      }
    )
  })

/** The services that a text holds, or what is wrong with it. */
const decode = (text: string): Effect.Effect<ReadonlyArray<Line>, string> =>
  Effect.suspend(() => {
    const [first = "", ...texts] = text.split("\n")
    const header = decodeHeader(first)
    if (Option.isNone(header)) return Effect.fail("it is damaged, or something else")
    const { sha256, version } = header.value
    if (version !== VERSION) return Effect.fail(`it is of version ${version}, and not ${VERSION}`)
    texts.pop()
    const hash = createHash("sha256")
    const lines: Array<Line> = []
    let next = 0
    let hasFailed = false
    return Effect.flatMap(
      Slices.run(() => {
        const one = texts[next++]
        if (one === undefined) return true
        hash.update(one).update("\n")
        const line = decodeLine(one)
        if (Either.isRight(line)) lines.push(line.right)
        else hasFailed = true
        return false
      }),
      () => (hasFailed || hash.digest("hex") !== sha256 ? Effect.fail("it is damaged") : Effect.succeed(lines))
    )
  })

const reasonOf = (cause: Cause.Cause<unknown>): string => messageOf(cause).split("\n", 1)[0] ?? ""

const read = ({ key, store }: SnapshotSettings): Effect.Effect<ReadonlyArray<Line>> =>
  Stores.get(store, key).pipe(
    Effect.timeout(READ_TIMEOUT),
    Effect.flatMap(Option.match({ onNone: () => Effect.succeed([]), onSome: decode })),
    Effect.catchAllCause((cause) =>
      Effect.as(Effect.logWarning(`the snapshot of discovery is not used: ${reasonOf(cause)}`), [])
    )
  )

const groupOf = ({ env, project }: { readonly project: string; readonly env: string }) => JSON.stringify([project, env])

/** The services in use; of projects that were not listed yet, what the previous snapshot knew. */
const collect = (
  entries: Iterable<ProjectView.ProjectView>,
  previous: Map<string, ReadonlyArray<Line>>,
  clock: Clock.Clock,
  maxStaleMillis: number
): ReadonlyArray<Line> => {
  const wallNow = clock.unsafeCurrentTimeMillis()
  const now = Monotonic.unsafeNow(clock)
  const lines: Array<Line> = []
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
    lines.push(...old.filter(({ fetchedAt }) => wallNow - fetchedAt < maxStaleMillis))
  }
  return lines
}

/** Writes. Logs the first failure of a row. Never fails: gives whether it was written. */
const makeWrite = ({ key, store }: SnapshotSettings) => {
  let hasFailed = false
  return (lines: ReadonlyArray<Line>, timeout: Duration.DurationInput): Effect.Effect<boolean> =>
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
        return Effect.as(Effect.logWarning(`the snapshot of discovery cannot be written: ${reasonOf(cause)}`), false)
      })
    )
}

/** Reads the snapshot. One that cannot be read is a warning, and is not used. */
export const make = (settings: SnapshotSettings): Effect.Effect<Snapshot> =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const write = makeWrite(settings)
    const previous = new Map<string, ReadonlyArray<Line>>()
    for (const line of yield* read(settings)) {
      previous.set(groupOf(line), [...(previous.get(groupOf(line)) ?? []), line])
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
