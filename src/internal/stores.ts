/**
 * Stores of texts under keys. One of the few files that differ between the lines for Effect 3 and 4.
 */
import type { PlatformError } from "@effect/platform/Error"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"

export interface Texts {
  readonly get: (key: string) => Effect.Effect<Option.Option<string>, PlatformError>
  readonly set: (key: string, text: string) => Effect.Effect<void, PlatformError>
  readonly remove: (key: string) => Effect.Effect<void, PlatformError>
  readonly clear: Effect.Effect<void, PlatformError>
  readonly size: Effect.Effect<number, PlatformError>
  readonly keys: Effect.Effect<ReadonlyArray<string>, PlatformError>
}

export const make = (texts: Texts): KeyValueStore.KeyValueStore => KeyValueStore.makeStringOnly(texts)

export const get = (store: KeyValueStore.KeyValueStore, key: string): Effect.Effect<Option.Option<string>, unknown> =>
  store.get(key)

export const ifThere = <A>(effect: Effect.Effect<A, PlatformError>): Effect.Effect<Option.Option<A>, PlatformError> =>
  Effect.catchIf(
    Effect.asSome(effect),
    (error) => error._tag === "SystemError" && error.reason === "NotFound",
    () => Effect.succeedNone
  )
