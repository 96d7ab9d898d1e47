/**
 * The configuration of a client, and how it is read from the environment.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Configs from "../internal/configs.js"
import { AioConfigError } from "./AioError.js"
import type { StaticInstances } from "./StaticInstances.js"
import * as TextFile from "./TextFile.js"

export type { RetryPolicy } from "./RetryPolicy.js"
export type { TokenPolicy } from "./TokenPolicy.js"
export type { Keepalive, Transport } from "./Transport.js"

/**
 * Text in PEM form: a file, which is read again when it changes, or the text itself.
 *
 * @since 0.1.0
 * @category models
 */
export type Pem = { readonly file: string } | { readonly value: string | Redacted.Redacted }

/**
 * A private key in PEM form, without a passphrase: as {@link Pem}, but never as a bare text, which logs would show.
 *
 * @since 0.1.0
 * @category models
 */
export type SecretPem = { readonly file: string } | { readonly value: Redacted.Redacted }

/**
 * How the connection to the registry is encrypted. `{}` is what `true` is.
 *
 * All is checked when the layer is built: what cannot be read, does not parse, does not belong together or has expired
 * is an `AioConfigError`. Files are looked at again every `reloadInterval`: new ones that pass the same checks are used
 * for new connections, and calls in flight end on the old ones; with those that do not, a warning is logged, the former
 * stay in use, and the files are tried again.
 *
 * @since 0.1.0
 * @category models
 */
export interface Tls {
  /** Who may have signed the server's certificate: one certificate or more. Default: the roots that Node trusts. */
  readonly ca?: Pem | undefined
  /** The client's own certificate, followed by its intermediates, for a server that asks for one. Needs `privateKey`. */
  readonly certificate?: Pem | undefined
  readonly privateKey?: SecretPem | undefined
  /** The name that the server's certificate bears, where it is not the host that is dialled. Also the `:authority`. */
  readonly serverName?: string | undefined
  /** How often files are looked at again. Default 30 seconds; more than 0, at most 1 day. */
  readonly reloadInterval?: Duration.DurationInput | undefined
}

/**
 * How a server encrypts. Files are checked and read again as those of {@link Tls}.
 *
 * @since 0.1.0
 * @category models
 */
export interface ServerTls {
  /** The server's certificate, followed by its intermediates. */
  readonly certificate: Pem
  readonly privateKey: SecretPem
  /** Where given, clients must present a certificate that one of these has signed. */
  readonly ca?: Pem | undefined
  /** How often files are looked at again. Default 30 seconds; more than 0, at most 1 day. */
  readonly reloadInterval?: Duration.DurationInput | undefined
}

/**
 * What every client is told, whether it authenticates or not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Common {
  /** `host:port`, or several separated by commas (or as a list). */
  readonly address: string | ReadonlyArray<string>
  /** The env that instances are registered in and looked for, unless a call names another. 1 to 32 characters. */
  readonly env: string
  /**
   * Allows key, secret and token to travel in plain text to an address that is not on loopback: the setting for a trusted
   * network, since AIO's servers have no TLS of their own. Default `false`.
   */
  readonly allowInsecure?: boolean | undefined
  /** Encrypts: `true` with the roots that Node trusts, or see {@link Tls}. Default `false`, plain text. */
  readonly tls?: boolean | Tls | undefined
  /** How long one call may take, the token and all attempts included. Default 30 seconds. */
  readonly deadline?: Duration.DurationInput | undefined
  /** How long what discovery has learnt is fresh. Default 30 seconds; 1 second to 1 day. */
  readonly refreshInterval?: Duration.DurationInput | undefined
  /**
   * What the platform's other SDKs do about instances that fail: one failure of any kind puts an instance aside for this
   * long. Default: finer judgement, by `tuning.outlier`. 0 (never) to 1 day.
   */
  readonly cooldown?: Duration.DurationInput | undefined
  /**
   * Services that are served as given here, and not looked up: `shop/payments=127.0.0.1:8080`, several separated by commas,
   * or a list of instances. Default none.
   */
  readonly static?: StaticInstances | undefined
}

/**
 * A client that authenticates: the usual one.
 *
 * @since 0.1.0
 * @category models
 */
