/** Which calls need a token, and where it is looked for. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Methods from "../grpc/Methods.js"
import type * as ServerHost from "../grpc/server/ServerHost.js"
import { StatusCode } from "../schemas/StatusCode.js"
import type { Tokens } from "./Tokens.js"

export const unauthenticated = (details: string) =>
  Effect.fail<ServerHost.Failure>({ code: StatusCode.UNAUTHENTICATED, details })

// `authorization` first, then `token`; with or without "Bearer ", in any case. Of several values the first counts.
const tokenIn = (headers: ServerHost.Headers): string => {
  const value = [headers("authorization")[0], headers("token")[0]].find((text) => text) ?? ""
  return value.replace(/^bearer(?: |$)/i, "")
}

const needsNoToken = (path: string): boolean =>
  path === Methods.auth.authenticateClient.path || path.startsWith("/grpc.reflection.v1alpha.")

/** Lets a call through that carries a good token, or needs none. */
export const guard =
  (tokens: Tokens): ServerHost.Guard =>
  (path, headers) => {
    if (needsNoToken(path)) return Effect.void
    const token = tokenIn(headers)
    if (token === "") return unauthenticated("缺少认证令牌")
    return Effect.flatMap(tokens.verify(token), (clientId) =>
      Option.isSome(clientId) ? Effect.void : unauthenticated("无效的认证令牌")
    )
  }
