import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import { Either } from "effect"
import { isSent, type Reason } from "../../../src/grpc/client/ManagedChannel.js"
import * as ReplacingChannel from "../../../src/grpc/client/ReplacingChannel.js"
import * as SecondReplica from "../../../src/grpc/client/SecondReplica.js"
import * as WatchedChannel from "../../../src/grpc/client/WatchedChannel.js"
import * as Transport from "../../../src/schemas/Transport.js"
import * as Clocks from "../../support/clocks.js"

const { CONNECTING, IDLE, READY, SHUTDOWN, TRANSIENT_FAILURE } = grpc.connectivityState

interface Net {
  isUp: boolean
  /** The first attempt was refused: grpc-js shows that until there is a connection, also while a later one hangs. */
  hasRefused?: boolean
}

/** Connects at once, or never, and tells what became of it. */
class FakeChannel implements grpc.ChannelInterface {
  state = IDLE
  readonly openedAt = Date.now()
  constructor(private readonly net: Net) {}
  close() {
    this.state = SHUTDOWN
  }
  getTarget() {
    return "dns:registry:1"
  }
  getConnectivityState(isAsked: boolean) {
    if (isAsked && this.state === IDLE) this.state = CONNECTING
    if (this.state === CONNECTING && this.net.hasRefused) this.state = TRANSIENT_FAILURE
    if (this.state === CONNECTING && this.net.isUp) this.state = READY
    return this.state
  }
  watchConnectivityState(_: grpc.connectivityState, deadline: Date | number, callback: () => void) {
    setTimeout(callback, Math.min(100, Number(deadline) - Date.now()))
  }
  getChannelzRef(): never {
    throw new Error("not asked for")
  }
  createCall(): never {
    throw new Error("not asked for")
  }
}

/** Changes when it is told, and says so at once, as grpc-js does. */
class ToldChannel extends FakeChannel {
  private watches: Array<() => void> = []
  override watchConnectivityState(_: grpc.connectivityState, __: Date | number, callback: () => void) {
    this.watches.push(callback)
  }
  become(state: grpc.connectivityState) {
    this.state = state
    for (const changed of this.watches.splice(0)) changed()
  }
}

/** Moved by the timers of vitest. */
const clock = Clocks.make({ ...Clocks.real(), nanos: () => BigInt(Date.now()) * 1_000_000n })

/** What callbacks threw: they are guarded, so that throwing it again would fail no test. */
const thrown: Array<unknown> = []
const threw = (cause: unknown) => void thrown.push(cause)

const address = { host: "registry", port: 1, isLoopback: false }

const world = (net: Net = { isUp: true }, tuning: Transport.Transport = {}) => {
  const channels: Array<FakeChannel> = []
  const replaced: Array<Reason> = []
  const options = Either.getOrThrow(Transport.check(tuning))
  const open = () => {
    const channel = new FakeChannel(net)
    channels.push(channel)
    return channel
  }
  const credentials = grpc.credentials.createInsecure()
  const managed = new ReplacingChannel.ReplacingChannel(address, open, credentials, options, clock, {
    threw,
    replaced: (reason) => void replaced.push(reason),
    kept: () => {}
  })
  managed.dial()
  /** Is sent, and ended by the app after so long if nothing came. */
  const swallowed = (millis: number) => {
    const call = managed.begin(true)
    vi.advanceTimersByTime(millis)
    managed.ended(call, undefined)
  }
  return { managed, net, channels, replaced, swallowed }
}

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"], now: 0 }))
afterEach(() => {
  vi.useRealTimers()
  assert.deepStrictEqual(thrown.splice(0), [])
})

/** The connection has been made, and all is quiet. */
const connectedWorld = () => {
  const made = world()
  vi.advanceTimersByTime(60_000)
  return made
}