export interface WithToken extends Common {
  readonly auth?: "token" | undefined
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientKey: string | Effect.Effect<string, AioConfigError>
  /** A value, or an effect that is run for each authentication (see `Credentials`). */
  readonly clientSecret: Redacted.Redacted | Effect.Effect<Redacted.Redacted, AioConfigError>
}

/**
 * A client of a registry that runs without authentication.
 *
 * @since 0.1.0
 * @category models
 */
export interface WithoutToken extends Common {
  readonly auth: "disabled"
}

/**
 * @since 0.1.0
 * @category models
 */
export type AioConfig = WithToken | WithoutToken

/**
 * The defaults of all that may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export const defaults = {
  allowInsecure: false,
  tls: false,
  deadline: Duration.seconds(30),
  refreshInterval: Duration.seconds(30)
} as const

/**
 * Each key of the environment, its short form where AIO's users export that already, and what it is.
 *
 * @since 0.1.0
 * @category models
 */
export const environment = {
  address: { names: ["AIO_REGISTRY_ADDR", "REGISTRY_ADDR"], description: "host:port, or several separated by commas" },
  clientKey: { names: ["AIO_CLIENT_KEY", "CLIENT_KEY"], description: "the client key that the control plane issued" },
  clientSecret: {
    names: ["AIO_CLIENT_SECRET", "CLIENT_SECRET"],
    description: "the client secret that the control plane issued"
  },
  clientKeyFile: {
    names: ["AIO_CLIENT_KEY_FILE"],
    description: "a file with the client key, read for each authentication; goes before AIO_CLIENT_KEY"
  },
  clientSecretFile: {
    names: ["AIO_CLIENT_SECRET_FILE"],
    description: "a file with the client secret, read for each authentication; goes before AIO_CLIENT_SECRET"
  },
  env: { names: ["AIO_ENV"], description: "the env to register in and to look in, for example dev or prod" },
  auth: { names: ["AIO_AUTH"], description: "token (the default), or disabled for a registry without authentication" },
  allowInsecure: {
    names: ["AIO_ALLOW_INSECURE"],
    description: "true inside a trusted network: credentials may travel in plain text to a host that is not loopback"
  },
  tls: {
    names: ["AIO_TLS"],
    description: "true to encrypt, which any other AIO_TLS_ key implies; false for plain text whatever they say"
  },
  tlsCa: {
    names: ["AIO_TLS_CA_FILE"],
    description: "a PEM file with who may have signed the server's certificate; the roots that Node trusts if not set"
  },
  tlsCertificate: {
    names: ["AIO_TLS_CERT_FILE"],
    description: "a PEM file with the client's own certificate, for a server that asks for one"
  },
  tlsPrivateKey: { names: ["AIO_TLS_KEY_FILE"], description: "a PEM file with the key of AIO_TLS_CERT_FILE" },
  tlsServerName: {
    names: ["AIO_TLS_SERVER_NAME"],
    description: "the name that the server's certificate bears, where it is not the host that is dialled"
  },
  deadline: { names: ["AIO_DEADLINE"], description: "how long one call may take, for example 10 seconds" },
  refreshInterval: {
    names: ["AIO_REFRESH_INTERVAL"],
    description: "how long what discovery has learnt is fresh, for example 30 seconds"
  },
  cooldown: {
    names: ["AIO_COOLDOWN"],
    description: "how long an instance that was reported as failed is left alone, for example 30 seconds"
  },
  static: {
    names: ["AIO_STATIC"],
    description:
      "services that are not looked up, for example shop/payments=127.0.0.1:8080, several separated by commas"
  }
} as const

const key = <A>(
  of: { readonly names: readonly [string, ...ReadonlyArray<string>]; readonly description: string },
  make: (name: string) => Config.Config<A>
): Config.Config<A> => {
  const [first, ...others] = of.names
  return others
    .reduce<Config.Config<A>>((config, name) => Configs.orIfMissing(config, make(name)), make(first))
    .pipe(Configs.described(of.description))
}

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const file = (name: string) => Config.map(Config.nonEmptyString(name), (path) => ({ file: path }))

