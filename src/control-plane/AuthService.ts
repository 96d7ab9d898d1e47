/** `ClientAuthService`: credentials become a token, a token becomes a later one. And which calls need a token. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { auth, registry } from "../grpc/Methods.js"
import * as ServerHost from "../grpc/server/ServerHost.js"
import * as PlaneLimits from "../schemas/PlaneLimits.js"
import { StatusCode } from "../schemas/StatusCode.js"
import type * as Messages from "../wire/Messages.js"
import type { AroundRpcs } from "./Around.js"
import * as Clients from "./Clients.js"
import type { Tokens } from "./Tokens.js"
import type { WrongSecrets } from "./WrongSecrets.js"

export interface Options {
  readonly clients: Clients.Clients
  readonly tokens: Tokens
  readonly isDatabaseDown: Effect.Effect<boolean>
  readonly limits: PlaneLimits.CheckedLimits
  readonly wrongSecrets: WrongSecrets
}

const fail = (code: number, details: string) => Effect.fail<ServerHost.Failure>({ code, details })

const unauthenticated = (details: string) => fail(StatusCode.UNAUTHENTICATED, details)

const slowDown = ({ limits, wrongSecrets }: Options, clientKey: string, address: string) =>
  Effect.acquireUseRelease(
    Effect.map(Clock.currentTimeMillis, (now) => wrongSecrets.turn(clientKey, address, now)),
    (turn) =>
      turn === undefined
        ? PlaneLimits.exceeded("too many secrets wait to be checked", "waitingAuthentications", limits)
        : Effect.sleep(turn.wait),
    (turn, exit) => Effect.sync(() => turn?.left(Exit.isSuccess(exit)))
  )

const authenticate = Effect.fnUntraced(function* (
  options: Options,
  request: Messages.AuthenticateClientRequest,
  { address, known }: ServerHost.Caller
) {
  const { client_key = "", client_secret = "" } = request
  const tooLong =
    PlaneLimits.longer("client_key", client_key, "clientKeyBytes", options.limits) ??
    PlaneLimits.longer("client_secret", client_secret, "clientSecretBytes", options.limits)
  if (tooLong !== undefined) return yield* tooLong
  if (client_key === "" || client_secret === "") {
    return yield* fail(StatusCode.INVALID_ARGUMENT, "客户端 key 和 secret 不能为空")
  }
  if (yield* options.isDatabaseDown) return yield* fail(StatusCode.INTERNAL, "认证失败")
  const isRight = options.wrongSecrets.isRight(client_key, address, client_secret)
  if (!isRight) yield* slowDown(options, client_key, address)
  const client = yield* options.clients.authenticate(client_key, client_secret)
  if (Option.isNone(client)) {
    if (isRight) options.wrongSecrets.replaced(client_key, address)
    options.wrongSecrets.refused(client_key, address, yield* Clock.currentTimeMillis)
    return yield* unauthenticated("客户端凭证无效")
  }
  options.wrongSecrets.accepted(client_key, address, client_secret)
  known()
  return yield* options.tokens.issue(client.value)
})

// The real handler reads the header a second time, and more strictly than the check before it.
const renew = Effect.fnUntraced(function* (options: Options, { headers }: ServerHost.Caller) {
  const value = headers("authorization")[0] ?? ""
  if (value === "") return yield* unauthenticated("缺少 authorization header")
  const clientId = yield* options.tokens.verify(value.replace(/^Bearer /, ""))
  if (Option.isNone(clientId)) return yield* unauthenticated("无效的 token")
  if (yield* options.isDatabaseDown) return yield* fail(StatusCode.INTERNAL, "查询客户端失败")
  const client = yield* options.clients.find(clientId.value)
  if (Option.isNone(client)) return yield* unauthenticated("客户端不存在")
  if (!(yield* Clients.isActive(client.value))) {
    return yield* fail(StatusCode.PERMISSION_DENIED, "客户端已被禁用或过期")
  }
  return yield* options.tokens.issue(client.value)
})

export const handlers = (options: Options, around?: AroundRpcs): ReadonlyArray<ServerHost.Handler> => [
  ServerHost.unary(
    auth.authenticateClient,
    (request, caller) => authenticate(options, request, caller),
    around?.("authenticateClient")
  ),
  ServerHost.unary(auth.renewToken, (_, caller) => renew(options, caller), around?.("renewToken"))
]

// `authorization` first, then `token`; with or without "Bearer ", in any case. Of several values the first counts.
const tokenIn = (headers: ServerHost.Headers): string => {
  const value = [headers("authorization")[0], headers("token")[0]].find((text) => text) ?? ""
  return value.replace(/^bearer(?: |$)/i, "")
}

const needsNoToken = (path: string): boolean =>
  path === auth.authenticateClient.path || path.startsWith("/grpc.reflection.v1alpha.")

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

// Beside JSON a request has some names and addresses.
const OTHER_BYTES = 64 * 1_024

/** What clients may hold: next to nothing until a token was good. */
export const connections = (tokens: Tokens, limits: PlaneLimits.CheckedLimits): ServerHost.Options["connections"] => {
  const messageBytes = 2 * limits.jsonBytes + OTHER_BYTES
  const credentialBytes = limits.clientKeyBytes + limits.clientSecretBytes + 64
  const credentials = PlaneLimits.refusal("client_key or client_secret is too long", "clientKeyBytes", limits)
  // Beside the key a heartbeat has two tags, a length and an id.
  const heartbeatBytes = limits.instanceKeyBytes + 15
  const heartbeat = PlaneLimits.refusal("instance_key is too long", "instanceKeyBytes", limits)
  const request = PlaneLimits.refusal("the request is too long", "jsonBytes", limits)
  const stranger = { code: StatusCode.UNAUTHENTICATED, details: "无效的认证令牌" }
  return {
    limits,
    messageBytes,
    requestBytes: (path, isKnown) => {
      if (path === auth.authenticateClient.path) return [credentialBytes, credentials]
      if (path === registry.heartbeatStream.path && isKnown) return [heartbeatBytes, heartbeat]
      return isKnown ? [messageBytes, request] : [credentialBytes, stranger]
    },
    recognise: (headers) => Effect.map(tokens.verify(tokenIn(headers)), Option.isSome)
  }
}
