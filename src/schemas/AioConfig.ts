/**
 * The configuration of a client, and how it is read from the environment.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Configs from "../internal/configs.js"
import * as Durations from "../internal/durations.js"
import { AioConfigError } from "./AioError.js"
import * as Options from "./Options.js"
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
  /** The key of `certificate`, without a passphrase. */
  readonly privateKey?: SecretPem | undefined
  /** The name that the server's certificate bears; also the `:authority`. Default: the host that is dialled. */
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
  /**
   * `host:port`, or several separated by commas (or as a list): calls go round-robin over those that can be reached,
   * starting at a random one.
   */
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
  /** How long one call may take, the token and all attempts included. Default 30 seconds; more than 0, at most 1 day. */
  readonly deadline?: Duration.DurationInput | undefined
  /**
   * How long a view is fresh; then it is fetched again, without being asked for, this times U[0.9, 1.1] after the last
   * answer. A refresh that fails is tried again after 1 s, 2 s, 4 s … 60 s. Default 30 seconds; 1 second to 1 day.
   */
  readonly refreshInterval?: Duration.DurationInput | undefined
  /**
   * What the platform's other SDKs do, instead of `tuning.outlier`: one failure of any kind ejects an instance for this
   * long, without a probe. 0 (never) to 1 day.
   */
  readonly cooldown?: Duration.DurationInput | undefined
  /**
   * Services that are served as given here and marked so (`Static`), whatever the registry says of them, in every env:
   * `shop/payments=127.0.0.1:8080`, several separated by commas, or a list of instances. The registry is not asked for them.
   * Default none.
   */
  readonly static?: StaticInstances | undefined
  /**
   * Whether background work is traced: refreshes of views, the token, leases, probes and health checks. Each of its calls is a
   * trace of its own then. Default `false`: a process without work would begin one every few seconds.
   */
  readonly backgroundSpans?: boolean | undefined
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

const text: (text: string) => Option.Option<string> = Option.some

const file = (path: string) => Option.some({ file: path })

// The words that Effect's own `Config.boolean` knows.
const boolean = (text: string) =>
  /^(true|yes|on|1)$/i.test(text)
    ? Option.some(true)
    : Option.liftPredicate(false, () => /^(false|no|off|0)$/i.test(text))

const auth = (text: string) =>
  text === "token" || text === "disabled" ? Option.some<"token" | "disabled">(text) : Option.none()

/**
 * Each option that the environment may give: its keys, the short form where AIO's users export that already, what it is, and
 * its default and bounds where it has them.
 *
 * @since 0.1.0
 * @category models
 */
export const environment = {
  address: Options.key(["AIO_REGISTRY_ADDR", "REGISTRY_ADDR"], "host:port, or several separated by commas", text),
  clientKey: Options.key(["AIO_CLIENT_KEY", "CLIENT_KEY"], "the client key that the control plane issued", text),
  clientSecret: Options.key(
    ["AIO_CLIENT_SECRET", "CLIENT_SECRET"],
    "the client secret that the control plane issued",
    (text) => Option.some(Redacted.make(text))
  ),
  clientKeyFile: Options.key(
    ["AIO_CLIENT_KEY_FILE"],
    "a file with the client key, read for each authentication; goes before AIO_CLIENT_KEY",
    (path) => Option.some(TextFile.keyFromFile(path))
  ),
  clientSecretFile: Options.key(
    ["AIO_CLIENT_SECRET_FILE"],
    "a file with the client secret, read for each authentication; goes before AIO_CLIENT_SECRET",
    (path) => Option.some(TextFile.secretFromFile(path))
  ),
  env: Options.key(["AIO_ENV"], "the env to register in and to look in, such as dev or prod", text),
  auth: Options.key(["AIO_AUTH"], "token (the default), or disabled for a registry without authentication", auth),
  allowInsecure: {
    ...Options.toggle(false),
    ...Options.key(
      ["AIO_ALLOW_INSECURE"],
      "true inside a trusted network: credentials may travel in plain text to a host that is not on loopback",
      boolean
    )
  },
  tls: {
    ...Options.toggle(false),
    ...Options.key(
      ["AIO_TLS"],
      "true to encrypt, which any other AIO_TLS_ key implies; false for plain text whatever they say",
      boolean
    )
  },
  tlsCa: Options.key(
    ["AIO_TLS_CA_FILE"],
    "a PEM file with who may have signed the server's certificate; the roots that Node trusts if not set",
    file
  ),
  tlsCertificate: Options.key(
    ["AIO_TLS_CERT_FILE"],
    "a PEM file with the client's own certificate, for a server that asks for one",
    file
  ),
  tlsPrivateKey: Options.key(["AIO_TLS_KEY_FILE"], "a PEM file with the key of AIO_TLS_CERT_FILE", file),
  tlsServerName: Options.key(
    ["AIO_TLS_SERVER_NAME"],
    "the name that the server's certificate bears, where it is not the host that is dialled",
    text
  ),
  deadline: {
    ...Options.duration("30 seconds"),
    ...Options.key(
      ["AIO_DEADLINE"],
      "how long one call may take, the token and all attempts included, for example 10 seconds",
      Durations.decode
    )
  },
  refreshInterval: {
    // Not below the floor between two fetches: a view could not be fresher.
    ...Options.duration("30 seconds", 1_000),
    ...Options.key(
      ["AIO_REFRESH_INTERVAL"],
      "how long what discovery knows is fresh, for example 30 seconds",
      Durations.decode
    )
  },
  cooldown: Options.key(
    ["AIO_COOLDOWN"],
    "how long one failure of any kind ejects an instance: 0 to 1 day, for example 30 seconds",
    Durations.decode
  ),
  static: Options.key(
    ["AIO_STATIC"],
    "services that are not looked up, such as shop/payments=127.0.0.1:8080, separated by commas",
    text
  )
} as const

