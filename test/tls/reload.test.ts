import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Either, Fiber, Option, Queue, Stream } from "effect"
import * as Certificates from "../../src/grpc/Certificates.js"
import * as Fibers from "../../src/internal/fibers.js"
import type * as Transport from "../../src/schemas/Transport.js"
import { asValues, certificateFiles, makeAuthority } from "../support/certificates.js"
import * as FaultProxy from "../support/faultProxy.js"
import * as ManualClock from "../support/manualClock.js"
import { expectNothingUncaught } from "../support/uncaught.js"
import { tcpServer } from "../support/wireServers.js"
import { connect, eventually, logged, tlsServer, type World } from "./world.js"

expectNothingUncaught()

const authority = Effect.runSync(Effect.cached(makeAuthority("Our Authority")))
const named = (name: string) => Effect.flatMap(authority, ({ issue }) => issue({ name }))

/** An mTLS server, a client's certificate on disk as orders-7, and a connection that looks at it every 20 ms. */
const world = (latency = 0) =>
  Effect.gen(function* () {
    const { certificate } = yield* authority
    const server = yield* tlsServer({ server: yield* named("registry"), clientCa: certificate, latency })
    const files = yield* certificateFiles
    const own = yield* named("orders-7")
    const tls = { ...(yield* files.writeBoth(own)), ca: { value: certificate }, reloadInterval: "20 millis" } as const
    return { ...(yield* connect(server.address, tls)), server, files, own }
  })

/** The same behind a proxy that can hurt it. */
const proxied = (transport: Transport.Transport = {}) =>
  Effect.gen(function* () {
    const { certificate } = yield* authority
    const server = yield* tlsServer({ server: yield* named("registry"), clientCa: certificate })
    const proxy = yield* FaultProxy.make(server.port)
    const files = yield* certificateFiles
    const own = yield* files.writeBoth(yield* named("orders-7"))
    const tls = { ...own, ca: { value: certificate }, reloadInterval: "20 millis" } as const
    return { ...(yield* connect(proxy.address, tls, { transport })), proxy, files }
  })

const connectionsEver = (proxy: FaultProxy.FaultProxy, count: number) =>
  eventually(
    `${count} connections`,
    Effect.map(proxy.connections, ({ ever }) => ever >= count)
  )

const isNow = (name: string, who: World["who"]) =>
  eventually(
    `the server sees ${name}`,
    Effect.map(who, (seen) => seen.endsWith(`/${name}`))
  )

const warnings = (lines: ReadonlyArray<string>) => lines.filter((line) => line.startsWith("WARN"))

/** Calls without end, eight at a time, until told to stop: how many went well, and how the others failed. */
const calling = (who: World["who"]) =>
  Effect.gen(function* () {
    let done = 0
    let isStopped = false
    const failures: Array<string> = []
    const one = Effect.tap(Effect.either(who), (outcome) =>
      Effect.sync(() => {
        if (Either.isLeft(outcome)) failures.push(outcome.left.message)
        else done++
      })
    )
    // What fails at once, for ever, would leave no time for anything else.
    const worker = Effect.repeat(one, { until: () => isStopped || failures.length > 10 })
    const fiber = yield* Effect.fork(
      Effect.all(
        Array.from({ length: 8 }, () => worker),
        { concurrency: 8 }
      )
    )
    return {
      stop: Effect.suspend(() => {
        isStopped = true
        return Effect.map(Fiber.join(fiber), () => ({ done, failures }))
      })
    }
  })