describe("rule 2: a channel", () => {
  it("is replaced 10 s after the first call that was swallowed, and without another one", () => {
    const { replaced, swallowed } = connectedWorld()
    swallowed(5_000)
    vi.advanceTimersByTime(4_900)
    assert.deepStrictEqual(replaced, [])
    vi.advanceTimersByTime(200)
    assert.deepStrictEqual(replaced, ["silent"])
  })

  it("is kept while anything comes, on whatever call", () => {
    const { managed, replaced, swallowed } = connectedWorld()
    const stream = managed.begin(false)
    for (let i = 0; i < 20; i++) {
      swallowed(5_000)
      managed.received(stream)
    }
    assert.deepStrictEqual(replaced, [])
  })

  it("has no timer while nothing is due", () => {
    const { managed } = connectedWorld()
    assert.strictEqual(vi.getTimerCount(), 0)
    const calls = Array.from({ length: 1_000 }, () => managed.begin(true))
    assert.strictEqual(vi.getTimerCount(), 1)
    for (const call of calls) managed.received(call)
    vi.advanceTimersByTime(2_000)
    assert.strictEqual(vi.getTimerCount(), 0)
  })

  it("that hangs every call is replaced less and less often, down to twice a minute", () => {
    const { channels, swallowed } = connectedWorld()
    for (let i = 0; i < 300; i++) swallowed(1_000)
    const lives = channels.slice(2).map(({ openedAt }, index) => openedAt - (channels[index + 1]?.openedAt ?? 0))
    assert.deepStrictEqual(
      lives.map((millis) => Math.floor(millis / 1_000)),
      [10, 10, 10, 10, 16, 30, 30, 30, 30, 30, 30, 30]
    )
  })

  it("serves the calls on it until the new one is READY", () => {
    const { channels, net, swallowed } = connectedWorld()
    net.isUp = false
    swallowed(12_000)
    assert.strictEqual(channels.length, 2)
    assert.strictEqual(channels[0]?.state, READY)
    net.isUp = true
    vi.advanceTimersByTime(2_000)
    assert.deepStrictEqual(
      channels.map(({ state }) => state),
      [SHUTDOWN, READY]
    )
  })

  it("that has been connecting for 20 s is replaced, without a call as well", () => {
    const { channels, replaced } = world({ isUp: false })
    vi.advanceTimersByTime(19_000)
    assert.deepStrictEqual(replaced, [])
    vi.advanceTimersByTime(2_000)
    assert.deepStrictEqual(replaced, ["connecting"])
    assert.strictEqual(channels.length, 2)
  })

  it("that was refused is replaced as well: an attempt to connect may hang behind that", () => {
    const { channels, replaced } = world({ isUp: false, hasRefused: true })
    vi.advanceTimersByTime(19_000)
    assert.deepStrictEqual(replaced, [])
    vi.advanceTimersByTime(2_000)
    assert.deepStrictEqual(replaced, ["failing"])
    assert.strictEqual(channels.length, 2)
  })

  it("that could not be reached takes no call with it: they follow in the same turn, and it is closed", () => {
    const { channels, managed } = world({ isUp: false })
    const opened: ReadonlyArray<grpc.ChannelInterface> = channels
    const on: Array<number> = []
    const begin = () => {
      const follow = () => {
        managed.ended(call, undefined)
        begin()
      }
      on.push(opened.indexOf(managed.channel()))
      const call = managed.begin(true, { check: (now) => now + 1_000, follow })
    }
    begin()
    vi.advanceTimersByTime(62_000)
    assert.deepStrictEqual(on, [0, 1, 2, 3])
    assert.deepStrictEqual(
      channels.map(({ state }) => state),
      [SHUTDOWN, SHUTDOWN, SHUTDOWN, CONNECTING]
    )
  })

  it("keeps the calls that were sent on it", () => {
    const { managed, replaced, swallowed } = connectedWorld()
    const follow = () => assert.fail("sent twice")
    managed.begin(true, { check: (now) => now + 1_000, follow })
    swallowed(11_000)
    assert.deepStrictEqual(replaced, ["silent"])
  })

  it("is dialled every 5 s for a minute after the one before went silent, as if it were refused", () => {
    const { channels, net, swallowed } = connectedWorld()
    net.isUp = false
    swallowed(10_100)
    vi.advanceTimersByTime(120_000)
    const dials = channels.slice(1).map(({ openedAt }, index) => openedAt - (channels[index]?.openedAt ?? 0))
    assert.isAtLeast(dials.filter((millis) => millis < 6_000).length, 8)
    assert.isAtLeast(dials.at(-1) ?? 0, 19_000)
  })

  it("on which an answer stopped after its headers is replaced when that call ends without the rest", () => {
    const { managed, replaced } = connectedWorld()
    const call = managed.begin(true)
    managed.received(call)
    vi.advanceTimersByTime(5_000)
    managed.ended(managed.begin(true), undefined)
    managed.ended(call, undefined)
    assert.deepStrictEqual(replaced, [])
    vi.advanceTimersByTime(9_000)
    const [quiet, whole] = [managed.begin(true), managed.begin(true)]
    managed.received(whole)
    managed.received(quiet)
    vi.advanceTimersByTime(10_000)
    managed.ended(whole, { code: grpc.status.OK, details: "" })
    assert.deepStrictEqual(replaced, [])
    const last = managed.begin(true)
    managed.received(last)
    vi.advanceTimersByTime(10_000)
    managed.ended(last, { code: grpc.status.DEADLINE_EXCEEDED, details: "Deadline exceeded after 10s" })
    assert.deepStrictEqual(replaced, ["silent"])
  })

  it("on which such an answer stopped says nothing of others to its address: a long answer may flow untold", () => {
    const [one, other] = [connectedWorld(), connectedWorld()]
    one.managed.join(other.managed)
    const call = one.managed.begin(true)
    one.managed.received(call)
    vi.advanceTimersByTime(11_000)
    one.managed.ended(call, undefined)
    assert.deepStrictEqual([one.replaced, other.replaced], [["silent"], []])
  })

  it("on which another answer has ended meanwhile is kept when one that had its headers is given up", () => {
    const { managed, replaced } = connectedWorld()
    const [list, slow] = [managed.begin(true), managed.begin(true)]
    managed.received(list)
    managed.received(slow)
    vi.advanceTimersByTime(11_000)
    managed.ended(list, { code: grpc.status.OK, details: "" })
    managed.ended(slow, undefined)
    assert.deepStrictEqual(replaced, [])
  })

  it("that is connecting is not silent: an answer that is overdue says nothing of it", () => {
    const { managed, replaced } = world({ isUp: false })
    vi.advanceTimersByTime(5_000)
    managed.overdue(1_000)
    assert.deepStrictEqual(replaced, [])
  })

  it("that may not be replaced yet is, as soon as it may", () => {
    const { managed, replaced, swallowed } = connectedWorld()
    while (replaced.length < 6) swallowed(1_000)
    const before = replaced.length
    managed.received(managed.begin(true))
    vi.advanceTimersByTime(2_000)
    managed.overdue(managed.now() - 1_000)
    assert.lengthOf(replaced, before)
    vi.advanceTimersByTime(30_000)
    assert.lengthOf(replaced, before + 1)
  })

  it("looks at the calls that wait at most every 20 ms, however many wait", () => {
    const { managed } = connectedWorld()
    let looks = 0
    const check = (now: number) => {
      looks++
      return now + 1
    }
    const calls = Array.from({ length: 100 }, () => {
      vi.advanceTimersByTime(1)
      return managed.begin(true, { check, follow: () => {} })
    })
    vi.advanceTimersByTime(2_000)
    looks = 0
    vi.advanceTimersByTime(1_000)
    assert.isAtMost(looks, 51 * calls.length)
  })

  it("is replaced on a hint of another to its address, if nothing came on it since", () => {
    const [one, other, third] = [connectedWorld(), connectedWorld(), connectedWorld()]
    one.managed.join(other.managed)
    one.managed.join(third.managed)
    const call = third.managed.begin(true)
    const swallowed = one.managed.begin(true)
    vi.advanceTimersByTime(5_000)
    third.managed.received(call)
    vi.advanceTimersByTime(6_000)
    one.managed.ended(swallowed, undefined)
    assert.deepStrictEqual([one.replaced, other.replaced, third.replaced], [["silent"], ["silent"], []])
  })

  it("asks a call that was not sent after 2 s, though the channel was replaced in between", () => {
    const { managed, replaced } = world({ isUp: false }, { connectTimeout: "1 second" })
    const askedAt: Array<number> = []
    const begin = (since?: number): void => {
      const check = (now: number) => {
        askedAt.push(now - call.since)
        return Number.POSITIVE_INFINITY
      }
      const follow = () => {
        begin(call.since)
        managed.ended(call, undefined)
      }
      const call = managed.begin(true, { check, follow }, since)
    }
    begin()
    vi.advanceTimersByTime(5_000)
    assert.isAbove(replaced.length, 1)
    assert.isBelow(askedAt[0] ?? Number.POSITIVE_INFINITY, 2_200)
  })

  it("asks each call that waits for a connection as often as it says, though it is looked at more often itself", () => {
    const { managed } = world({ isUp: false })
    const askedAt = Array.from({ length: 3 }, () => {
      const instants: Array<number> = []
      const check = (now: number) => {
        instants.push(now)
        return now + SecondReplica.POLL_MILLIS
      }
      managed.begin(true, { check, follow: () => {} })
      vi.advanceTimersByTime(50)
      return instants
    })
    vi.advanceTimersByTime(10_000)
    for (const [index, instants] of askedAt.entries()) {
      assert.isAtMost((instants[0] ?? Number.POSITIVE_INFINITY) - 50 * index, 2_100)
      assert.isAtLeast(instants.length, 8_000 / (SecondReplica.POLL_MILLIS + 100))
      const pauses = instants.slice(1).map((now, at) => now - (instants[at] ?? now))
      assert.isAtLeast(Math.min(...pauses), SecondReplica.POLL_MILLIS)
    }
  })

  it("that was idle is kept where a call on it is cancelled, though grpc-js tells of its end as well", () => {
    const { managed, replaced } = connectedWorld()
    managed.received(managed.begin(true))
    vi.advanceTimersByTime(60_000)
    const call = managed.begin(true)
    vi.advanceTimersByTime(30)
    managed.ended(call, undefined)
    managed.ended(call, { code: grpc.status.CANCELLED, details: "interrupted" })
    vi.advanceTimersByTime(60_000)
    assert.deepStrictEqual(replaced, [])
  })

  it("that may not be replaced yet is asked again once, however often it was overdue", () => {
    const { managed, replaced } = connectedWorld()
    managed.overdue(managed.now())
    vi.advanceTimersByTime(100)
    for (let i = 0; i < 500; i++) managed.overdue(managed.now())
    assert.isAtMost(vi.getTimerCount(), 4)
    vi.advanceTimersByTime(5_000)
    assert.deepStrictEqual(replaced, ["silent", "silent"])
  })

  it("is not replaced for the time in which the process was stopped", () => {
    const { managed, replaced } = connectedWorld()
    const call = managed.begin(true)
    vi.advanceTimersByTime(4_000)
    vi.setSystemTime(Date.now() + 60_000)
    vi.advanceTimersByTime(5_000)
    assert.deepStrictEqual(replaced, [])
    managed.received(call)
    vi.advanceTimersByTime(20_000)
    assert.deepStrictEqual(replaced, [])
  })
})

