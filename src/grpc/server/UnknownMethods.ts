/** Answers calls of unknown methods as grpc-go does: clients tell an old server by this text. */
import type * as Grpc from "@grpc/grpc-js"
import { StatusCode } from "../../schemas/StatusCode.js"

const details = (path: string, services: ReadonlySet<string>): string => {
  const slash = path.lastIndexOf("/")
  const service = path.slice(1, slash)
  return services.has(service)
    ? `unknown method ${path.slice(slash + 1)} for service ${service}`
    : `unknown service ${service}`
}

const unimplemented = (path: string, services: ReadonlySet<string>) => ({
  path,
  // Bidirectional, so that the answer waits for no request.
  type: "bidi",
  serialize: (message: Buffer) => message,
  deserialize: (bytes: Buffer) => bytes,
  func: (call: Grpc.ServerDuplexStream<Buffer, Buffer>) =>
    void call.emit("error", { code: StatusCode.UNIMPLEMENTED, details: details(path, services) })
})

/**
 * grpc-js has no public hook for unknown methods, and so the method that looks a handler up is replaced. Where a later
 * grpc-js names it otherwise, nothing is replaced, and its own text is answered under the same code.
 */
export const failUnknownMethods = (server: Grpc.Server, services: ReadonlySet<string>): void => {
  const lookUp: unknown = Reflect.get(server, "_retrieveHandler")
  if (typeof lookUp !== "function") return
  Object.defineProperty(server, "_retrieveHandler", {
    value: (path: string) => Reflect.apply(lookUp, server, [path]) ?? unimplemented(path, services)
  })
}
