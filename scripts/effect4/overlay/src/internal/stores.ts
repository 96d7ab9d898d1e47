/**
 * Stores of texts under keys. The line for Effect 4.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import * as KeyValueStore from "effect/persistence/KeyValueStore"

export interface Texts {
  readonly get: (key: string) => Effect.Effect<Option.Option<string>, PlatformError>
  readonly set: (key: string, text: string) => Effect.Effect<void, PlatformError>
  readonly remove: (key: string) => Effect.Effect<void, PlatformError>
  readonly clear: Effect.Effect<void, PlatformError>
  readonly size: Effect.Effect<number, PlatformError>
  readonly keys: Effect.Effect<ReadonlyArray<string>, PlatformError>
}

const told =
  (method: string, key?: string) =>
  <A>(effect: Effect.Effect<A, PlatformError>): Effect.Effect<A, KeyValueStore.KeyValueStoreError> =>
    Effect.mapError(
      effect,
      (cause) =>
        new KeyValueStore.KeyValueStoreError({
          message: cause.message,
          method,
          ...(key === undefined ? {} : { key }),
          cause
        })
    )

export const make = (texts: Texts): KeyValueStore.KeyValueStore =>
  KeyValueStore.makeStringOnly({
    get: (key) => told("get", key)(Effect.map(texts.get(key), Option.getOrUndefined)),
    set: (key, text) => told("set", key)(texts.set(key, text)),
    remove: (key) => told("remove", key)(texts.remove(key)),
    clear: told("clear")(texts.clear),
    size: told("size")(texts.size),
    keys: told("keys")(texts.keys)
  })

export const get = (store: KeyValueStore.KeyValueStore, key: string): Effect.Effect<Option.Option<string>, unknown> =>
  Effect.map(store.get(key), Option.fromUndefinedOr)

export const ifThere = <A>(effect: Effect.Effect<A, PlatformError>): Effect.Effect<Option.Option<A>, PlatformError> =>
  Effect.catchIf(
    Effect.asSome(effect),
    (error) => error.reason._tag === "NotFound",
    () => Effect.succeedNone
  )
