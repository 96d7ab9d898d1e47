import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Redacted } from "effect"
import * as TokenAcquirer from "../../../src/core/auth/TokenAcquirer.js"
import * as TokenLife from "../../../src/core/auth/TokenLife.js"
import { AioConfigError, AioCredentialsRejected, AioRpcError } from "../../../src/schemas/AioError.js"
import { StatusCode } from "../../../src/schemas/StatusCode.js"
import * as TokenPolicy from "../../../src/schemas/TokenPolicy.js"

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const policy = Either.getOrThrow(TokenPolicy.check())

const rpcError = (code: number) =>
  new AioRpcError({ method: "ClientAuthService/RenewToken", code, details: "scripted" })
const rejected = new AioCredentialsRejected({ code: StatusCode.UNAUTHENTICATED, details: "scripted" })
const unreadable = new AioConfigError({ field: "clientSecret", problem: "is gone", expected: "a file" })
const unavailable = rpcError(StatusCode.UNAVAILABLE)

const credentials = (secret: string): TokenAcquirer.Credentials => ({
  clientKey: "ck",
  clientSecret: Redacted.make(secret)
})
const wrong = credentials("wrong")
const right = credentials("right")

/** An hour long, from `sentAt` on. */
const life = (generation: number, sentAt: number) =>
  TokenLife.make(
    { value: Redacted.make(`token-${generation}`), expiresAt: 0, acquiredAt: sentAt, generation },
    { sentAt, lifetimeMillis: hour },
    1,
    policy
  )

type Tag = TokenAcquirer.Event["_tag"]
type Event<T extends Tag> = Extract<TokenAcquirer.Event, { readonly _tag: T }>

const wanted: TokenAcquirer.Event = { _tag: "TokenWanted" }
const read = (of: TokenAcquirer.Credentials): TokenAcquirer.Event => ({ _tag: "CredentialsRead", credentials: of })
const authenticated = (generation: number, sentAt: number, random = 1): TokenAcquirer.Event => ({
  _tag: "Authenticated",
  life: life(generation, sentAt),
  random
})
const failed = (
  kind: Event<"AuthenticationFailed">["kind"],
  error: Event<"AuthenticationFailed">["error"] = unavailable,
  of = right
): TokenAcquirer.Event => ({ _tag: "AuthenticationFailed", kind, of, error, random: 1 })
const late = (generation: number): TokenAcquirer.Event => ({ _tag: "AuthenticatedLate", life: life(generation, 0) })
const refused = (generation: number): TokenAcquirer.Event => ({ _tag: "Refused", generation })
const accepted = (generation: number): TokenAcquirer.Event => ({ _tag: "Accepted", generation })
const renewalFailed = (code: number): TokenAcquirer.Event => ({ _tag: "RenewalFailed", error: rpcError(code) })
const backgroundFailed = (retryInMillis: number): TokenAcquirer.Event => ({ _tag: "BackgroundFailed", retryInMillis })

const describeAction = (action: TokenAcquirer.Action | undefined): string => {
  if (action === undefined) return "nothing"
  switch (action._tag) {
    case "Renew":
    case "Answer":
      return `${action._tag} ${action.token.generation}`
    case "WaitFor":
      return `WaitFor ${action.millis}`
    case "Authenticate":
      return `Authenticate ${Redacted.value(action.credentials.clientSecret)}`
    case "FailWith":
      return `FailWith ${action.error._tag}`
    default:
      return action._tag
  }
}

type Row = readonly [at: number, event: TokenAcquirer.Event, action: string]

const run = (rows: ReadonlyArray<Row>): TokenAcquirer.TokenAcquirer => {
  let state = TokenAcquirer.make(policy)
  rows.forEach(([at, event, expected], index) => {
    const [next, action] = TokenAcquirer.step(state, event, at)
    assert.strictEqual(describeAction(action), expected, `row ${index}: ${event._tag} at ${at}`)
    state = next
  })
  return state
}

