import { assert, describe, it } from "@effect/vitest"
import { Either, Redacted } from "effect"
import * as TokenAcquirer from "../../../src/core/auth/TokenAcquirer.js"
import * as TokenLife from "../../../src/core/auth/TokenLife.js"
import { PCGRandom } from "../../../src/internal/random.js"
import { AioRpcError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import * as TokenPolicy from "../../../src/schemas/TokenPolicy.js"

const policy = Either.getOrThrow(TokenPolicy.check())
const credentials: TokenAcquirer.Credentials = { clientKey: "ck", clientSecret: Redacted.make("cs") }
const timedOut = new AioRpcError({
  method: "ClientAuthService/AuthenticateClient",
  code: StatusCode.DEADLINE_EXCEEDED,
  details: "the registry is busy"
})

/** What happens at which instant, the earliest first: a binary heap. */
class Agenda {
  private readonly entries: Array<{ readonly at: number; readonly run: (now: number) => void }> = []

  add(at: number, run: (now: number) => void): void {
    const { entries } = this
    let index = entries.push({ at, run }) - 1
    while (index > 0 && this.at((index - 1) >> 1) > this.at(index)) {
      this.swap(index, (index - 1) >> 1)
      index = (index - 1) >> 1
    }
  }

  next(): { readonly at: number; readonly run: (now: number) => void } | undefined {
    const { entries } = this
    this.swap(0, entries.length - 1)
    const first = entries.pop()
    for (let index = 0, child = 1; child < entries.length; child = 2 * index + 1) {
      if (this.at(child + 1) < this.at(child)) child++
      if (this.at(index) <= this.at(child)) break
      this.swap(index, child)
      index = child
    }
    return first
  }

  private at(index: number): number {
    return this.entries[index]?.at ?? Number.POSITIVE_INFINITY
  }

  private swap(a: number, b: number): void {
    const [first, second] = [this.entries[a], this.entries[b]]
    if (first === undefined || second === undefined) return
    this.entries[a] = second
    this.entries[b] = first
  }
}

const HASH_MILLIS = 100
const AT_A_TIME = 2

/** Hashes first come first served, each to its end: also for callers that have left. */
const makeRegistry = (agenda: Agenda) => {
  const waiting: Array<(now: number) => void> = []
  let served = 0
  let busy = 0
  const begin = (now: number): void => {
    const answer = waiting[served]
    if (answer === undefined || busy === AT_A_TIME) return
    served++
    busy++
    agenda.add(now + HASH_MILLIS, (then) => {
      busy--
      begin(then)
      answer(then)
    })
  }
  return {
    hash: (now: number, answer: (now: number) => void): void => {
      waiting.push(answer)
      begin(now)
    },
    sent: () => waiting.length
  }
}

const DAY_MILLIS = 86_400_000

/** Clients of one registry whose tokens die together. Their apps go on calling, once a second, until a call succeeds. */
const herd = (size: number, until: number) => {
  const agenda = new Agenda()
  const registry = makeRegistry(agenda)
  const random = new PCGRandom(size)
  let holders = 0
  let lastAt = 0

  const life = (generation: number, sentAt: number) => {
    const token = { value: Redacted.make("t"), expiresAt: 0, acquiredAt: sentAt, generation }
    return TokenLife.make(token, { sentAt, lifetimeMillis: 2 * DAY_MILLIS }, random.number(), policy)
  }

  const client = () => {
    let state = TokenAcquirer.make(policy)
    let generation = 0
    // As the shell does: the first request that timed out is listened to, beside the newest.
    let late: object | undefined

    const step = (event: TokenAcquirer.Event, now: number): void => {
      const [next, action] = TokenAcquirer.step(state, event, now)
      state = next
      if (action !== undefined) perform(action, now)
    }

    const perform = (action: TokenAcquirer.Action, now: number): void => {
      switch (action._tag) {
        case "ReadCredentials":
          step({ _tag: "CredentialsRead", credentials }, now)
          break
        case "WaitFor":
          agenda.add(now + action.millis, (then) => step({ _tag: "PauseOver" }, then))
          break
        case "Authenticate":
          authenticate(now)
          break
        case "Answer":
          use(now)
          break
        case "FailWith":
          agenda.add(now + 1_000, call)
      }
    }

    const authenticate = (sentAt: number): void => {
      const request = {}
      let isOver = false
      registry.hash(sentAt, (now) => {
        if (isOver && (late !== request || now > sentAt + policy.acquireDeadlineMillis + TokenAcquirer.LATE_MILLIS))
          return
        const _tag = state.phase === "Authenticating" ? "Authenticated" : "AuthenticatedLate"
        isOver = true
        step({ _tag, life: life(++generation, sentAt), random: random.number() }, now)
      })
      agenda.add(sentAt + policy.acquireDeadlineMillis, (now) => {
        if (isOver || state.phase !== "Authenticating") return
        isOver = true
        late ??= request
        const failed = { _tag: "AuthenticationFailed", of: credentials, error: timedOut } as const
        step({ ...failed, kind: "TimedOut", random: random.number() }, now)
      })
    }

    const call = (now: number): void => {
      const wait = TokenAcquirer.pace(state, now)
      if (TokenAcquirer.alive(state, now) !== undefined) use(now)
      else if (wait === 0) step({ _tag: "TokenWanted" }, now)
      else agenda.add(now + (wait ?? 1_000), call)
    }

    const use = (now: number): void => {
      step({ _tag: "Accepted", generation }, now)
      holders++
      lastAt = now
    }

    // A token of yesterday that every server refuses.
    const past: ReadonlyArray<TokenAcquirer.Event> = [
      { _tag: "TokenWanted" },
      { _tag: "CredentialsRead", credentials },
      { _tag: "Authenticated", life: life(++generation, -DAY_MILLIS), random: 1 },
      { _tag: "Refused", generation }
    ]
    for (const event of past) state = TokenAcquirer.step(state, event, -DAY_MILLIS)[0]
    agenda.add(random.number() * 1_000, call)
  }

  for (let i = 0; i < size; i++) client()
  for (let next = agenda.next(); next !== undefined && next.at <= until; next = agenda.next()) next.run(next.at)
  return { holders, seconds: lastAt / 1_000, sent: registry.sent() }
}

describe("rule 8: clients that lose their tokens together, a registry that finishes each hash it has begun", () => {
  it.each([300, 1_000, 3_000])("scenario 45: %d all have a token within four times the work", (size) => {
    const work = (size * HASH_MILLIS) / AT_A_TIME
    const { holders } = herd(size, 4 * work)
    assert.strictEqual(holders, size)
  })
})
