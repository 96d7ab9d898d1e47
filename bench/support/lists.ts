/**
 * Answers to `ListServices`, in bytes, of the form and size that the real server gives: 50,000 instances are 13.5 MiB.
 */

import * as Methods from "../../src/grpc/Methods.js"
import { encodeResponse } from "./registryServer.js"

export interface ListOptions {
  readonly services: number
  readonly instancesEach: number
  /** How many instances share a `meta_json`; each has its own `endpoints_json`. */
  readonly perMeta: number
}

/** Where a list says which time it is decoded, six digits in each JSON text: no two times are their texts the same. */
const STAMP = "#00000"

const COMMIT = "0123456789abcdef".repeat(3).slice(0, 40)

const instance = (service: number, index: number, { instancesEach, perMeta }: ListOptions) => {
  const number = service * instancesEach + index
  const host = `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`
  return {
    id: String(100_000 + number),
    service_id: String(1_000 + service),
    instance_key: `orders-${service}-7f9c4d-${index}-1735689600-k3x9`,
    env: "prod",
    host,
    endpoint: `${host}:8080`,
    meta_json: `{"build":"${STAMP}","commit":"${COMMIT}","version":"1.4.${Math.floor(number / perMeta)}","zone":"eu-1a"}`,
    ttl_seconds: "60",
    last_heartbeat_at: String(1_735_689_600 + (number % 20)),
    created_at: "1735689600",
    endpoints_json: `[{"host":"${host}","network":"${STAMP}","priority":1}]`,
    http_port: "8080",
    grpc_port: "9090",
    updated_at: "1735689600"
  }
}

export const encodeList = (options: ListOptions): Buffer =>
  encodeResponse(Methods.serviceNames.registry, "ListServices", {
    services: Array.from({ length: options.services }, (_, service) => ({
      service: {
        id: String(1_000 + service),
        project: "shop",
        name: `orders-${service}`,
        owner: "team-orders",
        description: "takes orders",
        spec_json: '{"protocol":"http"}',
        created_at: "1735689600",
        updated_at: "1735689600"
      },
      instances: Array.from({ length: options.instancesEach }, (_, index) => instance(service, index, options))
    })),
    total: options.services
  })

/**
 * Gives the list again and again, each time with JSON texts that were never there before: what a first fetch finds, and
 * the dearest case of every later one.
 */
export const renewed = (options: ListOptions): (() => Buffer) => {
  const bytes = encodeList(options)
  const stamps: Array<number> = []
  for (let at = bytes.indexOf(STAMP); at !== -1; at = bytes.indexOf(STAMP, at + STAMP.length)) stamps.push(at)
  let times = 0
  return () => {
    const stamp = Buffer.from(String(++times).padStart(STAMP.length, "0"))
    // Byte by byte: `set` would take longer for all of them than some of the decoders do.
    for (const at of stamps) for (let i = 0; i < STAMP.length; i++) bytes[at + i] = stamp[i] ?? 0
    return bytes
  }
}

export const countInstances = (services: ReadonlyArray<{ readonly instances: ReadonlyArray<unknown> }>): number =>
  services.reduce((sum, { instances }) => sum + instances.length, 0)
