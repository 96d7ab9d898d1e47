/** Hashes secrets: work of some 50 ms each that anyone can ask for, so that it is bounded. */
import * as Crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as PlaneLimits from "../schemas/PlaneLimits.js"
import type { Failure } from "../store/RegistryStore.js"

export type Limits = Pick<PlaneLimits.CheckedLimits, "waitingAuthentications">

/** The length of a hash. */
export const LENGTH = 32

type Hash = (secret: string, salt: Buffer, done: (hash: Effect.Effect<Buffer>) => void) => void

export const scrypt: Hash = (secret, salt, done) =>
  Crypto.scrypt(secret, salt, LENGTH, (error, hash) => done(error === null ? Effect.succeed(hash) : Effect.die(error)))

// Of the four threads of Node's pool, which look up names and read files as well.
const PARALLEL = 2

/**
 * Hashes two secrets at a time, first come first served, and refuses while `waitingAuthentications` wait. A caller that
 * leaves is taken out of the queue; a hash that has begun cannot be stopped, and keeps its place until it is done.
 */
export const make = (limits: Limits, hash: Hash = scrypt) => {
  const waiting = new Set<() => void>()
  let running = 0

  const next = () => {
    const [begin] = waiting
    if (begin === undefined) return void running--
    waiting.delete(begin)
    begin()
  }

  return (secret: string, salt: Buffer): Effect.Effect<Buffer, Failure> =>
    Effect.async((resume) => {
      const begin = () =>
        hash(secret, salt, (hashed) => {
          next()
          resume(hashed)
        })
      if (running < PARALLEL) {
        running++
        return begin()
      }
      if (waiting.size >= limits.waitingAuthentications) {
        return resume(PlaneLimits.exceeded("too many secrets wait to be checked", "waitingAuthentications", limits))
      }
      waiting.add(begin)
      return Effect.sync(() => void waiting.delete(begin))
    })
}
