/**
 * The configuration of a client, and how it is read from the environment.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { AioConfigError } from "./AioError.js"

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
  /** How long one call may take, the token and all attempts included. Default 30 seconds. */
  readonly deadline?: Duration.DurationInput | undefined
  /** How long what discovery has learnt is fresh. Default 30 seconds; 1 second to 1 day. */
  readonly refreshInterval?: Duration.DurationInput | undefined
  /** How long an instance that was reported as failed is left alone. Default 30 seconds; 0 (never) to 1 day. */
  readonly cooldown?: Duration.DurationInput | undefined
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
  deadline: Duration.seconds(30),
  refreshInterval: Duration.seconds(30),
  cooldown: Duration.seconds(30)
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
  env: { names: ["AIO_ENV"], description: "the env to register in and to look in, for example dev or prod" },
  auth: { names: ["AIO_AUTH"], description: "token (the default), or disabled for a registry without authentication" },
  allowInsecure: {
    names: ["AIO_ALLOW_INSECURE"],
    description: "true inside a trusted network: credentials may travel in plain text to a host that is not loopback"
  },
  deadline: { names: ["AIO_DEADLINE"], description: "how long one call may take, for example 10 seconds" },
  refreshInterval: {
    names: ["AIO_REFRESH_INTERVAL"],
    description: "how long what discovery has learnt is fresh, for example 30 seconds"
  },
  cooldown: {
    names: ["AIO_COOLDOWN"],
    description: "how long an instance that was reported as failed is left alone, for example 30 seconds"
  }
} as const

const key = <A>(
  of: { readonly names: readonly [string, ...ReadonlyArray<string>]; readonly description: string },
  make: (name: string) => Config.Config<A>
): Config.Config<A> => {
  const [first, ...others] = of.names
  return others
    .reduce<Config.Config<A>>(
      (config, name) => Config.orElseIf(config, { if: ConfigError.isMissingDataOnly, orElse: () => make(name) }),
      make(first)
    )
    .pipe(Config.withDescription(of.description))
}

const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

const common = {
  address: key(environment.address, Config.nonEmptyString),
  env: key(environment.env, Config.nonEmptyString),
  allowInsecure: optional(key(environment.allowInsecure, Config.boolean)),
  deadline: optional(key(environment.deadline, Config.duration)),
  refreshInterval: optional(key(environment.refreshInterval, Config.duration)),
  cooldown: optional(key(environment.cooldown, Config.duration))
}

const auth: Config.Config<"token" | "disabled"> = Config.withDefault(
  key(environment.auth, (name) => Config.literal("token", "disabled")(name)),
  "token"
)

const withToken: Config.Config<WithToken> = Config.all({
  ...common,
  clientKey: key(environment.clientKey, Config.nonEmptyString),
  clientSecret: key(environment.clientSecret, (name) => Config.redacted(name))
})

const withoutToken: Config.Config<WithoutToken> = Config.all({
  ...common,
  auth: Config.succeed("disabled" as const)
})

/**
 * The configuration as Effect's `Config`, for any `ConfigProvider`.
 *
 * @since 0.1.0
 * @category config
 */
export const config: Effect.Effect<AioConfig, ConfigError.ConfigError> = Effect.flatMap(
  auth,
  (chosen): Effect.Effect<AioConfig, ConfigError.ConfigError> => (chosen === "disabled" ? withoutToken : withToken)
)

const firstProblem = (
  error: ConfigError.ConfigError
): { readonly path: ReadonlyArray<string>; readonly missing: boolean } | undefined => {
  switch (error._op) {
    case "And":
    case "Or":
      return firstProblem(error.left) ?? firstProblem(error.right)
    default:
      return { path: error.path, missing: error._op === "MissingData" }
  }
}

const keyNames: ReadonlyArray<{ readonly names: ReadonlyArray<string>; readonly description: string }> =
  Object.values(environment)

/**
 * A `ConfigError` as one clear sentence: which key, and what it should hold. The offending value is not shown, since it may
 * be a secret in the wrong place.
 *
 * @since 0.1.0
 * @category config
 */
export const toAioConfigError = (error: ConfigError.ConfigError): AioConfigError => {
  const problem = firstProblem(error)
  const name = problem?.path.join(".") ?? "configuration"
  const known = keyNames.find(({ names }) => names.includes(name))
  return new AioConfigError({
    field: known?.names[0] ?? name,
    problem: problem?.missing === true ? "is not set" : "cannot be read",
    expected: known?.description ?? "a value"
  })
}
