import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FileSystem, KeyValueStore } from "@effect/platform"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option } from "effect"
import { SnapshotStore } from "effect-aio"
import * as Stores from "../../src/internal/stores.js"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "snapshot-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("SnapshotStore", () => {
  it.scopedLive("gives back what was written last, for each key", () =>
    Effect.gen(function* () {
      const store = yield* SnapshotStore.make(join(yield* directory, "a", "b"))
      assert.isTrue(Option.isNone(yield* Stores.get(store, "one")))
      yield* store.set("one", "1")
      yield* store.set("../two/../..", "2")
      yield* store.set("one", "11")
      assert.deepStrictEqual(yield* Stores.get(store, "one"), Option.some("11"))
      assert.deepStrictEqual(yield* Stores.get(store, "../two/../.."), Option.some("2"))
      assert.strictEqual(yield* store.size, 2)
      yield* store.remove("one")
      yield* store.remove("one")
      assert.isTrue(Option.isNone(yield* Stores.get(store, "one")))
      yield* store.clear
      assert.strictEqual(yield* store.size, 0)
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("keeps its files from other users, whatever the mode of one that was there", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "own")
      const store = yield* SnapshotStore.make(path)
      yield* store.set("key", "old")
      chmodSync(join(path, "key.snapshot"), 0o644)
      yield* store.set("key", "new")
      assert.strictEqual(statSync(join(path, "key.snapshot")).mode & 0o777, 0o600)
      assert.strictEqual(statSync(path).mode & 0o777, 0o700)
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive(
    "leaves the former text whole, and nothing beside it, when the new one cannot be put in its place",
    () =>
      Effect.gen(function* () {
        const path = yield* directory
        const fs = yield* FileSystem.FileSystem
        const store = yield* SnapshotStore.make(path)
        yield* store.set("key", "former")
        const failing = yield* Effect.provideService(SnapshotStore.make(path), FileSystem.FileSystem, {
          ...fs,
          rename: () => fs.rename(join(path, "nothing"), join(path, "key.snapshot"))
        })
        assert.isTrue(Exit.isFailure(yield* Effect.exit(failing.set("key", "half"))))
        assert.strictEqual(readFileSync(join(path, "key.snapshot"), "utf8"), "former")
        assert.deepStrictEqual(readdirSync(path), ["key.snapshot"])
      }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("is never seen half written, by however many who write and read at once", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const store = yield* Effect.provide(KeyValueStore.KeyValueStore, SnapshotStore.layer(path))
      const texts = Array.from({ length: 40 }, (_, i) => String(i % 10).repeat(200_000))
      yield* store.set("key", texts[0] ?? "")
      const [, seen] = yield* Effect.zip(
        Effect.forEach(texts, (text) => store.set("key", text), { concurrency: 8, discard: true }),
        Effect.forEach(texts, () => Stores.get(store, "key"), { concurrency: 8 }),
        { concurrent: true }
      )
      for (const text of seen) assert.include(texts, Option.getOrThrow(text))
      assert.deepStrictEqual(readdirSync(path), ["key.snapshot"])
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("does not keep a program from starting where its directory cannot be made", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "file")
      writeFileSync(path, "not a directory")
      const store = yield* SnapshotStore.make(join(path, "below"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.set("key", "text"))))
      rmSync(path)
      yield* store.set("key", "text")
      assert.deepStrictEqual(yield* Stores.get(store, "key"), Option.some("text"))
    }).pipe(Effect.provide(NodeContext.layer))
  )

  it.scopedLive("takes away what processes have left that were killed while they wrote, and nothing else", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const anHourAgo = new Date(Date.now() - 3_700_000)
      for (const name of ["key.snapshot.abc.tmp", "key.snapshot", "other.tmp", "notes.txt"]) {
        writeFileSync(join(path, name), "text")
        utimesSync(join(path, name), anHourAgo, anHourAgo)
      }
      writeFileSync(join(path, "key.snapshot.now.tmp"), "somebody is writing")
      const store = yield* SnapshotStore.make(path)
      yield* store.set("new", "text")
      assert.deepStrictEqual(readdirSync(path).sort(), [
        "key.snapshot",
        "key.snapshot.now.tmp",
        "new.snapshot",
        "notes.txt",
        "other.tmp"
      ])
    }).pipe(Effect.provide(NodeContext.layer))
  )
})
