/** What `host: "auto"` stands for. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Logs from "../../internal/logs.js"
import * as Address from "../../schemas/Address.js"
import { AioConfigError } from "../../schemas/AioError.js"
import type { RegistryError } from "../../services/Registry.js"

const names = ["POD_IP", "HOST_IP"] as const

const read = (name: (typeof names)[number]) =>
  Effect.mapError(
    Config.option(Config.string(name)),
    () =>
      new AioConfigError({ field: name, problem: "cannot be read", expected: "the address that others reach us at" })
  )

/** `localHost` is the address on the way to the registry. Logs what it has found, once. */
export const make = (localHost: Effect.Effect<string, RegistryError>) => {
  let isLogged = false
  const log = (host: string, source: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (isLogged) return Effect.void
      isLogged = true
      return Logs.info(`host "auto" is ${host}: ${source}`)
    })
  return {
    /** From the environment. Fails with `AioConfigError` for a value that cannot be read. */
    configured: Effect.gen(function* () {
      for (const name of names) {
        const host = Option.getOrElse(yield* read(name), () => "").trim()
        // A loopback address is of no use elsewhere. If the registry is on loopback, `local` says the same.
        if (host === "" || Address.isLoopback(host)) continue
        yield* log(host, name)
        return host
      }
      return undefined
    }),
    /** The address of this machine on the way to the registry. */
    local: Effect.tap(localHost, (host) => log(host, "the address of this machine on the way to the registry"))
  }
}
