import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as RefreshLoop from "../../../src/core/view/RefreshLoop.js"
import * as ServiceView from "../../../src/core/view/ServiceView.js"
import * as View from "../../../src/core/view/View.js"
import * as ViewTuning from "../../../src/schemas/ViewTuning.js"
import { aService } from "../../support/scriptedRegistry.js"

const second = 1_000
const minute = 60 * second
const settings = { ...ViewTuning.standard, refreshIntervalMillis: 30 * second }
const empty = View.empty("shop", "test")

/** A view of these services, listed at that time. */
const listed = (at: number, ...names: ReadonlyArray<string>): View.View =>
  View.merge(
    empty,
    names.map((name) => aService(name, ["a"])),
    at
  )[0]

const inUse = (...names: ReadonlyArray<string>) => new Map(names.map((name) => [name, undefined]))

const due = (view: View.View, uses = inUse(), usedAt = 0): RefreshLoop.Event => ({
  _tag: "Due",
  view,
  inUse: uses,
  usedAt
})
const wants = (view: View.View, name: string, isPatient = false): RefreshLoop.Event => ({
  _tag: "NewsWanted",
  view,
  name,
  isPatient
})
const fetched: RefreshLoop.Event = { _tag: "Fetched", random: 0.5 }
const failed = (retryInMillis = second): RefreshLoop.Event => ({ _tag: "FetchFailed", retryInMillis })
const outdated: RefreshLoop.Event = { _tag: "Outdated" }

const describeAction = (action: RefreshLoop.Action | undefined): string => {
  switch (action?._tag) {
    case undefined:
      return "nothing"
    case "Fetch":
      return `fetch ${action.plan === "List" ? "the list" : Array.from(action.plan.keys()).join(", ")}`
    case "WaitFor":
      return `wait ${action.millis / second} s`
    case "Drop":
      return "drop"
    case "AnswerBy":
      return `answer by the ${action.fetch.toLowerCase()} fetch`
  }
}

type Row = readonly [at: number, event: RefreshLoop.Event, expected: string]

/** Plays rows against a machine, and compares what each asks for. Gives the state at the end. */
const play = (...rows: ReadonlyArray<Row>): RefreshLoop.RefreshLoop => playFrom(RefreshLoop.make(settings), ...rows)
const playFrom = (start: RefreshLoop.RefreshLoop, ...rows: ReadonlyArray<Row>): RefreshLoop.RefreshLoop => {
  let state = start
  const seen = rows.map(([at, event]) => {
    const [next, action] = RefreshLoop.step(state, event, at)
    state = next
    return [at, event, describeAction(action)] as const
  })
  assert.deepStrictEqual(
    seen.map(([at, { _tag }, action]) => `${at} ${_tag}: ${action}`),
    rows.map(([at, { _tag }, action]) => `${at} ${_tag}: ${action}`)
  )
  return state
}

const orders = listed(0, "orders")
/** Listed at 0 within no time, `orders` in use; due again at 30 s. */
const resting = playFrom(
  RefreshLoop.step(RefreshLoop.make(settings), wants(empty, "orders"), 0)[0],
  [0, due(empty), "fetch the list"],
  [0, fetched, "nothing"]
)
const use = inUse("orders")

