/** Spans and labels of rpcs, by OpenTelemetry's stable conventions (semconv 1.45). */
import { type Labels, labels } from "../internal/metric.js"
import * as StatusCode from "../schemas/StatusCode.js"

/** What is told of each call of one method. */
export interface Rpc {
  readonly spanName: string
  readonly attributes: Record<string, unknown>
  /** Codes outside 0 to 16 share one series. */
  readonly labels: (code: number) => Labels
}

export const STATUS_CODE = "rpc.status_code"
export const ERROR_TYPE = "error.type"
export const SERVER_ADDRESS = "server.address"
export const SERVER_PORT = "server.port"

const CODES = Object.keys(StatusCode.StatusCode).length

const make = (path: string): Rpc => {
  const method = path.slice(1)
  const known: Array<Labels> = []
  const attributes = { "rpc.system.name": "grpc", "rpc.method": method }
  return {
    spanName: method,
    attributes,
    labels: (code) => {
      const place = Number.isInteger(code) && code >= 0 && code < CODES ? code : CODES
      known[place] ??= labels({ ...attributes, [STATUS_CODE]: place === CODES ? "OTHER" : StatusCode.name(code) })
      return known[place]
    }
  }
}

const rpcs = new Map<string, Rpc>()

/** Of a method by its path, `/package.Service/Method`. Made once. */
export const of = (path: string): Rpc => {
  let found = rpcs.get(path)
  if (found === undefined) {
    found = make(path)
    rpcs.set(path, found)
  }
  return found
}
