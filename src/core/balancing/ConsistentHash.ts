/** The same candidate for the same key. */
import * as Either from "effect/Either"
import { atOnce } from "../../internal/atOnce.js"
import type { AioConfigError } from "../../schemas/AioError.js"
import * as Rules from "../../schemas/Options.js"
import type { Candidate, Context, Picker, Request, Strategy } from "./Strategy.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many times the average an instance may have in flight before its keys go to others. Default 1.25; 1 to 100. */
  readonly boundedLoad?: number | undefined
}

const rules = { boundedLoad: Rules.number(1.25, 1, 100) } satisfies Rules.Rules<Options>

const check = Rules.check("balancing.", rules)

// MurmurHash3's finalizer: every bit of the input changes half of the bits of the result.
const mix = (hash: number): number => {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

// FNV-1a over UTF-16 code units.
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return mix(hash)
}

/** Keys share so many slots, each with an owner. The table takes 512 KiB. */
const SLOTS = 65_536

/** Up to so many candidates are hashed one by one, without a table. */
const MAX_SCANNED = 64

/** With more new candidates at once, all owners are computed again, instead of comparing each slot with each of them. */
const MAX_ADDED = 8

const NONE = -1

/** Owners of slots by rendezvous hashing: each candidate has a hash for each slot, and the highest owns it. */
interface Owners {
  readonly candidates: ReadonlyArray<Candidate>
  /** Of their keys. */
  readonly hashes: Uint32Array
  /** The index of the owner of each slot, computed at its first use, and its hash for that slot. */
  readonly table: Table | undefined
}

interface Table {
  readonly owner: Int32Array
  readonly highest: Uint32Array
}

const noOwners: Owners = { candidates: [], hashes: new Uint32Array(0), table: undefined }

const makeTable = () => ({ owner: new Int32Array(SLOTS).fill(NONE), highest: new Uint32Array(SLOTS) })

/** Of equal hashes, the smaller index wins: the key that comes first. */
const findOwner = (slot: number, { hashes, table }: Owners): number => {
  const seed = mix(slot + 1)
  let owner = NONE
  let highest = 0
  for (let i = 0; i < hashes.length; i++) {
    const hash = mix(seed ^ (hashes[i] ?? 0))
    if (hash > highest || owner === NONE) {
      owner = i
      highest = hash
    }
  }
  if (table !== undefined) {
    table.owner[slot] = owner
    table.highest[slot] = highest
  }
  return owner
}

const ownerOf = (slot: number, owners: Owners): Candidate | undefined => {
  const known = owners.table?.owner[slot] ?? NONE
  return owners.candidates[known === NONE ? findOwner(slot, owners) : known]
}

const CANDIDATES_PER_STEP = 256
const SLOTS_PER_STEP = 2_048

/**
 * Candidates that stay keep their slots, but for those that a new one takes over; slots of those that left are free. The table
 * is a copy: the former one is in use meanwhile.
 */
function* succeed(before: Owners, candidates: ReadonlyArray<Candidate>): Generator<void, Owners> {
  const hashes = new Uint32Array(candidates.length)
  const moved = new Int32Array(before.candidates.length).fill(NONE)
  const added: Array<number> = []
  let i = 0
  // Both are sorted by key: one walk along the two.
  for (let index = 0; index < candidates.length; index++) {
    const candidate = candidates[index]
    if (candidate === undefined) continue
    if (index % CANDIDATES_PER_STEP === 0) yield
    while (i < before.candidates.length && (before.candidates[i]?.key ?? "") < candidate.key) {
      if (++i % CANDIDATES_PER_STEP === 0) yield
    }
    if (before.candidates[i] === candidate) {
      moved[i] = index
      hashes[index] = before.hashes[i] ?? 0
    } else {
      added.push(index)
      hashes[index] = hashOf(candidate.key)
    }
  }
  if (candidates.length <= MAX_SCANNED) return { candidates, hashes, table: undefined }
  if (before.table === undefined || added.length > MAX_ADDED) return { candidates, hashes, table: makeTable() }
  if (added.length === 0 && candidates.length === before.candidates.length) {
    return { candidates, hashes, table: before.table }
  }
  const table = { owner: before.table.owner.slice(), highest: before.table.highest.slice() }
  yield* handOver(table, hashes, moved, added)
  return { candidates, hashes, table }
}

