/** The clients that may authenticate: each has a key, the salted hash of its secret, and a state. */
import * as Crypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { Failure } from "../store/RegistryStore.js"
import * as Hashing from "./Hashing.js"

/**
 * A key with its secret.
 *
 * @since 0.1.0
 * @category models
 */
export interface Credentials {
  readonly clientKey: string
  readonly clientSecret: Redacted.Redacted
}

/**
 * A client to be added. Key and secret are generated where they are left out.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewClient {
  readonly clientKey?: string | undefined
  readonly clientSecret?: Redacted.Redacted | undefined
  /** Default `true`. */
  readonly enabled?: boolean | undefined
  /** Milliseconds since the epoch from which the client is refused. Default: never. */
  readonly expiresAt?: number | undefined
}

/**
 * A client as others may see it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Client {
  readonly id: number
  readonly clientKey: string
  readonly enabled: boolean
  readonly expiresAt: number
}

export interface Clients {
  /** Adds a client, or replaces the one of the same key. Gives its credentials. */
  readonly add: (client: NewClient) => Effect.Effect<Credentials>
  /**
   * The client of this key and secret, if it is enabled and has not expired. Takes as long for an unknown key. Refused
   * while too many secrets wait to be hashed.
   */
  readonly authenticate: (clientKey: string, clientSecret: string) => Effect.Effect<Option.Option<Client>, Failure>
  readonly find: (id: number) => Effect.Effect<Option.Option<Client>>
  readonly setEnabled: (clientKey: string, enabled: boolean) => Effect.Effect<void>
  readonly expire: (clientKey: string) => Effect.Effect<void>
  readonly remove: (clientKey: string) => Effect.Effect<void>
}

interface Kept extends Client {
  readonly salt: Buffer
  readonly hash: Buffer
}

const generated = (prefix: string, bytes: number): string => `${prefix}_${Crypto.randomBytes(bytes).toString("hex")}`

/** Whether a client is enabled and has not expired. */
export const isActive = (client: Client): Effect.Effect<boolean> =>
  Effect.map(Clock.currentTimeMillis, (now) => client.enabled && now < client.expiresAt)

export const make = (limits: Hashing.Limits): Effect.Effect<Clients> =>
  Effect.sync(() => {
    const hashOf = Hashing.make(limits)
    const byKey = new Map<string, Kept>()
    const unknown = { salt: Crypto.randomBytes(16), hash: Buffer.alloc(Hashing.LENGTH) }
    let lastId = 0

    const change = (clientKey: string, changed: Partial<Client>) =>
      Effect.sync(() => {
        const client = byKey.get(clientKey)
        if (client !== undefined) byKey.set(clientKey, { ...client, ...changed })
      })

    return {
      add: Effect.fnUntraced(function* (client) {
        const clientKey = client.clientKey ?? generated("ck", 8)
        const clientSecret = client.clientSecret ?? Redacted.make(generated("cs", 16))
        const salt = Crypto.randomBytes(16)
        // The operator does not wait behind those who come from outside.
        const hash = yield* Effect.async<Buffer>((resume) => Hashing.scrypt(Redacted.value(clientSecret), salt, resume))
        const id = ++lastId
        const enabled = client.enabled ?? true
        byKey.set(clientKey, { id, clientKey, enabled, expiresAt: client.expiresAt ?? Infinity, salt, hash })
        return { clientKey, clientSecret }
      }),
      authenticate: Effect.fnUntraced(function* (clientKey, clientSecret) {
        const { hash, salt } = byKey.get(clientKey) ?? unknown
        const given = yield* hashOf(clientSecret, salt)
        // Looked up again: the client may have been removed or disabled while the secret was hashed.
        const client = byKey.get(clientKey)
        const matches = Crypto.timingSafeEqual(given, hash) && client?.hash === hash
        return matches && client !== undefined && (yield* isActive(client)) ? Option.some(client) : Option.none()
      }),
      find: (id) =>
        Effect.sync(() => {
          for (const client of byKey.values()) if (client.id === id) return Option.some(client)
          return Option.none()
        }),
      setEnabled: (clientKey, enabled) => change(clientKey, { enabled }),
      expire: (clientKey) => Effect.flatMap(Clock.currentTimeMillis, (now) => change(clientKey, { expiresAt: now })),
      remove: (clientKey) => Effect.sync(() => void byKey.delete(clientKey))
    }
  })
