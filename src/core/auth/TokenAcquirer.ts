/**
 * How a token is acquired, as a pure state machine: when to renew, when to authenticate, how long to wait before either, and
 * what a failure or a refused token changes. Times are monotonic milliseconds; `random` is 0 to 1 and comes with the event.
 *
 * ```
 * Idle ──▶ Checking ──▶ Renewing ──▶ Pausing ──▶ Reading ──▶ Authenticating ──▶ Idle
 *          rejected     a token      backoff     the credentials
 *          before?      is alive
 * ```
 *
 * A phase that has nothing to do is skipped. Each may end in `Answer` or `FailWith`, and so in `Idle`.
 */
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "../../schemas/AccessToken.js"
import type { RegistryError } from "../../schemas/AioError.js"
import * as StatusCode from "../../schemas/StatusCode.js"
import type * as TokenPolicy from "../../schemas/TokenPolicy.js"
import * as Backoff from "../Backoff.js"
import * as TokenLife from "./TokenLife.js"

export interface Credentials {
  readonly clientKey: string
  readonly clientSecret: Redacted.Redacted
}

export interface TokenAcquirer {
  readonly policy: TokenPolicy.TokenSettings
  readonly phase: "Idle" | "Checking" | "Renewing" | "Pausing" | "Reading" | "Authenticating"
  /** When the last acquisition began, and whether it failed. */
  readonly askedAt: number
  readonly hasFailed: boolean
  /** It has failed to renew, and did not authenticate. */
  readonly hasOnlyRenewed: boolean
  /** As it was acquired, whether or not it has expired. `undefined` once it was refused. */
  readonly life: TokenLife.TokenLife | undefined
  /** Generations: of the newest token, and of the newest one that was refused. */
  readonly newest: number
  readonly refused: number
  /** The authentication under way follows a refusal of the newest token, as it stood when it was wanted. */
  readonly isAfterRefusal: boolean
  /** Acquisitions in a row that did no good, since a token was last accepted; and when the next may be sent. */
  readonly strikes: number
  readonly notBefore: number
  /** The last answer to an authentication, if it was a failure that cost the server work. */
  readonly failure?: RegistryError | undefined
  readonly rejection?: Rejection | undefined
  /** The renewal that runs in the background: of which generation. */
  readonly renewal?: { readonly generation: number } | undefined
}

interface Rejection {
  readonly of: Credentials
  readonly error: RegistryError
  /** In a row, of the same credentials. */
  readonly times: number
  readonly until: number
}

export type Event =
  | { readonly _tag: "TokenWanted" }
  | { readonly _tag: "CredentialsRead"; readonly credentials: Credentials }
  | { readonly _tag: "CredentialsUnread"; readonly error: RegistryError }
  | { readonly _tag: "Renewed"; readonly life: TokenLife.TokenLife }
  | { readonly _tag: "RenewalFailed"; readonly error: RegistryError }
  | { readonly _tag: "PauseOver" }
  | { readonly _tag: "Authenticated"; readonly life: TokenLife.TokenLife; readonly random: number }
  | AuthenticationFailed
  /** An authentication that had timed out was answered, and no acquisition waits for it. */
  | { readonly _tag: "AuthenticatedLate"; readonly life: TokenLife.TokenLife }
  /** The acquisition died or was interrupted. */
  | { readonly _tag: "Broken" }
  /** A server refused, or accepted, a token. */
  | { readonly _tag: "Refused"; readonly generation: number }
  | { readonly _tag: "Accepted"; readonly generation: number }
  /** The token is in its refresh window. */
  | { readonly _tag: "RenewalDue" }
  | { readonly _tag: "RetryDue" }
  | { readonly _tag: "BackgroundFailed"; readonly retryInMillis: number }
  | { readonly _tag: "BackgroundEnded" }

export interface AuthenticationFailed {
  readonly _tag: "AuthenticationFailed"
  /** `Burdened`: the registry worked for it. `TimedOut`: it may still do so. `Harmless`: it cost the registry nothing. */
  readonly kind: "Rejected" | "Burdened" | "TimedOut" | "Harmless"
  readonly of: Credentials
  readonly error: RegistryError
  readonly random: number
}

export type Action =
  | { readonly _tag: "ReadCredentials" }
  /** Within so many milliseconds. */
  | { readonly _tag: "Renew"; readonly token: AccessToken; readonly millis: number }
  | { readonly _tag: "WaitFor"; readonly millis: number }
  | { readonly _tag: "Authenticate"; readonly credentials: Credentials }
  | { readonly _tag: "Answer"; readonly token: AccessToken }
  | { readonly _tag: "FailWith"; readonly error: RegistryError }
  | { readonly _tag: "RenewInBackground" }

/** An event asks for one action at most. */
export type Step = readonly [TokenAcquirer, Action | undefined]

