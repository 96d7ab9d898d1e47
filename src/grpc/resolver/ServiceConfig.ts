/** The service config that comes with the addresses: the client's own, with our load-balancing policy. */
import type * as grpc from "@grpc/grpc-js"

/** As grpc-js takes it, and has accepted it when it made the channel. */
interface Given {
  readonly methodConfig?: ReadonlyArray<GivenMethod>
  readonly retryThrottling?: grpc.ServiceConfig["retryThrottling"]
}

interface GivenMethod extends Omit<grpc.MethodConfig, "timeout"> {
  readonly timeout?: string | { readonly seconds: number; readonly nanos: number }
}

/** grpc-js (1.14.7) takes the 5 of "0.5s" for nanoseconds. */
const durationOf = (text: string): { readonly seconds: number; readonly nanos: number } => {
  const [seconds = "0", fraction = ""] = text.slice(0, -1).split(".")
  return { seconds: Number(seconds), nanos: Number(fraction.padEnd(9, "0")) }
}

const methodOf = ({ timeout, ...method }: GivenMethod): grpc.MethodConfig =>
  timeout === undefined
    ? method
    : { ...method, timeout: typeof timeout === "string" ? durationOf(timeout) : { ...timeout } }

/**
 * grpc-js drops the client's config where a resolver gives one: retries, limits and throttling are kept here. Its choice of a
 * policy is not: that of a target `aio:` is ours.
 */
export const make = (policy: string, options: grpc.ChannelOptions): grpc.ServiceConfig => {
  const text = options["grpc.service_config"]
  const given: Given = text === undefined ? {} : JSON.parse(text)
  const { methodConfig, retryThrottling } = given
  return {
    loadBalancingConfig: [{ [policy]: {} }],
    methodConfig: Array.isArray(methodConfig) ? methodConfig.map(methodOf) : [],
    ...(retryThrottling === undefined ? {} : { retryThrottling })
  }
}