describe("RefreshLoop: when a project is fetched", () => {
  it("asks nothing of the registry before a caller asks", () => {
    play([0, due(empty), "wait 60 s"])
  })

  it("fetches at once for the first caller, and once for all that come meanwhile", () => {
    play(
      [0, wants(empty, "orders"), "answer by the next fetch"],
      [0, wants(empty, "payments"), "answer by the next fetch"],
      [0, due(empty), "fetch the list"],
      [500, wants(empty, "orders"), "answer by the current fetch"],
      [500, due(empty), "nothing"],
      [600, fetched, "nothing"]
    )
  })

  it.each([
    [0, 27],
    [0.5, 30],
    [1, 33]
  ])("fetches again after the interval times U[0.9, 1.1], unasked: random %d, after %d s", (random, seconds) => {
    playFrom(
      RefreshLoop.make(settings),
      [0, wants(empty, "orders"), "answer by the next fetch"],
      [0, due(empty), "fetch the list"],
      [0, { _tag: "Fetched", random }, "nothing"],
      [0, due(orders, use), `wait ${seconds} s`],
      [seconds * second, due(orders, use, 20_000), "fetch orders"]
    )
  })

  it("waits after a failure as long as the event says, and knows of none after a success", () => {
    const state = playFrom(
      resting,
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_000, failed(4_000), "nothing"],
      [30_000, due(orders, use, 20_000), "wait 4 s"],
      [34_000, due(orders, use, 20_000), "fetch orders"],
      [34_000, fetched, "nothing"]
    )
    assert.strictEqual(state.failures, 0)
  })

  it("keeps a second between the beginnings of two fetches, whatever happens", () => {
    playFrom(
      resting,
      [100, outdated, "nothing"],
      [100, wants(orders, "payments"), "answer by the last fetch"],
      [100, due(orders, use), "wait 0.9 s"],
      [1_000, due(orders, use), "fetch orders"]
    )
  })

  it("is brought forward by a failed connection, but not while fetches fail", () => {
    playFrom(resting, [5_000, outdated, "nothing"], [5_000, due(orders, use), "fetch orders"])
    playFrom(
      resting,
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_000, failed(16_000), "nothing"],
      [32_000, outdated, "nothing"],
      [32_000, due(orders, use, 20_000), "wait 14 s"]
    )
  })

  it("follows a fetch at once by another when evidence came during the first, but not after a failure", () => {
    const during = playFrom(resting, [30_000, due(orders, use, 20_000), "fetch orders"], [31_000, outdated, "nothing"])
    playFrom(during, [31_500, fetched, "nothing"], [31_500, due(orders, use, 31_000), "fetch orders"])
    playFrom(during, [31_500, failed(), "nothing"], [31_500, due(orders, use, 31_000), "wait 1 s"])
  })

  it("is stale once the last fetch failed or the next one is overdue, its own time included", () => {
    const quick = { ...resting, tookMillis: 5 }
    assert.deepStrictEqual(
      [34_000, 34_001].map((age) => RefreshLoop.isStale(quick, age)),
      [false, true]
    )
    const slow = { ...resting, tookMillis: 5_000 }
    assert.deepStrictEqual(
      [38_000, 38_001].map((age) => RefreshLoop.isStale(slow, age)),
      [false, true]
    )
    assert.isTrue(RefreshLoop.isStale({ ...resting, failures: 1 }, 0))
  })
})

describe("RefreshLoop: what is asked", () => {
  const five = ["a", "b", "c", "d", "e"] as const
  const known = listed(0, ...five)
  const at30 = (view: View.View, ...names: ReadonlyArray<string>): Row["1"] => due(view, inUse(...names), 20_000)

  it("asks for up to four services by their ids, and lists the project for more", () => {
    playFrom(resting, [30_000, at30(known, "a", "b", "c", "d"), "fetch a, b, c, d"])
    playFrom(resting, [30_000, at30(known, ...five), "fetch the list"])
  })

  it("lists the project when a name in use has left the view, or an id led nowhere", () => {
    playFrom(resting, [30_000, at30(known, "a", "gone"), "fetch the list"])
    playFrom(
      resting,
      [30_000, at30(known, "a"), "fetch a"],
      [30_000, { _tag: "ListWanted" }, "nothing"],
      [30_000, fetched, "nothing"],
      [31_000, at30(known, "a"), "fetch the list"]
    )
  })

  it("lists the project every 5 minutes, after a list that failed too", () => {
    const late = 5 * minute
    playFrom(
      { ...resting, dueAt: late },
      [late, due(known, inUse("a"), late), "fetch the list"],
      [late, failed(), "nothing"],
      [late + second, due(known, inUse("a"), late), "fetch a"]
    )
  })

  it("asks for nothing but the list where no service is in use, every 5 minutes", () => {
    playFrom(resting, [30_000, due(orders, inUse(), 20_000), "wait 270 s"])
  })

  it("never asks for a static service", () => {
    const withStatic = View.add(known, [ServiceView.fixed(aService("laptop", ["x"]), 0)])
    playFrom(resting, [30_000, at30(withStatic, "laptop", "a"), "fetch a"])
    playFrom(resting, [30_000, at30(withStatic, "laptop"), "wait 270 s"])
  })
})