export const make = (policy: TokenPolicy.TokenSettings): TokenAcquirer => ({
  policy,
  phase: "Idle",
  askedAt: Number.NEGATIVE_INFINITY,
  hasFailed: false,
  hasOnlyRenewed: false,
  life: undefined,
  newest: 0,
  refused: 0,
  isAfterRefusal: false,
  strikes: 0,
  notBefore: Number.NEGATIVE_INFINITY
})

/** At most one acquisition in this time, and a failed one answers all callers for as long. */
export const INTERVAL_MILLIS = 1_000

const PAUSE_MILLIS = 1_000
const MAX_PAUSE_MILLIS = 60_000

/** The longest pause after an authentication that timed out. */
const MAX_TIMED_OUT_PAUSE_MILLIS = 300_000

/**
 * For how long an authentication is listened to beyond its time. A registry hashes for a caller that has left as for one
 * that waits: thrown away, these hashes kept 1,000 clients from ever having a token (20 hashes a second, 10 s each).
 */
export const LATE_MILLIS = MAX_TIMED_OUT_PAUSE_MILLIS

/** How long beyond the end of its token a renewal that has not failed before may take. */
const RENEWAL_OVERTIME_MILLIS = 5_000

/** The longest time for which rejected credentials are not tried again, unless `rejectionMemory` is longer. */
const MAX_REJECTION_MEMORY_MILLIS = 300_000

/**
 * In how many milliseconds the next acquisition may begin: one a second. `undefined` if the answer of the last one is to be
 * given again: for its second, a failure too. If that is a token that was refused since, the next begins a second from now. A
 * renewal that failed says nothing of an authentication, which may begin at once when the token has ended since.
 */
export const pace = (state: TokenAcquirer, now: number): number | undefined => {
  if (now - state.askedAt >= INTERVAL_MILLIS) return 0
  if (state.hasFailed) return state.hasOnlyRenewed && alive(state, now) === undefined ? 0 : undefined
  return state.refused < state.newest ? undefined : INTERVAL_MILLIS
}

/** The token as long as it has not expired. */
export const alive = ({ life }: TokenAcquirer, now: number): TokenLife.TokenLife | undefined =>
  TokenLife.isAlive(life, now) ? life : undefined

const isRejected = ({ rejection }: TokenAcquirer, now: number): boolean =>
  rejection !== undefined && now < rejection.until

const isOf = (rejection: Rejection | undefined, { clientKey, clientSecret }: Credentials): rejection is Rejection =>
  rejection?.of.clientKey === clientKey && Redacted.value(rejection.of.clientSecret) === Redacted.value(clientSecret)

const fail = (state: TokenAcquirer, error: RegistryError): Step => [
  { ...state, phase: "Idle", hasFailed: true, hasOnlyRenewed: state.phase === "Renewing" },
  { _tag: "FailWith", error }
]

const hold = (state: TokenAcquirer, life: TokenLife.TokenLife): Step => [
  { ...state, phase: "Idle", hasFailed: false, life, newest: life.token.generation },
  { _tag: "Answer", token: life.token }
]

const read = (state: TokenAcquirer, phase: "Checking" | "Reading"): Step => [
  { ...state, phase },
  { _tag: "ReadCredentials" }
]

// An authentication costs the server a password hash (86 ms of its CPU), a renewal a signature.
const renewOrAuthenticate = (state: TokenAcquirer, now: number): Step => {
  const life = alive(state, now)
  return life === undefined
    ? authenticate(state, now)
    : [
        { ...state, phase: "Renewing" },
        {
          _tag: "Renew",
          token: life.token,
          // Renewing that failed before must not take the time to authenticate when the token ends.
          millis: Math.min(
            state.policy.acquireDeadlineMillis,
            life.expiresAt - now + (state.hasFailed ? 0 : RENEWAL_OVERTIME_MILLIS)
          )
        }
      ]
}

const authenticate = (before: TokenAcquirer, now: number): Step => {
  const state = { ...before, isAfterRefusal: before.newest > 0 && before.refused >= before.newest }
  const left = state.notBefore - now
  if (left <= 0) return read(state, "Reading")
  if (state.failure !== undefined) return fail(state, state.failure)
  return [
    { ...state, phase: "Pausing" },
    { _tag: "WaitFor", millis: Math.ceil(left) }
  ]
}

/** The next authentication waits the pause at least, then up to 2, 4, 8 … times as long. */
const strike = (state: TokenAcquirer, now: number, random: number, cap = MAX_PAUSE_MILLIS): TokenAcquirer => {
  const pause = Backoff.delayMillis({ base: PAUSE_MILLIS, factor: 2, cap }, state.strikes, random)
  return { ...state, strikes: state.strikes + 1, notBefore: now + Math.max(PAUSE_MILLIS, pause) }
}