const rows = (sentence: string, ...steps: ReadonlyArray<Row>) => it(sentence, () => void run(steps))

/** The first token, of generation 1, asked for at 0. */
const first: ReadonlyArray<Row> = [
  [0, wanted, "ReadCredentials"],
  [0, read(right), "Authenticate right"],
  [100, authenticated(1, 0), "Answer 1"]
]

/** 300 ms before the end of the first token. */
const notRenewed: ReadonlyArray<Row> = [
  ...first,
  [hour - 300, wanted, "Renew 1"],
  [hour - 300, renewalFailed(StatusCode.INTERNAL), "FailWith AioRpcError"]
]

describe("rule 1: one acquisition a second", () => {
  it.each([
    ["before the first one, the next may begin at once", [], 0, 0],
    ["within its second a token is the answer", first, 500, undefined],
    ["after that second the next may begin", first, second, 0],
    [
      "a token that was refused since is not the answer: the next waits a second",
      [...first, [200, refused(1), "nothing"]],
      400,
      second
    ],
    [
      "a failure is the answer for its second",
      [...first.slice(0, 2), [100, failed("Harmless"), "FailWith AioRpcError"]],
      999,
      undefined
    ],
    ["a defect is, too", [...first.slice(0, 2), [100, { _tag: "Broken" }, "nothing"]], 999, undefined],
    ["and no longer", [...first.slice(0, 2), [100, failed("Harmless"), "FailWith AioRpcError"]], second, 0],
    ["a renewal that failed is the answer for its second, while its token lives", notRenewed, hour - 1, undefined],
    ["and not beyond: an authentication may begin at once when the token has ended", notRenewed, hour, 0],
    ["or was refused", [...notRenewed, [hour - 200, refused(1), "nothing"]], hour - 100, 0]
  ] satisfies ReadonlyArray<readonly [string, ReadonlyArray<Row>, number, number | undefined]>)(
    "%s",
    (_, steps, at, expected) => {
      assert.strictEqual(TokenAcquirer.pace(run(steps), at), expected)
    }
  )
})

describe("rule 2: who waits, and who does not", () => {
  it("the token is alive to its end, and not beyond", () => {
    const state = run(first)
    assert.strictEqual(TokenAcquirer.alive(state, hour - 1)?.token.generation, 1)
    assert.isUndefined(TokenAcquirer.alive(state, hour))
    assert.isUndefined(TokenAcquirer.alive(run([...first, [200, refused(1), "nothing"]]), 200))
  })

  rows(
    "in the refresh window one renewal runs in the background, however many callers say that it is due",
    ...first,
    [56 * minute, { _tag: "RenewalDue" }, "RenewInBackground"],
    [56 * minute, { _tag: "RenewalDue" }, "nothing"],
    [56 * minute, wanted, "Renew 1"],
    [56 * minute + 50, { _tag: "Renewed", life: life(2, 56 * minute) }, "Answer 2"],
    [56 * minute + 50, { _tag: "BackgroundEnded" }, "nothing"],
    [110 * minute, { _tag: "RenewalDue" }, "RenewInBackground"]
  )
})

