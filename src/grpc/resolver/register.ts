/** Makes the hooks known to grpc-js, which has one table for the process, and forgets none. */
import * as grpc from "@grpc/grpc-js"
import { Balancer, Config } from "./Balancer.js"
import { policy, Resolver, scheme } from "./Resolver.js"

let isRegistered = false

export const register = (): void => {
  if (isRegistered) return
  isRegistered = true
  grpc.experimental.registerLoadBalancerType(policy, Balancer, Config)
  grpc.experimental.registerResolver(scheme, Resolver)
}

/** The variables of the environment that grpc-js (1.14.7) reads. */
const proxyVariables = ["grpc_proxy", "https_proxy", "http_proxy"]

/** The variable that sends channels to a proxy. grpc-js asks no resolver then: the proxy is sent the target. */
export const proxyVariable = (): string | undefined => proxyVariables.find((name) => process.env[name])

/** What a client of a target `aio:` has to be made with. */
export const channelOptions = { "grpc.enable_http_proxy": 0 } as const