const tls: Config.Config<boolean | Tls | undefined> = Config.map(
  Config.all({
    isOn: optional(key(environment.tls, Config.boolean)),
    ca: optional(key(environment.tlsCa, file)),
    certificate: optional(key(environment.tlsCertificate, file)),
    privateKey: optional(key(environment.tlsPrivateKey, file)),
    serverName: optional(key(environment.tlsServerName, Config.nonEmptyString))
  }),
  ({ isOn, ...rest }) => (isOn === false || Object.values(rest).every((value) => value === undefined) ? isOn : rest)
)

const keyFile = key(environment.clientKeyFile, Config.nonEmptyString)
const secretFile = key(environment.clientSecretFile, Config.nonEmptyString)

// The file first: a container that mounts one may well inherit the other.
const clientKey = Configs.orIfMissing(
  Config.map(keyFile, TextFile.keyFromFile),
  key(environment.clientKey, Config.nonEmptyString)
)
const clientSecret = Configs.orIfMissing(
  Config.map(secretFile, TextFile.secretFromFile),
  key(environment.clientSecret, (name) => Config.redacted(name))
)

/**
 * What may be given in place of what the environment says.
 *
 * @since 0.1.0
 * @category models
 */
export type Overrides = Partial<Omit<WithToken, "auth">> & { readonly auth?: "token" | "disabled" | undefined }

const or = <A>(given: A | undefined, config: Config.Config<A>): Config.Config<A> =>
  given === undefined ? config : Config.succeed(given)

const required = <A>(
  value: A | undefined,
  { description, names }: { readonly names: readonly [string, ...ReadonlyArray<string>]; readonly description: string }
) => (value === undefined ? Either.left(Configs.missing(names[0], description)) : Either.right(value))

/**
 * {@link config}, but for what is given here: its keys are not read.
 *
 * @since 0.1.0
 * @category config
 */
export const configWith = (given: Overrides): Config.Config<AioConfig> =>
  Config.mapOrFail(
    Config.all({
      auth: or(given.auth, Config.withDefault(key(environment.auth, Configs.oneOf("token", "disabled")), "token")),
      address: or(given.address, key(environment.address, Config.nonEmptyString)),
      env: or(given.env, key(environment.env, Config.nonEmptyString)),
      allowInsecure: or(given.allowInsecure, optional(key(environment.allowInsecure, Config.boolean))),
      tls: or(given.tls, tls),
      deadline: or(given.deadline, optional(key(environment.deadline, Config.duration))),
      refreshInterval: or(given.refreshInterval, optional(key(environment.refreshInterval, Config.duration))),
      cooldown: or(given.cooldown, optional(key(environment.cooldown, Config.duration))),
      static: or(given.static, optional(key(environment.static, Config.string))),
      clientKey: or(given.clientKey, optional(clientKey)),
      clientSecret: or(given.clientSecret, optional(clientSecret))
    }),
    ({ auth, clientKey, clientSecret, ...common }): Either.Either<AioConfig, Configs.ConfigError> =>
      auth === "disabled"
        ? Either.right({ ...common, auth })
        : Either.map(
            Either.all({
              clientKey: required(clientKey, environment.clientKey),
              clientSecret: required(clientSecret, environment.clientSecret)
            }),
            (credentials) => ({ ...common, ...credentials })
          )
  )

/**
 * The configuration as Effect's `Config`, for any `ConfigProvider`.
 *
 * @since 0.1.0
 * @category config
 */
export const config: Config.Config<AioConfig> = configWith({})

const keyNames: ReadonlyArray<{ readonly names: ReadonlyArray<string>; readonly description: string }> =
  Object.values(environment)

/**
 * A `ConfigError` as one clear sentence: which key, and what it should hold. The offending value is not shown, since it may
 * be a secret in the wrong place.
 *
 * @since 0.1.0
 * @category config
 */
export const toAioConfigError = (error: Configs.ConfigError): AioConfigError => {
  const problem = Configs.firstProblem(error)
  const name = problem?.path.join(".") ?? "configuration"
  const known = keyNames.find(({ names }) => names.includes(name))
  return new AioConfigError({
    field: known?.names[0] ?? name,
    problem: problem?.missing === true ? "is not set" : "cannot be read",
    expected: known?.description ?? "a value"
  })
}