describe("rule 3: a renewal that fails while the token is valid", () => {
  rows(
    "is retried after 1, 2, 4 … 30 seconds at most",
    ...first,
    [55 * minute, { _tag: "RenewalDue" }, "RenewInBackground"],
    [55 * minute, backgroundFailed(1000), "WaitFor 1000"],
    [55 * minute + 1 * second, { _tag: "RetryDue" }, "RenewInBackground"],
    [55 * minute + 1 * second, backgroundFailed(2000), "WaitFor 2000"],
    [55 * minute + 3 * second, backgroundFailed(4000), "WaitFor 4000"],
    [55 * minute + 7 * second, backgroundFailed(8000), "WaitFor 8000"],
    [55 * minute + 15 * second, backgroundFailed(16000), "WaitFor 16000"],
    [55 * minute + 31 * second, backgroundFailed(30000), "WaitFor 30000"],
    [56 * minute + 1 * second, backgroundFailed(30000), "WaitFor 30000"],
    [56 * minute + 31 * second, { _tag: "RetryDue" }, "RenewInBackground"]
  )

  rows(
    "is not retried past the token's end",
    ...first,
    [55 * minute, { _tag: "RenewalDue" }, "RenewInBackground"],
    [55 * minute, backgroundFailed(1000), "WaitFor 1000"],
    [hour, { _tag: "RetryDue" }, "nothing"]
  )

  rows(
    "is not retried for a token that was replaced",
    ...first,
    [55 * minute, { _tag: "RenewalDue" }, "RenewInBackground"],
    [55 * minute, backgroundFailed(1000), "WaitFor 1000"],
    [55 * minute + 500, wanted, "Renew 1"],
    [55 * minute + 600, { _tag: "Renewed", life: life(2, 55 * minute + 500) }, "Answer 2"],
    [55 * minute + second, { _tag: "RetryDue" }, "nothing"]
  )
})

describe("rule 4: renew first", () => {
  for (const code of [StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.NOT_FOUND]) {
    rows(
      `and authenticate if the answer is code ${code}`,
      ...first,
      [56 * minute, wanted, "Renew 1"],
      [56 * minute, renewalFailed(code), "ReadCredentials"],
      [56 * minute, read(right), "Authenticate right"]
    )
  }

  for (const code of [StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED]) {
    rows(
      `and never authenticate because of code ${code}: the next acquisition renews again`,
      ...first,
      [56 * minute, wanted, "Renew 1"],
      [56 * minute, renewalFailed(code), "FailWith AioRpcError"],
      [56 * minute + second, wanted, "Renew 1"]
    )
  }

  rows(
    "and authenticate if the token has ended meanwhile",
    ...first,
    [hour - second, wanted, "Renew 1"],
    [hour + second, renewalFailed(StatusCode.DEADLINE_EXCEEDED), "ReadCredentials"],
    [hour + second, read(right), "Authenticate right"]
  )

  it("a renewal has 30 seconds, but not beyond its token: 5 seconds, and none once one has failed", () => {
    const millisAt = (at: number, ...steps: ReadonlyArray<Row>) => {
      const [, action] = TokenAcquirer.step(run([...first, ...steps]), wanted, at)
      return action?._tag === "Renew" && action.millis
    }
    assert.strictEqual(millisAt(56 * minute), 30 * second)
    assert.strictEqual(millisAt(hour - second), 6 * second)
    const failure: ReadonlyArray<Row> = [
      [56 * minute, wanted, "Renew 1"],
      [56 * minute, renewalFailed(StatusCode.UNAVAILABLE), "FailWith AioRpcError"]
    ]
    assert.strictEqual(millisAt(hour - second, ...failure), second)
  })

  rows(
    "unless no token is alive",
    ...first,
    [hour, wanted, "ReadCredentials"],
    [hour, read(right), "Authenticate right"]
  )
})