describe.concurrent("certificates that change on disk", () => {
  it.scopedLive("are used from then on, and not one call fails", () =>
    Effect.gen(function* () {
      const { files, who } = yield* world(5)
      yield* isNow("orders-7", who)
      const { stop } = yield* calling(who)
      for (const name of ["orders-8", "orders-9", "orders-10"]) {
        yield* files.writeBoth(yield* named(name))
        yield* isNow(name, who)
        // Long enough for the former connection to be closed under the calls.
        yield* Effect.sleep("1200 millis")
      }
      const { done, failures } = yield* stop
      assert.deepStrictEqual(failures, [])
      assert.isAbove(done, 50)
    })
  )

  it.scopedLive("leave a call and a stream that are under way alone", () =>
    Effect.gen(function* () {
      const { files, serve, who } = yield* world(2_500)
      const slow = yield* Effect.fork(who)
      const requests = yield* Queue.unbounded<Buffer>()
      const first = yield* Deferred.make<void>()
      const stream = yield* serve(Stream.fromQueue(requests)).pipe(
        Stream.tap(() => Deferred.succeed(first, undefined)),
        Stream.take(2),
        Stream.runCollect,
        Effect.fork
      )
      yield* Queue.offer(requests, Buffer.from("a"))
      yield* Deferred.await(first)
      yield* files.writeBoth(yield* named("orders-8"))
      yield* Effect.sleep("1800 millis")
      yield* Queue.offer(requests, Buffer.from("b"))
      for (const seen of yield* Fiber.join(stream)) assert.match(seen, /\/orders-7$/)
      assert.match(yield* Fiber.join(slow), /\/orders-7$/)
    })
  )

  it.scopedLive("in two steps are taken when both are there; that they do not belong together is told once", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const { files, who } = yield* world()
        const next = yield* named("orders-8")
        yield* files.write("tls.crt", next.certificate)
        yield* eventually(
          "a warning",
          Effect.sync(() => warnings(lines).length > 0)
        )
        yield* Effect.sleep("200 millis")
        assert.match(yield* who, /\/orders-7$/)
        assert.strictEqual(warnings(lines).length, 1)
        assert.include(warnings(lines).join(), `tls.privateKey (${files.path("tls.key")}) is not the key of`)
        assert.include(warnings(lines).join(), "the former stay in use")
        yield* files.write("tls.key", next.privateKey)
        yield* isNow("orders-8", who)
        assert.strictEqual(warnings(lines).length, 1)
      })
    )
  )

  it.scopedLive("are no news where they are looked at between the writes of certificate and key", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const clock = ManualClock.make()
        const files = yield* certificateFiles
        const tls = yield* files.writeBoth(yield* named("orders-7"))
        const next = yield* named("orders-8")
        const { follow } = yield* Certificates.load(tls, (material) => Either.right(material))
        let used = 0
        yield* Effect.withClock(
          follow(() => void used++),
          clock.clock
        )
        const hasLooked = eventually(
          "the end of a look",
          Effect.sync(() => clock.sleepers() === 1)
        )
        const look = Effect.zipRight(clock.advance("30 seconds"), hasLooked)
        yield* hasLooked
        yield* files.write("tls.crt", next.certificate)
        yield* look
        yield* files.write("tls.key", next.privateKey)
        yield* look
        assert.strictEqual(used, 1)
        assert.deepStrictEqual(warnings(lines), [])
        yield* files.write("tls.key", "")
        yield* look
        assert.deepStrictEqual(warnings(lines), [])
        yield* Effect.replicateEffect(look, 3)
        assert.lengthOf(warnings(lines), 1)
      })
    )
  )

  it.scopedLive("half-written, expired or gone keep the old state, and are told once each", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const { files, own, who } = yield* world()
        const { issue } = yield* authority
        const expired = yield* issue({ name: "orders-8", validity: "expired" })
        const half = { ...own, certificate: own.certificate.slice(0, 300) }
        const states: ReadonlyArray<readonly [state: Effect.Effect<unknown>, problem: RegExp]> = [
          [files.writeBoth(half), /tls\.certificate \(.*tls\.crt\) ends in the middle of a certificate/],
          [
            files.writeBoth({ ...own, privateKey: own.privateKey.slice(0, 60) }),
            /tls\.privateKey \(.*tls\.key\) cannot be parsed/
          ],
          [files.writeBoth(expired), /tls\.certificate \(.*tls\.crt\) expired on/],
          [files.remove("tls.crt"), /tls\.certificate \(.*tls\.crt\) cannot be read \(ENOENT\)/]
        ]
        for (const [index, [state, problem]] of states.entries()) {
          yield* state
          yield* eventually(
            `warning ${index + 1}`,
            Effect.sync(() => warnings(lines).some((line) => problem.test(line)))
          )
          yield* Effect.sleep("100 millis")
          assert.match(yield* who, /\/orders-7$/)
          assert.strictEqual(warnings(lines).filter((line) => problem.test(line)).length, 1)
        }
        // What it was told of before, it tells again after all was well.
        yield* files.writeBoth(yield* named("orders-9"))
        yield* isNow("orders-9", who)
        const before = warnings(lines).length
        yield* files.write("tls.crt", half.certificate)
        yield* eventually(
          "another warning",
          Effect.sync(() => warnings(lines).length > before)
        )
      })
    )
  )

  it.scopedLive("that the server refuses are not used while the former connection lasts, and are told once", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const { files, who } = yield* world()
        yield* isNow("orders-7", who)
        const foreign = yield* Effect.flatMap(makeAuthority("Another"), ({ issue }) => issue({ name: "orders-8" }))
        yield* files.writeBoth(foreign)
        const told = Effect.sync(() => warnings(lines).filter((line) => line.includes("no connection to")).length)
        yield* eventually(
          "a warning",
          Effect.map(told, (count) => count > 0)
        )
        yield* Effect.sleep("1500 millis")
        assert.match(yield* who, /\/orders-7$/)
        assert.strictEqual(yield* told, 1)
        yield* files.writeBoth(yield* named("orders-9"))
        yield* isNow("orders-9", who)
      })
    )
  )

  it.scopedLive("once more, before the first could be used, are used, and what they replaced is closed for good", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const { files, proxy, who } = yield* proxied()
        yield* isNow("orders-7", who)
        yield* proxy.mute(true)
        yield* files.writeBoth(yield* named("orders-8"))
        yield* connectionsEver(proxy, 2)
        yield* files.writeBoth(yield* named("orders-9"))
        yield* connectionsEver(proxy, 3)
        yield* proxy.mute(false)
        yield* isNow("orders-9", who)
        // It may have been looked twice between the two files.
        assert.deepStrictEqual(
          warnings(lines).filter((line) => !line.includes("is not the key of")),
          []
        )
        // One to begin with, one for each change.
        yield* Effect.sleep("1500 millis")
        assert.deepStrictEqual(yield* proxy.connections, { now: 1, ever: 3 })
      })
    )
  )

  it.scopedLive("while the connection has fallen silent leave one connection, which works", () =>
    Effect.gen(function* () {
      const { files, proxy, who } = yield* proxied({ silenceTimeout: "500 millis" })
      yield* isNow("orders-7", who)
      yield* proxy.blackHole("both")
      yield* files.writeBoth(yield* named("orders-8"))
      yield* connectionsEver(proxy, 2)
      const calls = Effect.all([Effect.exit(who), Effect.exit(who), Effect.exit(who)], { concurrency: 3 })
      const exits = yield* Effect.timeoutOption(Fibers.disconnect(calls), "12 seconds")
      assert.isTrue(Option.isSome(exits))
      yield* proxy.restore
      yield* isNow("orders-8", who)
      // The silent one, the one with the new certificate that was under way, the one that took the place of both, and one more,
      // since that did not get through within 5 s. None is dialled once it works.
      yield* Effect.sleep("1500 millis")
      const { ever } = yield* proxy.connections
      assert.isAtMost(ever, 4)
      yield* isNow("orders-8", who)
      yield* Effect.sleep("1500 millis")
      assert.strictEqual((yield* proxy.connections).ever, ever)
    })
  )

  it.scopedLive("are used when the former connection is lost", () =>
    Effect.gen(function* () {
      const { files, server, who } = yield* world()
      yield* isNow("orders-7", who)
      const { certificate } = yield* authority
      yield* server.kill
      yield* files.writeBoth(yield* named("orders-8"))
      yield* Effect.flip(who)
      yield* tlsServer({ server: yield* named("registry"), clientCa: certificate, port: server.port })
      yield* isNow(
        "orders-8",
        Effect.orElseSucceed(who, () => "")
      )
    })
  )

  it.scopedLive("open no connection without a call", () =>
    logged((lines) =>
      Effect.gen(function* () {
        let sockets = 0
        const { address } = yield* tcpServer(() => void sockets++)
        const files = yield* certificateFiles
        const ca = yield* files.write("ca.pem", (yield* authority).certificate)
        yield* connect(address, { ca, reloadInterval: "20 millis" })
        yield* files.write("ca.pem", (yield* makeAuthority("Another")).certificate)
        yield* eventually(
          "that they are in use",
          Effect.sync(() => lines.some((line) => line.includes("new connections use the changed certificates")))
        )
        yield* Effect.sleep("200 millis")
        assert.strictEqual(sockets, 0)
      })
    )
  )

  it.scopedLive("are not looked for where they were given as values", () =>
    Effect.gen(function* () {
      const { certificate } = yield* authority
      const server = yield* tlsServer({ server: yield* named("registry"), clientCa: certificate })
      const values = asValues(yield* named("orders-7"))
      const { who } = yield* connect(server.address, { ca: { value: certificate }, ...values, reloadInterval: 1 })
      assert.match(yield* who, /\/orders-7$/)
    })
  )
})

describe("a private key", () => {
  it.scopedLive("shows in no log, and in nothing that users hold", () =>
    logged((lines) =>
      Effect.gen(function* () {
        const { connection, files, own, who } = yield* world()
        yield* isNow("orders-7", who)
        const next = yield* named("orders-8")
        yield* files.writeBoth({ ...next, privateKey: `${next.privateKey.slice(0, 90)}\n` })
        yield* eventually(
          "a warning",
          Effect.sync(() => warnings(lines).length > 0)
        )
        yield* files.writeBoth(next)
        yield* isNow("orders-8", who)
        const shown = `${lines.join("\n")} ${inspect(connection, { depth: 12, showHidden: true })}`
        for (const { privateKey } of [own, next]) {
          for (const line of privateKey.split("\n").filter((line) => line !== "" && !line.startsWith("-----"))) {
            assert.notInclude(shown, line.slice(0, 30))
          }
        }
        assert.notInclude(shown, "PRIVATE KEY-----")
      })
    )
  )
})