const authenticationFailed = (state: TokenAcquirer, event: AuthenticationFailed, now: number): Step => {
  const { error, of } = event
  if (event.kind === "Harmless") return fail({ ...state, failure: undefined }, error)
  if (event.kind !== "Rejected") {
    const cap = event.kind === "TimedOut" ? MAX_TIMED_OUT_PAUSE_MILLIS : MAX_PAUSE_MILLIS
    return fail(strike({ ...state, failure: error }, now, event.random, cap), error)
  }
  const base = state.policy.rejectionMemoryMillis
  const times = isOf(state.rejection, of) ? state.rejection.times + 1 : 1
  // The longest of full jitter: credentials that were rejected are not tried sooner by luck.
  const memory = { base, factor: 2, cap: Math.max(base, MAX_REJECTION_MEMORY_MILLIS) }
  const until = now + Backoff.delayMillis(memory, times - 1, 1)
  return fail({ ...state, rejection: { of, error, times, until } }, error)
}

// An event of an acquisition in any other phase changes nothing.
const awaited: { readonly [tag in Event["_tag"]]?: ReadonlyArray<TokenAcquirer["phase"]> } = {
  TokenWanted: ["Idle"],
  CredentialsRead: ["Checking", "Reading"],
  CredentialsUnread: ["Checking", "Reading"],
  Renewed: ["Renewing"],
  RenewalFailed: ["Renewing"],
  PauseOver: ["Pausing"],
  Authenticated: ["Authenticating"],
  AuthenticationFailed: ["Authenticating"]
}

export const step = (state: TokenAcquirer, event: Event, now: number): Step => {
  if (awaited[event._tag]?.includes(state.phase) === false) return [state, undefined]
  switch (event._tag) {
    case "TokenWanted": {
      const asked = { ...state, askedAt: now }
      return isRejected(state, now) ? read(asked, "Checking") : renewOrAuthenticate(asked, now)
    }
    case "CredentialsRead": {
      const { credentials } = event
      if (isRejected(state, now) && isOf(state.rejection, credentials)) return fail(state, state.rejection.error)
      if (state.phase === "Checking") return renewOrAuthenticate(state, now)
      return [
        { ...state, phase: "Authenticating" },
        { _tag: "Authenticate", credentials }
      ]
    }
    case "CredentialsUnread":
      return fail(state, event.error)
    case "Renewed":
      return hold(state, event.life)
    case "RenewalFailed":
      // Only an answer that says that renewing cannot help leads to an authentication, or the end of the token meanwhile.
      return alive(state, now) === undefined ||
        (event.error._tag === "AioRpcError" && StatusCode.endsRenewal(event.error.code))
        ? authenticate(state, now)
        : fail(state, event.error)
    case "PauseOver":
      // Read now, so that they are the newest there are.
      return read(state, "Reading")
    case "Authenticated": {
      const issued = { ...state, failure: undefined, rejection: undefined }
      return hold(state.isAfterRefusal ? strike(issued, now, event.random) : issued, event.life)
    }
    case "AuthenticationFailed":
      return authenticationFailed(state, event, now)
    case "AuthenticatedLate": {
      const { life } = event
      if (alive(state, now) !== undefined) return [state, undefined]
      const issued = { ...state, hasFailed: false, failure: undefined, rejection: undefined }
      return [{ ...issued, life, newest: life.token.generation }, undefined]
    }
    case "Broken":
      return [
        state.phase === "Idle"
          ? state
          : { ...state, phase: "Idle", hasFailed: true, hasOnlyRenewed: state.phase === "Renewing" },
        undefined
      ]
    case "Accepted":
      return event.generation <= state.refused
        ? [state, undefined]
        : [{ ...state, strikes: 0, notBefore: Number.NEGATIVE_INFINITY }, undefined]
    case "Refused": {
      // Of another `Auth`: it says nothing about ours.
      if (event.generation > state.newest) return [state, undefined]
      const refused = Math.max(state.refused, event.generation)
      // A token that came after the refused one stays.
      const isCurrent = state.life !== undefined && state.life.token.generation <= event.generation
      return [{ ...state, refused, life: isCurrent ? undefined : state.life }, undefined]
    }
    case "RenewalDue":
    case "RetryDue":
      return renewInBackground(state, event._tag === "RetryDue", now)
    case "BackgroundFailed":
      return [state, state.renewal && { _tag: "WaitFor", millis: event.retryInMillis }]
    case "BackgroundEnded":
      return [{ ...state, renewal: undefined }, undefined]
  }
}

const renewInBackground = (state: TokenAcquirer, isRetry: boolean, now: number): Step => {
  const generation = alive(state, now)?.token.generation
  // Past the token's life there is nothing left to renew in the background: the next caller acquires.
  if (generation === undefined || state.renewal?.generation !== (isRetry ? generation : undefined)) {
    return [state, undefined]
  }
  return [{ ...state, renewal: { generation } }, { _tag: "RenewInBackground" }]
}