describe("rule 5: rejected credentials", () => {
  const reject = (at: number): ReadonlyArray<Row> => [
    [at, wanted, "ReadCredentials"],
    [at, read(wrong), "Authenticate wrong"],
    [at, failed("Rejected", rejected, wrong), "FailWith AioCredentialsRejected"]
  ]
  const isRemembered = (at: number): ReadonlyArray<Row> => [
    [at, wanted, "ReadCredentials"],
    [at, read(credentials("wrong")), "FailWith AioCredentialsRejected"]
  ]

  rows(
    "are remembered for 30 seconds, doubling to 5 minutes",
    ...[0, 30, 90, 210, 450, 750, 1_050].flatMap((at) => [
      ...(at === 0 ? [] : isRemembered(at * second - 1)),
      ...reject(at * second)
    ])
  )

  rows(
    "are tried at once when they have changed, and are remembered anew",
    ...reject(0),
    ...reject(30 * second),
    [31 * second, wanted, "ReadCredentials"],
    [31 * second, read(right), "ReadCredentials"],
    [31 * second, read(right), "Authenticate right"],
    [31 * second, failed("Rejected", rejected, right), "FailWith AioCredentialsRejected"],
    [61 * second, wanted, "ReadCredentials"],
    [61 * second, read(right), "Authenticate right"]
  )

  rows(
    "are not tried when they are back by the time of the second reading",
    ...reject(0),
    [10 * second, wanted, "ReadCredentials"],
    [10 * second, read(right), "ReadCredentials"],
    [10 * second, read(wrong), "FailWith AioCredentialsRejected"]
  )

  rows(
    "keep a token that is alive from being renewed, too: the client may be disabled",
    ...first,
    [56 * minute, wanted, "Renew 1"],
    [56 * minute, renewalFailed(StatusCode.PERMISSION_DENIED), "ReadCredentials"],
    [56 * minute, read(wrong), "Authenticate wrong"],
    [56 * minute, failed("Rejected", rejected, wrong), "FailWith AioCredentialsRejected"],
    ...isRemembered(56 * minute + 29 * second),
    [56 * minute + 30 * second, wanted, "Renew 1"]
  )

  rows(
    "that cannot be read fail, and are read again the next time",
    [0, wanted, "ReadCredentials"],
    [0, { _tag: "CredentialsUnread", error: unreadable }, "FailWith AioConfigError"],
    [second, wanted, "ReadCredentials"]
  )
})

describe("rule 6: one acquisition at a time", () => {
  rows("another one does not begin meanwhile", [0, wanted, "ReadCredentials"], [0, wanted, "nothing"])
  rows(
    "one that died makes room for the next, and its late answer changes nothing",
    [0, wanted, "ReadCredentials"],
    [0, { _tag: "Broken" }, "nothing"],
    [0, read(right), "nothing"],
    [second, wanted, "ReadCredentials"]
  )
})

