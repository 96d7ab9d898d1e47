import type { Socket } from "node:net"

/** What is done to one direction of every connection. A change is felt by all that are poked. */
export interface Conditions {
  latencyMillis: number
  bytesPerSecond: number
  hole: boolean
}

export const noConditions = (): Conditions => ({ latencyMillis: 0, bytesPerSecond: Infinity, hole: false })

export interface Pipe {
  /** Conditions have changed. */
  readonly poke: () => void
  readonly stop: () => void
}

/** Node resets a socket that is still connecting when it has connected, which may be never. */
export const reset = (socket: Socket): void => {
  if (socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

type Item = Buffer | "end" | "reset"

const MAX_QUEUED = 1024 * 1024
const TRICKLE_MILLIS = 10

/**
 * Carries bytes, FIN and RST from one socket to the other, in their order, under the conditions. Once a byte was lost,
 * nothing passes any more, whatever the conditions: what comes after a gap makes no sense to anybody.
 */
export const makePipe = (from: Socket, to: Socket, conditions: Conditions, onBytes: (count: number) => void): Pipe => {
  const queue: Array<{ readonly at: number; readonly item: Item }> = []
  let queued = 0
  let lost = false
  let ended = false
  let blocked = false
  let stopped = false
  let timer: NodeJS.Timeout | undefined

  const later = (millis: number) => {
    clearTimeout(timer)
    timer = setTimeout(run, millis)
  }

  const write = (bytes: Buffer) => {
    if (to.destroyed || to.write(bytes)) return
    blocked = true
    to.once("drain", () => {
      blocked = false
      run()
    })
  }

  /** As many of the bytes as may pass in one turn; the rest goes back to the head of the queue. */
  const trickled = (at: number, bytes: Buffer): Buffer => {
    const size = Math.max(1, Math.floor((conditions.bytesPerSecond * TRICKLE_MILLIS) / 1_000))
    if (bytes.length > size) queue.unshift({ at, item: bytes.subarray(size) })
    return bytes.subarray(0, size)
  }

  const deliver = (at: number, item: Item) => {
    if (conditions.hole) lost = true
    if (lost) {
      queued -= typeof item === "string" ? 0 : item.length
    } else if (item === "end") {
      to.end()
    } else if (item === "reset") {
      reset(to)
    } else {
      const bytes = trickled(at, item)
      queued -= bytes.length
      write(bytes)
      if (conditions.bytesPerSecond === Infinity) return
      later(Math.max(TRICKLE_MILLIS, (bytes.length * 1_000) / conditions.bytesPerSecond))
      return "trickling"
    }
  }

  const run = () => {
    clearTimeout(timer)
    timer = undefined
    while (!stopped && !blocked) {
      const head = queue[0]
      if (head === undefined) break
      const wait = head.at + conditions.latencyMillis - performance.now()
      if (wait > 0.5) {
        later(wait)
        break
      }
      queue.shift()
      if (deliver(head.at, head.item) === "trickling") break
    }
    if (queued < MAX_QUEUED && from.isPaused() && !stopped) from.resume()
  }

  const push = (item: Item) => {
    if (stopped) return
    queue.push({ at: performance.now(), item })
    if (timer === undefined) run()
  }

  from.on("data", (bytes: Buffer) => {
    onBytes(bytes.length)
    queued += bytes.length
    push(bytes)
    if (queued >= MAX_QUEUED) from.pause()
  })
  from.on("end", () => {
    ended = true
    push("end")
  })
  from.on("error", () => {})
  // A socket that closes without a FIN was reset; one that fails after its FIN, too.
  from.on("close", (failed: boolean) => {
    if (failed || !ended) push("reset")
  })

  return {
    poke: run,
    stop: () => {
      stopped = true
      clearTimeout(timer)
    }
  }
}
