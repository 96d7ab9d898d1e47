/** The hook of grpc-js for targets of a scheme: follows a target, and tells its addresses to the channel. */
import * as grpc from "@grpc/grpc-js"
import { StatusCode } from "../../schemas/StatusCode.js"
import * as Callbacks from "../Callbacks.js"
import * as ServiceConfig from "./ServiceConfig.js"
import * as Targets from "./Targets.js"

const { SUBCHANNEL_ARGS_EXCLUDE_KEY_PREFIX, splitHostPort, statusOrFromError, statusOrFromValue } = grpc.experimental

export const scheme = "aio"
export const policy = "aio_instances"

/** Without the prefix, a channel would make its connections anew whenever the object is another one. */
export const instancesKey = `${SUBCHANNEL_ARGS_EXCLUDE_KEY_PREFIX}.aio.instances`

type Constructor = Parameters<typeof grpc.experimental.registerResolver>[1]
type Uri = ConstructorParameters<Constructor>[0]
type Listener = ConstructorParameters<Constructor>[1]

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const targetOf = ({ path }: Uri): Targets.Target | undefined => {
  const [project, service, ...more] = path.split("/").map(decoded)
  return project && service && more.length === 0 ? { project, service } : undefined
}

const endpointOf = (address: string): grpc.experimental.Endpoint => {
  const { host, port = 0 } = splitHostPort(address) ?? { host: address }
  return { addresses: [{ host, port }] }
}

export class Resolver implements grpc.experimental.Resolver {
  /** With a `/`, or what else no host has, HTTP/2 refuses every call. TLS takes it for the name of the server. */
  static getDefaultAuthority(uri: Uri): string {
    return (
      decoded(uri.path)
        ?.replace(/[^A-Za-z0-9._/-]/g, "-")
        .replaceAll("/", ".") ?? scheme
    )
  }

  private readonly name: string
  private readonly target: Targets.Target | undefined
  private readonly config: grpc.ServiceConfig
  private stop: (() => void) | undefined = undefined
  private told: Targets.State | undefined = undefined
  private isTelling = false

  constructor(
    private readonly uri: Uri,
    private readonly listener: Listener,
    options: grpc.ChannelOptions
  ) {
    this.name = uri.authority ?? ""
    this.target = targetOf(uri)
    this.config = ServiceConfig.make(policy, options)
  }

  /** Only the first of these begins: later ones are hints, and an answer to each would be asked for again at once. */
  updateResolution(): void {
    if (this.stop !== undefined) return
    this.stop = () => undefined
    const { name, target } = this
    if (target === undefined) {
      const shown = grpc.experimental.uriToString(this.uri)
      this.tell({ _tag: "Failed", details: `"${shown}" is no target: ${scheme}:///project/service` })
    } else this.stop = Targets.follow(name, target, (state) => this.tell(state))
  }

  destroy(): void {
    this.stop?.()
    this.stop = undefined
    this.told = undefined
  }

  // grpc-js asks that it is never told within its own call.
  private tell(state: Targets.State): void {
    this.told = state
    if (this.isTelling) return
    this.isTelling = true
    const toldLater = Callbacks.of(() => {
      this.isTelling = false
      if (this.told !== undefined && this.stop !== undefined) this.hand(this.told)
    }, Targets.onThrowOf(this.name))
    queueMicrotask(toldLater)
  }

  private hand(state: Targets.State): void {
    const config = statusOrFromValue(this.config)
    if (state._tag === "Failed") {
      // Any code that an instance could give, callers would see as `INTERNAL`.
      const error = { code: StatusCode.UNAVAILABLE, details: state.details }
      this.listener(statusOrFromError(error), {}, config, state.details)
    } else {
      const endpoints = state.addresses.map(endpointOf)
      this.listener(statusOrFromValue(endpoints), { [instancesKey]: state.instances }, config, "")
    }
  }
}
