import * as Http from "node:http"
import { Effect, type Scope } from "effect"

export interface HttpServer {
  readonly port: number
  /** The requests so far, as `GET /path body`. */
  readonly seen: ReadonlyArray<string>
  readonly kill: Effect.Effect<void>
}

/** What a server answers; `undefined`: nothing, ever. */
export type Reply = (request: {
  readonly url: string
  readonly method: string
  readonly text: string
  readonly headers: Http.IncomingHttpHeaders
}) =>
  | {
      readonly status?: number
      readonly body?: string
      readonly headers?: Record<string, string>
      readonly after?: number
    }
  | undefined

/** An HTTP server on loopback. Its end cuts the connections. */
export const httpServer = (reply: Reply = () => ({})): Effect.Effect<HttpServer, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<HttpServer>((resume) => {
      const seen: Array<string> = []
      const server = Http.createServer((request, response) => {
        const { headers, method = "", url = "" } = request
        let text = ""
        request.on("data", (chunk: Buffer) => {
          text += chunk.toString()
        })
        request.on("end", () => {
          seen.push(`${method} ${url} ${text}`.trim())
          const answer = reply({ url, method, text, headers })
          if (answer === undefined) return
          const end = () => response.writeHead(answer.status ?? 200, answer.headers).end(answer.body ?? "hello")
          if (answer.after === undefined) end()
          else setTimeout(end, answer.after)
        })
      })
      const kill = Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = address !== null && typeof address === "object" ? address.port : 0
        resume(Effect.succeed({ port, seen, kill }))
      })
    }),
    ({ kill }) => kill
  )
