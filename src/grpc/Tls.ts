/** TLS for both sides of the wire, and what a failed handshake means. */
import * as grpc from "@grpc/grpc-js"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as AioConfig from "../schemas/AioConfig.js"
import { AioConfigError, AioRpcError } from "../schemas/AioError.js"
import { StatusCode } from "../schemas/StatusCode.js"
import * as Certificates from "./Certificates.js"

/** What channels are opened with. */
export interface Client {
  readonly isEncrypted: boolean
  readonly credentials: grpc.ChannelCredentials
  readonly serverName: string | undefined
  /** From now on, until the scope closes, hands over new credentials when the files have changed and pass the checks. */
  readonly follow: Certificates.Watched<grpc.ChannelCredentials>["follow"]
}

const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text))

// Each part has parsed: OpenSSL refuses it by its own rules, such as the length of a key.
const accepted = <A>(make: () => A): Either.Either<A, AioConfigError> =>
  Either.try({
    try: make,
    catch: (cause) =>
      new AioConfigError({
        field: "tls",
        problem: `is refused by OpenSSL (${cause instanceof Error && "code" in cause ? cause.code : "unknown reason"})`,
        expected: "certificates and a key that OpenSSL's security level allows"
      })
  })

const checkServerName = (serverName: string | undefined): Either.Either<void, AioConfigError> =>
  serverName === undefined || /^[^\s:/]+$/.test(serverName)
    ? Either.void
    : Either.left(
        new AioConfigError({
          field: "tls.serverName",
          problem: `is ${JSON.stringify(serverName)}`,
          expected: "a host name, without scheme and port"
        })
      )

/**
 * The client's side, plain text by default. Fails with `AioConfigError` that names the field, and the file where there is one.
 */
export const client = (given: boolean | AioConfig.Tls = false): Effect.Effect<Client, AioConfigError> =>
  Effect.gen(function* () {
    if (given === false) {
      const credentials = grpc.credentials.createInsecure()
      return { isEncrypted: false, credentials, serverName: undefined, follow: () => Effect.void }
    }
    const tls: AioConfig.Tls = given === true ? {} : given
    yield* checkServerName(tls.serverName)
    const { follow, initial } = yield* Certificates.load(tls, ({ ca, identity }) =>
      accepted(() =>
        grpc.credentials.createSsl(
          pem(ca),
          pem(identity && Redacted.value(identity.privateKey)),
          pem(identity?.certificate)
        )
      )
    )
    return { isEncrypted: true, credentials: initial, serverName: tls.serverName, follow }
  })

// grpc-js's own credentials keep their first certificates; those of its watcher take files only.
class ChangingServerCredentials extends grpc.ServerCredentials {
  constructor(initial: grpc.ServerCredentials) {
    super(initial._getConstructorOptions(), initial._getSecureContextOptions() ?? {})
  }
  change(next: grpc.ServerCredentials): void {
    this.updateSecureContextOptions(next._getSecureContextOptions())
  }
  override _equals(other: grpc.ServerCredentials): boolean {
    return this === other
  }
}

/**
 * The server's side. Changed certificates are used for new connections, until the scope closes.
 * Fails with `AioConfigError` that names the field, and the file where there is one.
 */
export const server = (tls: AioConfig.ServerTls): Effect.Effect<grpc.ServerCredentials, AioConfigError, Scope.Scope> =>
  Effect.gen(function* () {
    const { follow, initial } = yield* Certificates.load(tls, ({ ca, identity }) =>
      accepted(() =>
        grpc.ServerCredentials.createSsl(
          pem(ca),
          identity === undefined
            ? []
            : [
                {
                  cert_chain: Buffer.from(identity.certificate),
                  private_key: Buffer.from(Redacted.value(identity.privateKey))
                }
              ],
          ca !== undefined
        )
      )
    )
    const credentials = new ChangingServerCredentials(initial)
    yield* follow((changed) => credentials.change(changed))
    return credentials
  })

const SETTING = {
  ca: "tls.ca (AIO_TLS_CA_FILE)",
  identity: "tls.certificate and tls.privateKey (AIO_TLS_CERT_FILE, AIO_TLS_KEY_FILE)",
  serverName: "tls.serverName (AIO_TLS_SERVER_NAME)"
}

const UNCONNECTED = "No connection established. "
const CLOSED = /(established\.|error:|Error:) (Failed to connect|read ECONNRESET|Client network socket disconnected)/

const handshake: ReadonlyArray<readonly [said: RegExp, meant: string]> = [
  [/alert certificate required/, `the server asks for a client certificate: set ${SETTING.identity}`],
  [/alert unrecognized name/, `the server has no certificate for that name: see ${SETTING.serverName}`],
  [/\balert\b/, `the server refused the handshake, and most likely the client certificate: see ${SETTING.identity}`],
  [/ALTNAME_INVALID/, `the server's certificate is for another name: see ${SETTING.serverName}`],
  [/certificate has expired/, "it is the server's certificate, or one that signed it"],
  [
    /certificate is not yet valid/,
    "it is the server's certificate, or one that signed it; or this machine's clock is slow"
  ],
  [
    /unable to (verify|get)|self.signed certificate/,
    `no trusted authority has signed the server's certificate: see ${SETTING.ca}`
  ],
  [/wrong version number|packet length too long/, "the server does not speak TLS"],
  [CLOSED, `the server ended the handshake, as it does when it refuses the client certificate: see ${SETTING.identity}`]
]

const plain: typeof handshake = [
  [CLOSED, "the server closed the connection, as it does when it expects TLS: see tls (AIO_TLS=true)"]
]

/** Adds the cause and the setting to errors of a failed handshake. Other errors stay as they are. */
export const explain = (isEncrypted: boolean): ((error: AioRpcError) => AioRpcError) => {
  const rules = isEncrypted ? handshake : plain
  return (error) => {
    if (error.code !== StatusCode.UNAVAILABLE || !error.details.startsWith(UNCONNECTED)) return error
    const [, meant] = rules.find(([said]) => said.test(error.details)) ?? []
    if (meant === undefined) return error
    return new AioRpcError({ method: error.method, code: error.code, details: `${error.details} (${meant})` })
  }
}