describe("RefreshLoop: what a caller waits for", () => {
  it("has the last answer when it is less than a second old, and the next one otherwise", () => {
    playFrom(
      resting,
      [999, wants(orders, "payments"), "answer by the last fetch"],
      [1_000, wants(orders, "payments"), "answer by the next fetch"],
      [1_000, due(orders, use), "fetch the list"]
    )
  })

  it("waits for the next fetch when the one under way does not tell of its service", () => {
    playFrom(
      resting,
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_000, wants(orders, "payments"), "answer by the next fetch"],
      [30_000, wants(orders, "orders"), "answer by the current fetch"],
      [30_100, fetched, "nothing"],
      [30_100, due(orders, use, 30_000), "wait 0.9 s"],
      [31_000, due(orders, use, 30_000), "fetch the list"]
    )
  })

  it("does not wait for a slow fetch if the view can answer: another follows", () => {
    playFrom(
      resting,
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_999, wants(orders, "payments"), "answer by the next fetch"],
      [31_000, wants(orders, "payments"), "answer by the last fetch"],
      [31_000, wants(orders, "orders"), "answer by the last fetch"],
      [32_000, fetched, "nothing"],
      [32_000, due(orders, use, 31_000), "fetch the list"]
    )
  })

  it("does not wait while fetches fail if the view can answer: the backoff decides", () => {
    playFrom(
      resting,
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_000, failed(16_000), "nothing"],
      [35_000, wants(orders, "payments"), "answer by the last fetch"],
      [35_000, due(orders, use, 35_000), "wait 11 s"]
    )
  })

  it("waits in any case when it is patient, or when nothing is known: once a second, against the backoff", () => {
    const failing: ReadonlyArray<Row> = [
      [30_000, due(orders, use, 20_000), "fetch orders"],
      [30_000, failed(16_000), "nothing"]
    ]
    playFrom(
      resting,
      ...failing,
      [30_500, wants(orders, "orders", true), "answer by the last fetch"],
      [31_000, wants(orders, "orders", true), "answer by the next fetch"],
      [31_000, due(orders, use, 31_000), "fetch orders"],
      [40_000, wants(orders, "orders", true), "answer by the current fetch"]
    )
    play(
      [0, wants(empty, "orders"), "answer by the next fetch"],
      [0, due(empty), "fetch the list"],
      [100, failed(), "nothing"],
      [500, wants(empty, "orders"), "answer by the last fetch"],
      [1_000, wants(empty, "orders"), "answer by the next fetch"],
      [1_000, due(empty), "fetch the list"]
    )
  })

  it("marks a known service as in use, and wants a list for an unknown one", () => {
    const [after, action] = RefreshLoop.step(resting, wants(orders, "orders"), 5_000)
    assert.deepStrictEqual(action, { _tag: "AnswerBy", fetch: "Next", isNoted: true })
    assert.isFalse(after.isListWanted)
    const [unknown, other] = RefreshLoop.step(resting, wants(orders, "payments"), 5_000)
    assert.deepStrictEqual(other, { _tag: "AnswerBy", fetch: "Next", isNoted: false })
    assert.isTrue(unknown.isListWanted)
  })
})

describe("RefreshLoop: when a view is dropped", () => {
  it("drops a view after 15 minutes without a caller, and one that never had a service after one", () => {
    playFrom(
      resting,
      [14 * minute + 59 * second, due(listed(14 * minute, "orders"), inUse(), 0), "wait 1 s"],
      [15 * minute, due(listed(14 * minute, "orders"), inUse(), 0), "drop"]
    )
    play([59 * second, due(empty), "wait 1 s"], [minute, due(empty), "drop"])
  })

  it("keeps a view that had services and has none, and fetches it on", () => {
    const [gone] = View.merge(orders, [], 40 * minute, { limits: { maxHoldMillis: 0 } })
    assert.strictEqual(gone.services.size, 0)
    playFrom(resting, [40 * minute, due(gone, use, 40 * minute), "fetch the list"])
  })

  it("is not dropped while a caller waits", () => {
    playFrom(
      { ...resting, startedAt: 20 * minute },
      [20 * minute, wants(orders, "payments", true), "answer by the last fetch"],
      [20 * minute + second, wants(orders, "payments", true), "answer by the next fetch"],
      [20 * minute + second, due(orders, inUse(), 0), "fetch the list"]
    )
  })
})

