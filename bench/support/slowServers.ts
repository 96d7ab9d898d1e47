import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { PCGRandom } from "../../src/internal/random.js"

/** As in the simulation: four workers each, 10 ms on average, exponentially distributed, and 100 ms on the slow one. */
const INSTANCES = 10
const WORKERS = 4
const SERVICE_MILLIS = 10
const TIMES_SLOWER = 10

/** Serves the calls in the order in which they come. */
const serving = (meanMillis: number, dice: PCGRandom) => {
  const freeAt = new Array<number>(WORKERS).fill(0)
  return (_: IncomingMessage, response: ServerResponse): void => {
    const now = performance.now()
    const first = freeAt.indexOf(Math.min(...freeAt))
    const endsAt = Math.max(now, freeAt[first] ?? 0) - meanMillis * Math.log(1 - dice.number())
    freeAt[first] = endsAt
    setTimeout(() => response.end(), endsAt - now)
  }
}

const portOf = (server: Server): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(address !== null && typeof address === "object" ? address.port : 0)
    })
  })

/** Ten HTTP servers on loopback, the first of them slow. Gives their ports, separated by commas. */
export const serve = async (): Promise<string> => {
  const dice = new PCGRandom(1)
  const ports = Array.from({ length: INSTANCES }, (_, i) =>
    portOf(createServer(serving(i === 0 ? SERVICE_MILLIS * TIMES_SLOWER : SERVICE_MILLIS, dice)))
  )
  return (await Promise.all(ports)).join(",")
}