describe("rule 2: a channel that the user brought", () => {
  it("knows of each call whether a connection was there for it, though it was gone again before the next look", () => {
    const channel = new ToldChannel({ isUp: false })
    const managed = WatchedChannel.fixed(channel, clock, { threw, silent: () => {} })
    channel.state = READY
    managed.received(managed.begin(true))
    vi.advanceTimersByTime(1_000)
    // Its timer is due in 2 s.
    managed.received(managed.begin(true))
    channel.become(IDLE)
    vi.advanceTimersByTime(10)
    const sent = managed.begin(true)
    for (const state of [CONNECTING, TRANSIENT_FAILURE, CONNECTING, READY, IDLE]) {
      vi.advanceTimersByTime(10)
      channel.become(state)
    }
    vi.advanceTimersByTime(10)
    const unsent = managed.begin(true)
    channel.become(CONNECTING)
    assert.deepStrictEqual([sent, unsent].map(isSent), [true, false])
  })

  it("is reported once a minute while it swallows calls, and stays", () => {
    const channel = new FakeChannel({ isUp: true })
    let reports = 0
    const managed = WatchedChannel.fixed(channel, clock, { threw, silent: () => reports++ })
    managed.dial()
    for (let i = 0; i < 24; i++) {
      const call = managed.begin(true)
      vi.advanceTimersByTime(5_000)
      managed.ended(call, undefined)
    }
    assert.strictEqual(reports, 2)
    assert.strictEqual(managed.channel(), channel)
  })
})
