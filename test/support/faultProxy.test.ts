import { connect, createServer, type Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import * as FaultProxy from "./faultProxy.js"

/** A server that says what it hears, and notes how its connections end. */
const echo = Effect.gen(function* () {
  const ends: Array<string> = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("data", (bytes: Buffer) => socket.write(bytes))
    socket.on("error", () => ends.push("RST"))
    socket.on("end", () => ends.push("FIN"))
  })
  yield* Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void)))
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
  )
  const address = server.address()
  return { ends, port: typeof address === "object" && address !== null ? address.port : 0 }
})

/** A connection that keeps what it hears, and how it ended. */
const dial = Effect.fnUntraced(function* (port: number) {
  const socket = connect({ port, host: "127.0.0.1" })
  yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
  let heard = ""
  let end = ""
  socket.on("data", (bytes: Buffer) => {
    heard += bytes.toString()
  })
  socket.on("end", () => {
    end ||= "FIN"
  })
  const connected = yield* Effect.async<string>((resume) => {
    socket.on("error", (error: NodeJS.ErrnoException) => {
      end ||= error.code ?? ""
      resume(Effect.succeed(end))
    })
    socket.on("connect", () => resume(Effect.succeed("connected")))
  })
  return { socket, connected, say: (text: string) => void socket.write(text), heard: () => heard, end: () => end }
})

/** Real milliseconds until it is so; fails after two seconds. */
const until = (isSo: () => boolean) =>
  Effect.gen(function* () {
    const started = performance.now()
    while (!isSo()) {
      assert.isBelow(performance.now() - started, 2_000, "not so within two seconds")
      yield* Effect.sleep("2 millis")
    }
    return performance.now() - started
  })

const world = Effect.gen(function* () {
  const server = yield* echo
  const proxy = yield* FaultProxy.make(server.port)
  return { server, proxy, dial: dial(proxy.port) }
})