describe("RefreshLoop: under any order of events", () => {
  type Move =
    | { readonly move: "want"; readonly name: string; readonly isPatient: boolean }
    | { readonly move: "outdated" | "listWanted" | "tick" }
    | { readonly move: "end"; readonly isSuccess: boolean; readonly random: number }
  const moves = FastCheck.array(
    FastCheck.tuple(
      FastCheck.integer({ min: 0, max: 40_000 }),
      FastCheck.oneof(
        FastCheck.record({
          move: FastCheck.constant("want" as const),
          name: FastCheck.constantFrom("a", "b", "c", "d", "e", "unknown"),
          isPatient: FastCheck.boolean()
        }),
        FastCheck.record({ move: FastCheck.constantFrom("outdated" as const, "listWanted" as const, "tick" as const) }),
        FastCheck.record({
          move: FastCheck.constant("end" as const),
          isSuccess: FastCheck.boolean(),
          random: FastCheck.double({ min: 0, max: 1, noNaN: true })
        })
      )
    ),
    { maxLength: 60 }
  )

  /** A shell without fibers: performs what the machine asks for, and keeps the waiting callers. */
  const makeShell = () => {
    let state = RefreshLoop.make(settings)
    let view = empty
    let now = 0
    let wakeAt = 0
    let usedAt = 0
    let isDropped = false
    const uses = new Map<string, undefined>()
    const begun: Array<number> = []
    let current = 0
    let next = 0
    const step = (event: RefreshLoop.Event) => {
      const [after, action] = RefreshLoop.step(state, event, now)
      state = after
      return action
    }
    const look = (): void => {
      if (state.fetching !== undefined || isDropped) return
      const action = step({ _tag: "Due", view, inUse: uses, usedAt })
      if (action?._tag === "WaitFor") {
        assert.isAbove(action.millis, 0)
        wakeAt = now + action.millis
      } else if (action?._tag === "Fetch") {
        begun.push(now)
        current = next
        next = 0
      } else {
        assert.strictEqual(action?._tag, "Drop")
        isDropped = true
      }
    }
    const end = (isSuccess: boolean, random: number): void => {
      const { fetching } = state
      if (fetching === undefined) return
      if (isSuccess && fetching === "List") view = listed(now, "a", "b", "c", "d", "e")
      step(isSuccess ? { _tag: "Fetched", random } : { _tag: "FetchFailed", retryInMillis: 60_000 * random })
      current = 0
      look()
    }
    const passTo = (at: number): void => {
      while (!isDropped && state.fetching === undefined && wakeAt <= at) {
        now = Math.max(now, wakeAt)
        look()
      }
      now = at
    }
    look()
    return {
      begun,
      waiting: () => current + next,
      isDropped: () => isDropped,
      play: (millis: number, move: Move): void => {
        passTo(now + millis)
        if (isDropped) return
        if (move.move === "end") end(move.isSuccess, move.random)
        if (move.move === "want") {
          usedAt = now
          const action = step({ _tag: "NewsWanted", view, name: move.name, isPatient: move.isPatient })
          if (action?._tag !== "AnswerBy") throw new Error(describeAction(action))
          if (action.isNoted) uses.set(move.name, undefined)
          if (action.fetch === "Next") next++
          if (action.fetch === "Current") {
            assert.isDefined(state.fetching)
            current++
          }
        }
        if (move.move === "outdated") step({ _tag: "Outdated" })
        if (move.move === "listWanted") step({ _tag: "ListWanted" })
        look()
      },
      /** Each fetch ends within a second from now on. */
      settle: (): void => {
        for (let i = 0; i < 4 && current + next > 0; i++) {
          passTo(now + second)
          end(i % 2 === 0, 1)
        }
      }
    }
  }

  it("begins no two fetches within a second, and none while one is under way", () => {
    FastCheck.assert(
      FastCheck.property(moves, (all) => {
        const shell = makeShell()
        for (const [millis, move] of all) shell.play(millis, move)
        for (const [i, at] of shell.begun.entries()) {
          if (i > 0) assert.isAtLeast(at - (shell.begun[i - 1] ?? 0), second)
        }
      })
    )
    const [fetching] = RefreshLoop.step(
      RefreshLoop.step(RefreshLoop.make(settings), wants(empty, "a"), 0)[0],
      due(empty),
      0
    )
    assert.deepStrictEqual(RefreshLoop.step(fetching, due(empty), 90_000), [fetching, undefined])
  })

  it("answers every caller once fetches end, and drops no view while a caller waits", () => {
    FastCheck.assert(
      FastCheck.property(moves, (all) => {
        const shell = makeShell()
        for (const [millis, move] of all) {
          shell.play(millis, move)
          if (shell.isDropped()) assert.strictEqual(shell.waiting(), 0)
        }
        shell.settle()
        assert.strictEqual(shell.waiting(), 0)
      })
    )
  })

  it("ignores the end of a fetch that is not under way", () => {
    for (const event of [fetched, failed()]) {
      assert.deepStrictEqual(RefreshLoop.step(resting, event, 10_000), [resting, undefined])
    }
  })
})