describe("rule 8: refused tokens", () => {
  rows("are dropped", ...first, [5_000, refused(1), "nothing"], [5_000, wanted, "ReadCredentials"])

  rows(
    "that were replaced leave the newer one alone",
    ...first,
    [56 * minute, wanted, "Renew 1"],
    [56 * minute, { _tag: "Renewed", life: life(2, 56 * minute) }, "Answer 2"],
    [56 * minute, refused(1), "nothing"],
    [57 * minute, wanted, "Renew 2"]
  )

  /** A token that is refused as soon as it is there, for the n-th time. */
  const cycle = (generation: number, from: number): ReadonlyArray<Row> => [
    [from, read(right), "Authenticate right"],
    [from, authenticated(generation, from), `Answer ${generation}`],
    [from, refused(generation), "nothing"]
  ]

  rows(
    "slow acquisitions down: 1, 2, 4 … 60 seconds, until one is accepted",
    ...first,
    [5_000, refused(1), "nothing"],
    [5_000, wanted, "ReadCredentials"],
    ...cycle(2, 5_000),
    [5_000, wanted, "WaitFor 1000"],
    [6_000, { _tag: "PauseOver" }, "ReadCredentials"],
    ...cycle(3, 6_000),
    [6_000, wanted, "WaitFor 2000"],
    [8_000, { _tag: "PauseOver" }, "ReadCredentials"],
    ...cycle(4, 8_000),
    [9_000, wanted, "WaitFor 3000"],
    [12_000, { _tag: "PauseOver" }, "ReadCredentials"],
    [12_000, read(right), "Authenticate right"],
    [12_000, authenticated(5, 12_000), "Answer 5"],
    [12_000, accepted(5), "nothing"],
    [12_000, refused(5), "nothing"],
    [12_000, wanted, "ReadCredentials"]
  )

  rows(
    "are no reason for a pause when the refusal comes while another token is being acquired anyway",
    ...first,
    [hour + second, wanted, "ReadCredentials"],
    [hour + second, read(right), "Authenticate right"],
    [hour + second, refused(1), "nothing"],
    [hour + second, authenticated(2, hour + second), "Answer 2"],
    [hour + second + 500, refused(2), "nothing"],
    [hour + second + 500, wanted, "ReadCredentials"]
  )

  rows(
    "of another Auth change nothing",
    ...first,
    [5_000, refused(99), "nothing"],
    [56 * minute, wanted, "Renew 1"],
    [56 * minute, { _tag: "Renewed", life: life(2, 56 * minute) }, "Answer 2"],
    [56 * minute, refused(2), "nothing"],
    [57 * minute, wanted, "ReadCredentials"],
    [57 * minute, read(right), "Authenticate right"],
    [57 * minute, authenticated(3, 57 * minute), "Answer 3"],
    [57 * minute, accepted(3), "nothing"],
    [57 * minute, refused(3), "nothing"],
    [58 * minute, wanted, "ReadCredentials"]
  )

  rows(
    "are not accepted by a late answer to a token that was refused elsewhere",
    ...first,
    [5_000, refused(1), "nothing"],
    [5_000, wanted, "ReadCredentials"],
    ...cycle(2, 5_000),
    [5_000, accepted(1), "nothing"],
    [5_000, accepted(2), "nothing"],
    [5_000, wanted, "WaitFor 1000"]
  )

  rows(
    "and a server that cannot issue any is asked after 1, 2, 4 … 60 seconds; callers fail at once meanwhile",
    ...[0, 1, 3, 7, 15, 31, 63, 123, 183].flatMap(
      (at): ReadonlyArray<Row> => [
        ...(at === 0 ? [] : [[at * second - 1, wanted, "FailWith AioRpcError"] as const]),
        [at * second, wanted, "ReadCredentials"],
        [at * second, read(right), "Authenticate right"],
        [at * second, failed("Burdened"), "FailWith AioRpcError"]
      ]
    )
  )

  rows(
    "and one that is too busy for an answer after 1, 2, 4 … 300 seconds",
    ...[0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1_111].flatMap(
      (at): ReadonlyArray<Row> => [
        ...(at === 0 ? [] : [[at * second - 1, wanted, "FailWith AioRpcError"] as const]),
        [at * second, wanted, "ReadCredentials"],
        [at * second, read(right), "Authenticate right"],
        [at * second, failed("TimedOut"), "FailWith AioRpcError"]
      ]
    )
  )

  rows(
    "a late answer to one that timed out is a token like any other, and ends neither the pause nor what is under way",
    [0, wanted, "ReadCredentials"],
    [0, read(right), "Authenticate right"],
    [30 * second, failed("TimedOut"), "FailWith AioRpcError"],
    [31 * second, wanted, "ReadCredentials"],
    [31 * second, read(right), "Authenticate right"],
    [40 * second, late(1), "nothing"],
    [40 * second, late(2), "nothing"],
    [61 * second, failed("TimedOut"), "FailWith AioRpcError"],
    [62 * second, wanted, "Renew 1"]
  )

  rows(
    "but a server that cannot be reached costs nothing, and may be asked each second",
    ...[0, 1, 2, 3].flatMap(
      (at): ReadonlyArray<Row> => [
        [at * second, wanted, "ReadCredentials"],
        [at * second, read(right), "Authenticate right"],
        [at * second, failed("Harmless"), "FailWith AioRpcError"]
      ]
    )
  )
})