/**
 * The defaults of all that may be left out.
 *
 * @since 0.1.0
 * @category models
 */
export const defaults = Options.defaults({
  allowInsecure: environment.allowInsecure,
  tls: environment.tls,
  deadline: environment.deadline,
  refreshInterval: environment.refreshInterval
})

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const optionalKey = <A>(key: Options.Key<A>): Config.Config<A | undefined> => optional(Options.config(key))

const tls: Config.Config<boolean | Tls | undefined> = Config.map(
  Config.all({
    isOn: optionalKey(environment.tls),
    ca: optionalKey(environment.tlsCa),
    certificate: optionalKey(environment.tlsCertificate),
    privateKey: optionalKey(environment.tlsPrivateKey),
    serverName: optionalKey(environment.tlsServerName)
  }),
  ({ isOn, ...rest }) => (isOn === false || Object.values(rest).every((value) => value === undefined) ? isOn : rest)
)

/** The file first: a container that mounts one may well inherit the other. */
const fileFirst = <A, B>(file: Options.Key<A>, value: Options.Key<B>): Config.Config<A | B | undefined> =>
  optional(Configs.orIfMissing(Options.config(file), Options.config(value)))

/**
 * What may be given in place of what the environment says.
 *
 * @since 0.1.0
 * @category models
 */
export type Overrides = Partial<Omit<WithToken, "auth">> & { readonly auth?: "token" | "disabled" | undefined }

const or = <A>(given: A | undefined, config: Config.Config<A>): Config.Config<A> =>
  given === undefined ? config : Config.succeed(given)

const required = <A>(value: A | undefined, { description, names }: Options.Key<unknown>) =>
  value === undefined ? Either.left(Configs.missing(names[0], description)) : Either.right(value)

/**
 * {@link config}, but for what is given here: its keys are not read.
 *
 * @since 0.1.0
 * @category config
 */
export const configWith = (given: Overrides): Config.Config<AioConfig> =>
  Configs.mapOrFail(
    Config.all({
      auth: or(given.auth, Config.withDefault(Options.config(environment.auth), "token")),
      address: or(given.address, Options.config(environment.address)),
      env: or(given.env, Options.config(environment.env)),
      allowInsecure: or(given.allowInsecure, optionalKey(environment.allowInsecure)),
      tls: or(given.tls, tls),
      deadline: or(given.deadline, optionalKey(environment.deadline)),
      refreshInterval: or(given.refreshInterval, optionalKey(environment.refreshInterval)),
      cooldown: or(given.cooldown, optionalKey(environment.cooldown)),
      static: or(given.static, optionalKey(environment.static)),
      clientKey: or(given.clientKey, fileFirst(environment.clientKeyFile, environment.clientKey)),
      clientSecret: or(given.clientSecret, fileFirst(environment.clientSecretFile, environment.clientSecret))
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

const keys: ReadonlyArray<Options.Key<unknown>> = Object.values(environment)

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
  const known = keys.find(({ names }) => names.includes(name))
  return new AioConfigError({
    field: known?.names[0] ?? name,
    problem: problem?.missing === true ? "is not set" : "cannot be read",
    expected: known?.description ?? "a value"
  })
}
