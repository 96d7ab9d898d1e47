import { connect, createServer, type Server, type Socket } from "node:net"
import { Effect, type Scope } from "effect"
import { type Conditions, makePipe, noConditions, type Pipe, reset } from "./faultPipe.js"

type Direction = "toServer" | "toClient" | "both"

export interface Target {
  readonly host: string
  readonly port: number
}

/**
 * A TCP proxy on loopback that hurts what passes through it. A switch holds for the connections that are open and for
 * those to come, until it is ordered otherwise or {@link FaultProxy.restore}d.
 */
export interface FaultProxy {
  /** `host:port`, for a client. It never changes. */
  readonly address: string
  readonly port: number
  /** Connections of clients: those that the client has not closed, and all that were accepted since the start. */
  readonly connections: Effect.Effect<{ readonly now: number; readonly ever: number }>
  /** Bytes that were sent since the start, whether or not they arrived. */
  readonly bytes: Effect.Effect<{ readonly toServer: number; readonly toClient: number }>
  /** Everything arrives this much later, a FIN and an RST as well. */
  readonly latency: (millis: number, direction?: Direction) => Effect.Effect<void>
  /** At most so many bytes a second on each connection. */
  readonly trickle: (bytesPerSecond: number, direction?: Direction) => Effect.Effect<void>
  /**
   * Nothing arrives any more: no byte, no FIN, no RST. After {@link FaultProxy.restore}, connections on which nothing
   * was lost go on; the others stay in the hole, as behind a NAT that has forgotten them.
   */
  readonly blackHole: (direction: Direction) => Effect.Effect<void>
  /** Ends every open connection now, on both sides: by RST (default), or by FIN after what was written. */
  readonly cut: (how?: "RST" | "FIN") => Effect.Effect<void>
  /** While `true`, the port is closed: `ECONNREFUSED`. Open connections go on. */
  readonly refuse: (on: boolean) => Effect.Effect<void>
  /**
   * While `true`, new connections are accepted, and nothing is read or said, as by a process that hangs. Turned off,
   * they go on with all that was sent meanwhile.
   */
  readonly mute: (on: boolean) => Effect.Effect<void>
  /** Where connections to come lead: the server was restarted elsewhere, or replaced. */
  readonly retarget: (target: number | Target) => Effect.Effect<void>
  /** Nothing goes wrong any more. What was held back arrives now. */
  readonly restore: Effect.Effect<void>
}

const targetOf = (target: number | Target): Target =>
  typeof target === "number" ? { host: "127.0.0.1", port: target } : target

/** Two sockets joined by two pipes. Half-open, so that a FIN goes its own way. */
interface Connection {
  readonly client: Socket
  readonly server: Socket
  readonly pipes: ReadonlyArray<Pipe>
}

const makeTraffic = (target: () => Target) => {
  const conditions = { toServer: noConditions(), toClient: noConditions() }
  const bytes = { toServer: 0, toClient: 0 }
  const connections = new Set<Connection>()
  const clients = new Set<Socket>()
  const muted = new Set<Socket>()
  const state = { ever: 0, mute: false }

  const join = (client: Socket) => {
    const server = connect({ ...target(), allowHalfOpen: true, noDelay: true })
    const toServer = makePipe(client, server, conditions.toServer, (count) => {
      bytes.toServer += count
    })
    const toClient = makePipe(server, client, conditions.toClient, (count) => {
      bytes.toClient += count
    })
    const connection = { client, server, pipes: [toServer, toClient] }
    connections.add(connection)
    const forget = () => {
      if (client.destroyed && server.destroyed) connections.delete(connection)
    }
    client.on("close", forget)
    server.on("close", forget)
    client.resume()
  }

  const accept = (client: Socket) => {
    state.ever++
    clients.add(client)
    client.on("error", () => {})
    client.on("close", () => {
      clients.delete(client)
      muted.delete(client)
    })
    client.setNoDelay(true)
    if (state.mute) muted.add(client)
    else join(client)
  }

  const unmute = () => {
    const waiting = [...muted]
    muted.clear()
    for (const client of waiting) if (!client.destroyed) join(client)
  }

  const end = (how: "RST" | "FIN") => {
    for (const { pipes } of connections) for (const pipe of pipes) pipe.stop()
    const sockets = [...clients, ...[...connections].map(({ server }) => server)]
    for (const socket of sockets) {
      if (how === "RST") reset(socket)
      else socket.destroySoon()
    }
  }

  const impose = (direction: Direction, change: (conditions: Conditions) => void) =>
    Effect.sync(() => {
      if (direction !== "toClient") change(conditions.toServer)
      if (direction !== "toServer") change(conditions.toClient)
      for (const { pipes } of connections) for (const pipe of pipes) pipe.poke()
    })

  const mute = (on: boolean) =>
    Effect.sync(() => {
      state.mute = on
      if (!on) unmute()
    })

  const connectionsNow = () => [...clients].filter((client) => !client.readableEnded).length

  return { accept, bytes, connectionsNow, end, impose, mute, state }
}

const listen = (accept: (client: Socket) => void, port: number) =>
  Effect.async<{ readonly server: Server; readonly port: number }, Error>((resume) => {
    // Paused: until a pipe reads, what a client sends waits with the kernel, and then with the client.
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, accept)
    server.once("error", (error) => resume(Effect.fail(error)))
    server.listen({ port, host: "127.0.0.1" }, () => {
      const address = server.address()
      if (address === null || typeof address === "string") return resume(Effect.dieMessage("no port"))
      resume(Effect.succeed({ server, port: address.port }))
    })
    return Effect.sync(() => void server.close())
  }).pipe(Effect.orDie)

/** A proxy to a server on this machine, or elsewhere. All of it ends with the scope. */
export const make = Effect.fnUntraced(function* (
  target: number | Target
): Effect.fn.Return<FaultProxy, never, Scope.Scope> {
  let goal = targetOf(target)
  const traffic = makeTraffic(() => goal)
  const first = yield* listen(traffic.accept, 0)
  const { port } = first
  let server: Server | undefined = first.server
  const close = Effect.sync(() => {
    server?.close()
    server = undefined
  })
  yield* Effect.addFinalizer(() =>
    Effect.zipRight(
      close,
      Effect.sync(() => traffic.end("RST"))
    )
  )

  const refuse = (on: boolean) =>
    on
      ? close
      : Effect.suspend(() =>
          server === undefined
            ? Effect.map(listen(traffic.accept, port), (again) => {
                server = again.server
              })
            : Effect.void
        )

  return {
    address: `127.0.0.1:${port}`,
    port,
    connections: Effect.sync(() => ({ now: traffic.connectionsNow(), ever: traffic.state.ever })),
    bytes: Effect.sync(() => ({ ...traffic.bytes })),
    latency: (millis, direction = "both") =>
      traffic.impose(direction, (conditions) => {
        conditions.latencyMillis = millis
      }),
    trickle: (bytesPerSecond, direction = "both") =>
      traffic.impose(direction, (conditions) => {
        conditions.bytesPerSecond = bytesPerSecond
      }),
    blackHole: (direction) =>
      traffic.impose(direction, (conditions) => {
        conditions.hole = true
      }),
    cut: (how = "RST") => Effect.sync(() => traffic.end(how)),
    refuse,
    mute: traffic.mute,
    retarget: (next) =>
      Effect.sync(() => {
        goal = targetOf(next)
      }),
    restore: Effect.all(
      [
        traffic.impose("both", (conditions) => Object.assign(conditions, noConditions())),
        traffic.mute(false),
        refuse(false)
      ],
      { discard: true }
    )
  }
})