describe("faultProxy", () => {
  it.scopedLive("carries bytes and FIN both ways, and counts them", () =>
    Effect.gen(function* () {
      const { dial, proxy, server } = yield* world
      const [one, two] = [yield* dial, yield* dial]
      one.say("hello")
      two.say("hi")
      yield* until(() => one.heard() === "hello" && two.heard() === "hi")
      assert.deepStrictEqual(yield* proxy.connections, { now: 2, ever: 2 })
      assert.deepStrictEqual(yield* proxy.bytes, { toServer: 7, toClient: 7 })
      one.socket.end()
      yield* until(() => one.end() === "FIN")
      two.socket.resetAndDestroy()
      yield* until(() => server.ends.length === 2)
      assert.deepStrictEqual(server.ends, ["FIN", "RST"])
      assert.deepStrictEqual(yield* proxy.connections, { now: 0, ever: 2 })
    })
  )

  it.scopedLive("carries what is large, and keeps it whole", () =>
    Effect.gen(function* () {
      const { dial } = yield* world
      const client = yield* dial
      const text = "0123456789abcdef".repeat(512 * 1024)
      client.say(text)
      yield* until(() => client.heard().length === text.length)
      assert.isTrue(client.heard() === text)
    })
  )

  it.scopedLive("latency: one way, both ways, in order, and none after restore", () =>
    Effect.gen(function* () {
      const { dial, proxy } = yield* world
      const client = yield* dial
      yield* proxy.latency(60, "toServer")
      client.say("a")
      assert.isAtLeast(yield* until(() => client.heard() === "a"), 55)
      yield* proxy.latency(60)
      client.say("b")
      yield* Effect.sleep("5 millis")
      client.say("c")
      const elapsed = yield* until(() => client.heard() === "abc")
      assert.isAtLeast(elapsed, 110)
      yield* proxy.latency(1_000)
      client.say("d")
      yield* Effect.sleep("20 millis")
      yield* proxy.restore
      assert.isBelow(yield* until(() => client.heard() === "abcd"), 900)
    })
  )

  for (const direction of ["toServer", "toClient", "both"] as const) {
    it.scopedLive(`blackHole ${direction}: swallows bytes, FIN and RST; later connections live after restore`, () =>
      Effect.gen(function* () {
        const { dial, proxy, server } = yield* world
        const [idle, used] = [yield* dial, yield* dial]
        yield* until(() => idle.connected === "connected")
        yield* proxy.blackHole(direction)
        const late = yield* dial
        for (const client of [used, late]) client.say("lost")
        yield* Effect.sleep("60 millis")
        assert.deepStrictEqual([used.heard(), used.end(), late.heard(), late.end()], ["", "", "", ""])
        const { toClient } = yield* proxy.bytes
        assert.strictEqual(toClient, direction === "toClient" ? 8 : 0)
        yield* proxy.restore
        used.say("still lost")
        idle.say("whole")
        yield* until(() => idle.heard() === "whole")
        const fresh = yield* dial
        fresh.say("new")
        yield* until(() => fresh.heard() === "new")
        assert.deepStrictEqual([used.heard(), used.end(), server.ends.length], ["", "", 0])
        used.socket.resetAndDestroy()
        yield* Effect.sleep("30 millis")
        assert.deepStrictEqual(server.ends, direction === "toClient" ? ["RST"] : [])
      })
    )
  }

  for (const [how, seen] of [
    ["RST", "ECONNRESET"],
    ["FIN", "FIN"]
  ] as const) {
    it.scopedLive(`cut by ${how}: ends every connection on both sides, and later ones live`, () =>
      Effect.gen(function* () {
        const { dial, proxy, server } = yield* world
        const clients = [yield* dial, yield* dial]
        for (const client of clients) client.say("x")
        yield* until(() => clients.every((client) => client.heard() === "x"))
        yield* proxy.cut(how)
        yield* until(() => clients.every((client) => client.end() === seen) && server.ends.length === 2)
        assert.deepStrictEqual(server.ends, [how, how])
        const fresh = yield* dial
        fresh.say("new")
        yield* until(() => fresh.heard() === "new")
      })
    )
  }

  it.scopedLive("refuse: nobody connects, who is connected stays, and the port is the same afterwards", () =>
    Effect.gen(function* () {
      const { dial, proxy } = yield* world
      const early = yield* dial
      yield* proxy.refuse(true)
      yield* proxy.refuse(true)
      assert.strictEqual((yield* dial).connected, "ECONNREFUSED")
      early.say("here")
      yield* until(() => early.heard() === "here")
      yield* proxy.refuse(false)
      assert.strictEqual((yield* dial).connected, "connected")
      yield* proxy.refuse(true)
      yield* proxy.restore
      assert.strictEqual((yield* dial).connected, "connected")
    })
  )

  it.scopedLive("mute: accepts and says nothing, and afterwards answers all that was sent", () =>
    Effect.gen(function* () {
      const { dial, proxy } = yield* world
      const early = yield* dial
      yield* proxy.mute(true)
      const silent = yield* dial
      assert.strictEqual(silent.connected, "connected")
      silent.say("anybody?")
      early.say("here")
      yield* until(() => early.heard() === "here")
      yield* Effect.sleep("40 millis")
      assert.deepStrictEqual([silent.heard(), silent.end()], ["", ""])
      yield* proxy.mute(false)
      yield* until(() => silent.heard() === "anybody?")
    })
  )

  it.scopedLive("trickle: so many bytes a second and no more, and all the rest after restore", () =>
    Effect.gen(function* () {
      const { dial, proxy } = yield* world
      const client = yield* dial
      yield* proxy.trickle(1_000, "toClient")
      client.say("x".repeat(10_000))
      const elapsed = yield* until(() => client.heard().length >= 200)
      assert.isAtLeast(elapsed, 150)
      assert.isBelow(client.heard().length, 10_000)
      yield* proxy.restore
      yield* until(() => client.heard().length === 10_000)
      yield* proxy.trickle(20)
      client.say("abc")
      assert.isAtLeast(yield* until(() => client.heard().endsWith("abc")), 90)
    })
  )

  it.scopedLive("retarget: later connections lead elsewhere; a target that is not there resets them", () =>
    Effect.gen(function* () {
      const { dial, proxy } = yield* world
      const other = yield* echo
      yield* proxy.retarget({ host: "127.0.0.1", port: other.port })
      const client = yield* dial
      client.say("there")
      yield* until(() => client.heard() === "there")
      client.socket.end()
      yield* until(() => other.ends.length === 1)
      const gone = yield* Effect.scoped(echo)
      yield* proxy.retarget(gone.port)
      const late = yield* dial
      yield* until(() => late.end() === "ECONNRESET")
    })
  )

  it.live("ends with its scope: no listener, no connection, on no side", () =>
    Effect.gen(function* () {
      const server = yield* echo
      const scope = yield* Scope.make()
      const proxy = yield* FaultProxy.make(server.port).pipe(Scope.extend(scope))
      const clients = [yield* dial(proxy.port), yield* dial(proxy.port)]
      for (const client of clients) client.say("x")
      yield* until(() => clients.every((client) => client.heard() === "x"))
      yield* proxy.blackHole("both")
      yield* proxy.mute(true)
      clients.push(yield* dial(proxy.port))
      yield* Scope.close(scope, Exit.void)
      yield* until(() => clients.every((client) => client.end() !== "") && server.ends.length === 2)
      assert.strictEqual((yield* dial(proxy.port)).connected, "ECONNREFUSED")
    }).pipe(Effect.scoped)
  )
})