function* handOver(
  { highest, owner }: Table,
  hashes: Uint32Array,
  moved: Int32Array,
  added: ReadonlyArray<number>
): Generator<void, void> {
  for (let slot = 0; slot < SLOTS; slot++) {
    if (slot % SLOTS_PER_STEP === 0) yield
    const old = owner[slot] ?? NONE
    const stayed = old === NONE ? NONE : (moved[old] ?? NONE)
    owner[slot] = stayed
    if (stayed === NONE || added.length === 0) continue
    const seed = mix(slot + 1)
    for (const index of added) {
      const hash = mix(seed ^ (hashes[index] ?? 0))
      const best = highest[slot] ?? 0
      if (hash < best || (hash === best && index > (owner[slot] ?? 0))) continue
      owner[slot] = index
      highest[slot] = hash
    }
  }
}

/** So many owners, each of another slot of the key, are checked for room; then all candidates in order. */
const MAX_ASKS = 8

const makePicker =
  ({ boundedLoad }: Rules.Checked<typeof rules>) =>
  ({ inFlight, random }: Context): Picker => {
    let owners = noOwners
    let prepared: Owners | undefined
    return {
      prepare: function* (candidates) {
        prepared = yield* succeed(owners, candidates)
      },
      update: (candidates) => {
        owners = prepared?.candidates === candidates ? prepared : atOnce(succeed(owners, candidates))
        prepared = undefined
      },
      pick: (_, { exclude, key }: Request) => {
        const { candidates } = owners
        const n = candidates.length
        if (n < 2) return candidates[0]
        const hash = key === undefined ? Math.floor(random() * 0x100000000) : hashOf(key)
        const limit = Math.ceil((boundedLoad * (inFlight() + 1)) / n)
        const hasRoom = (candidate: Candidate | undefined): candidate is Candidate =>
          candidate !== undefined && candidate.inFlight < limit && exclude?.includes(candidate) !== true
        for (let ask = 0; ask < MAX_ASKS; ask++) {
          const owner = ownerOf((ask === 0 ? hash : mix(hash + ask)) % SLOTS, owners)
          if (hasRoom(owner)) return owner
        }
        for (let i = 0; i < n; i++) {
          const candidate = candidates[(hash + i) % n]
          if (hasRoom(candidate)) return candidate
        }
        return candidates[hash % n]
      }
    }
  }

const make = (settings: Rules.Checked<typeof rules>): Strategy => ({
  name: "consistentHash",
  make: makePicker(settings)
})

/**
 * The same instance for the same `key` of a pick, while it is available and not overloaded. For caches and sessions in the
 * instances. When one of n instances leaves, only its keys move, evenly to all others; a new instance takes its share, and no
 * other key moves. A pick without a key is random.
 *
 * An instance with more than 1.25 times the average of calls in flight (of `use`, `client` and scoped picks) passes a key on to
 * another one, always the same for one key; so does one that is excluded or ejected.
 *
 * With up to 64 instances a pick costs O(n), one hash each. With more, keys share 65,536 slots with remembered owners, and a
 * pick costs O(1), but for the first of a slot since its owner left: O(n), 20 µs at 10,000. At 10,000 instances a slot is a
 * sixth of an instance's share, so that shares differ by a third; the bounded load evens that out.
 *
 * Rendezvous hashing: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, 1998. Bounded load: Mirrokni,
 * Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, 2018 (https://arxiv.org/abs/1608.01350); that an overflow
 * goes to another random place instead of the next one: Chen, Coleman and Shrivastava, Revisiting Consistent Hashing with
 * Bounded Loads, 2021 (https://arxiv.org/abs/1908.08762).
 *
 * @since 0.1.0
 * @category strategies
 */
export const consistentHash: Strategy = make({ boundedLoad: rules.boundedLoad.default })

/**
 * {@link consistentHash} with another bound. Left: it is out of bounds.
 *
 * @since 0.1.0
 * @category strategies
 */
export const consistentHashWith = (options: Options): Either.Either<Strategy, AioConfigError> =>
  Either.map(check(options), make)