describe("the pause", () => {
  const struck = (times: number, random: number): number => {
    let state = TokenAcquirer.make(policy)
    for (let i = 0; i < times; i++) {
      for (const event of [wanted, read(right), { ...failed("Burdened"), random }]) {
        state = TokenAcquirer.step(state, event, state.notBefore === Number.NEGATIVE_INFINITY ? 0 : state.notBefore)[0]
      }
    }
    return state.notBefore
  }

  it.each([
    [1, 1_000],
    [2, 2_000],
    [3, 4_000],
    [6, 32_000],
    [7, 60_000],
    [8, 60_000],
    [5_000, 60_000]
  ])("is after %d failures %d ms at most", (times, most) => {
    assert.strictEqual(struck(times, 1) - struck(times - 1, 1), times === 1 ? Number.POSITIVE_INFINITY : most)
  })

  it("is a second at least", () => {
    for (const times of [1, 2, 5, 100]) assert.strictEqual(struck(times, 0), times * second)
  })
})

describe("whatever happens, in whatever order", () => {
  /** Does what the machine asks for, in the way of the shell; answers come when the world says so, and as it says. */
  const makeWorld = () => {
    let state = TokenAcquirer.make(policy)
    let now = 0
    let generation = 0
    let secret = "right"
    let pending: TokenAcquirer.Action | undefined
    let dueAt = 0
    const begun: Array<number> = []

    const perform = (action: TokenAcquirer.Action | undefined, from: TokenAcquirer.Event): void => {
      if (action === undefined || action._tag === "RenewInBackground" || from._tag === "BackgroundFailed") return
      assert.isUndefined(pending, `${action._tag} while ${pending?._tag} is under way`)
      if (action._tag === "Authenticate") {
        const { rejection } = state
        const of = Redacted.value(action.credentials.clientSecret)
        const isKnown = rejection !== undefined && Redacted.value(rejection.of.clientSecret) === of
        assert.isFalse(isKnown && now < rejection.until, "rejected credentials were retried")
        assert.isAtLeast(now, state.notBefore)
      }
      if (action._tag === "Answer") assert.isAbove(action.token.generation, state.refused)
      if (action._tag === "Answer" || action._tag === "FailWith") return
      pending = action
      dueAt = action._tag === "WaitFor" ? now + action.millis : now
    }

    const step = (event: TokenAcquirer.Event): void => {
      const former = state
      const [next, action] = TokenAcquirer.step(state, event, now)
      state = next
      if (event._tag !== "Accepted") {
        assert.isAtLeast(next.strikes, former.strikes)
        assert.isAtLeast(next.notBefore, former.notBefore)
      }
      perform(action, event)
    }

    const answers = (choice: number, random: number): TokenAcquirer.Event => {
      const kinds = ["Rejected", "Burdened", "TimedOut", "Harmless"] as const
      switch (pending?._tag) {
        case "ReadCredentials":
          return choice === 0 ? { _tag: "CredentialsUnread", error: unreadable } : read(credentials(secret))
        case "Renew":
          if (choice > 1) return { _tag: "Renewed", life: life(++generation, now) }
          return renewalFailed(choice === 0 ? StatusCode.UNAUTHENTICATED : StatusCode.UNAVAILABLE)
        case "Authenticate": {
          const kind = kinds[choice]
          if (kind === undefined) return authenticated(++generation, now, random)
          const error = kind === "Rejected" ? rejected : unavailable
          return { _tag: "AuthenticationFailed", kind, of: pending.credentials, error, random }
        }
        default:
          return { _tag: "PauseOver" }
      }
    }

    const eventsOf = ({ choice, random, what }: Happening): ReadonlyArray<TokenAcquirer.Event> => {
      switch (what) {
        case "wanted": {
          if (pending !== undefined) return [wanted]
          const wait = TokenAcquirer.pace(state, now)
          if (wait === undefined) return []
          now += wait
          // An authentication after a renewal that failed; not after that.
          const mayBegin = state.hasFailed && state.hasOnlyRenewed && TokenAcquirer.alive(state, now) === undefined
          const last = mayBegin ? begun.at(-2) : begun.at(-1)
          assert.isAtLeast(now - (last ?? Number.NEGATIVE_INFINITY), TokenAcquirer.INTERVAL_MILLIS)
          begun.push(now)
          return [wanted]
        }
        case "answered": {
          if (pending === undefined) return []
          now = Math.max(now, dueAt)
          const answer = answers(choice, random)
          pending = undefined
          return [answer]
        }
        case "broken":
          pending = undefined
          return [{ _tag: "Broken" }]
        case "secret changed":
          secret = String(choice)
          return []
        case "refused":
          return [refused(Math.max(0, generation - choice))]
        case "accepted":
          return [accepted(Math.max(0, generation - choice))]
        case "late":
          return [late(++generation)]
        case "background":
          return [
            { _tag: "RenewalDue" },
            { _tag: "BackgroundFailed", retryInMillis: 30_000 * random },
            { _tag: choice === 0 ? "BackgroundEnded" : "RetryDue" }
          ]
      }
    }

    const happen = (one: Happening): void => {
      now += one.millis
      for (const event of eventsOf(one)) step(event)
    }
    return { happen, phase: () => state.phase, isPending: () => pending !== undefined }
  }

  const happening = FastCheck.record({
    what: FastCheck.constantFrom(
      ...(["wanted", "wanted", "answered", "answered", "answered", "broken", "secret changed"] as const),
      ...(["refused", "accepted", "late", "background"] as const)
    ),
    millis: FastCheck.oneof(FastCheck.constantFrom(0, 1, 500, 1_000), FastCheck.integer({ min: 0, max: 2 * hour })),
    choice: FastCheck.integer({ min: 0, max: 5 }),
    random: FastCheck.double({ min: 0, max: 1, noNaN: true })
  })
  type Happening = typeof happening extends FastCheck.Arbitrary<infer A> ? A : never

  it("never two at once nor more than one a second, the pause grows until a token is accepted, rejected credentials wait", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.array(happening, { maxLength: 60 }), (happenings) => {
        const world = makeWorld()
        for (const one of happenings) {
          world.happen(one)
          // A phase that waits for nothing would never end.
          assert.strictEqual(world.phase() !== "Idle", world.isPending())
        }
      }),
      { numRuns: 1_000 }
    )
  })

  it("an event that no phase waits for changes nothing, and no rpc is asked for while one is under way", () => {
    const any: FastCheck.Arbitrary<TokenAcquirer.Event> = FastCheck.constantFrom(
      wanted,
      read(right),
      read(wrong),
      { _tag: "CredentialsUnread", error: unreadable },
      { _tag: "Renewed", life: life(2, 0) },
      renewalFailed(StatusCode.UNAUTHENTICATED),
      renewalFailed(StatusCode.UNAVAILABLE),
      { _tag: "PauseOver" },
      authenticated(3, 0),
      failed("Rejected", rejected, wrong),
      failed("Burdened"),
      failed("TimedOut"),
      failed("Harmless"),
      late(4),
      refused(1),
      accepted(3)
    )
    const rpcs = { Renew: ["Renewed", "RenewalFailed"], Authenticate: ["Authenticated", "AuthenticationFailed"] }
    FastCheck.assert(
      FastCheck.property(FastCheck.array(any, { maxLength: 40 }), (events) => {
        let state = TokenAcquirer.make(policy)
        let ends: ReadonlyArray<string> | undefined
        for (const event of events) {
          const [next, action] = TokenAcquirer.step(state, event, 0)
          if (ends?.includes(event._tag) === true) ends = undefined
          if (action?._tag === "Renew" || action?._tag === "Authenticate") {
            assert.isUndefined(ends)
            ends = rpcs[action._tag]
          }
          if (action === undefined && !["Refused", "Accepted", "AuthenticatedLate"].includes(event._tag)) {
            assert.strictEqual(next, state)
          }
          state = next
        }
      }),
      { numRuns: 1_000 }
    )
  })
})
