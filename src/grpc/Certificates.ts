/** Reads and checks certificates and keys, and reads them again when their files change. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Background from "../internal/background.js"
import * as Logs from "../internal/logs.js"
import type { Pem, Tls } from "../schemas/AioConfig.js"
import { AioConfigError } from "../schemas/AioError.js"
import * as Limits from "../schemas/Limits.js"
import * as TextFile from "../schemas/TextFile.js"
import * as Annotations from "../telemetry/Annotations.js"

/** Texts that passed the checks: all parse, none has expired, and the key is the certificate's. */
export interface Material {
  readonly ca: string | undefined
  readonly identity: { readonly certificate: string; readonly privateKey: Redacted.Redacted } | undefined
}

type Field = "ca" | "certificate" | "privateKey"

const EXPECTED: Record<Field, string> = {
  ca: "PEM of the certificates that are trusted to sign the other side's, one of them not expired",
  certificate: "PEM of a certificate that has not expired, followed by its intermediates",
  privateKey: "PEM of the private key of tls.certificate, without a passphrase"
}

// A file is named; a value is never shown.
const refusing =
  (field: Field, source: Pem | undefined) =>
  (problem: string): AioConfigError =>
    new AioConfigError({
      field: `tls.${field}`,
      problem: source !== undefined && "file" in source ? `(${source.file}) ${problem}` : problem,
      expected: EXPECTED[field]
    })

type Refuse = ReturnType<typeof refusing>

const textOf = (field: Field, source: Pem | undefined): Effect.Effect<string | undefined, AioConfigError> => {
  if (source === undefined) return Effect.succeed(undefined)
  if ("file" in source) return TextFile.read(source.file, refusing(field, source))
  return Effect.succeed(Redacted.isRedacted(source.value) ? Redacted.value(source.value) : source.value)
}

const readAll = (sources: Tls) =>
  Effect.all({
    ca: textOf("ca", sources.ca),
    certificate: textOf("certificate", sources.certificate),
    privateKey: Effect.map(textOf("privateKey", sources.privateKey), (text) =>
      text === undefined ? undefined : Redacted.make(text)
    )
  })

type Texts = Effect.Effect.Success<ReturnType<typeof readAll>>

const isSame = (a: Texts, b: Texts | undefined): boolean =>
  a.ca === b?.ca && a.certificate === b?.certificate && Equal.equals(a.privateKey, b?.privateKey)

const BEGIN = /-----BEGIN CERTIFICATE-----/g
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g

type Certificates = readonly [first: X509Certificate, ...rest: ReadonlyArray<X509Certificate>]

const certificatesIn = (text: string, refuse: Refuse): Either.Either<Certificates, AioConfigError> => {
  const blocks = text.match(BLOCK) ?? []
  if (blocks.length < (text.match(BEGIN)?.length ?? 0)) {
    return Either.left(refuse("ends in the middle of a certificate"))
  }
  return Either.gen(function* () {
    const parse = (block: string, index: number) =>
      Either.try({
        try: () => new X509Certificate(block),
        catch: () => refuse(`cannot be parsed: certificate ${index + 1} of ${blocks.length}`)
      })
    const [first, ...rest] = yield* Either.all(blocks.map(parse))
    if (first === undefined)
      return yield* Either.left(refuse(text.trim() === "" ? "is empty" : "is no PEM certificate"))
    return [first, ...rest] as const
  })
}

// Certificates expire by the real clock, whatever clock the program runs under.
// @effect-diagnostics-next-line globalDate:off
const wallNow = (): number => Date.now()

const day = (date: string): string => new Date(Date.parse(date)).toISOString()

const untimely = (certificate: X509Certificate): string | undefined => {
  const now = wallNow()
  if (now > Date.parse(certificate.validTo)) return `expired on ${day(certificate.validTo)}`
  return now < Date.parse(certificate.validFrom) ? `is not valid before ${day(certificate.validFrom)}` : undefined
}

// A bundle of authorities may hold expired ones, as long as one is valid.
const checkCa = (text: string, refuse: Refuse): Either.Either<void, AioConfigError> =>
  Either.flatMap(certificatesIn(text, refuse), (certificates) => {
    const problems = certificates.map(untimely)
    const [problem] = problems
    return problem !== undefined && problems.every((each) => each !== undefined)
      ? Either.left(refuse(problem))
      : Either.void
  })

const keyIn = (privateKey: Redacted.Redacted, refuse: Refuse): Either.Either<KeyObject, AioConfigError> => {
  const text = Redacted.value(privateKey)
  const problem = () => {
    if (text.trim() === "") return "is empty"
    return /-----BEGIN ENCRYPTED|^Proc-Type:.*ENCRYPTED/m.test(text)
      ? "is encrypted with a passphrase"
      : "cannot be parsed as a PEM private key"
  }
  return Either.try({ try: () => createPrivateKey(text), catch: () => refuse(problem()) })
}

const check = (sources: Tls, texts: Texts): Either.Either<Material, AioConfigError> =>
  Either.gen(function* () {
    const { ca, certificate, privateKey } = texts
    if (ca !== undefined) yield* checkCa(ca, refusing("ca", sources.ca))
    const refuseCertificate = refusing("certificate", sources.certificate)
    const refuseKey = refusing("privateKey", sources.privateKey)
    if (certificate === undefined && privateKey === undefined) return { ca, identity: undefined }
    if (certificate === undefined) return yield* Either.left(refuseCertificate("is missing, and tls.privateKey is set"))
    if (privateKey === undefined) return yield* Either.left(refuseKey("is missing, and tls.certificate is set"))
    const [leaf] = yield* certificatesIn(certificate, refuseCertificate)
    const problem = untimely(leaf)
    if (problem !== undefined) yield* Either.left(refuseCertificate(problem))
    const key = yield* keyIn(privateKey, refuseKey)
    if (!leaf.checkPrivateKey(key)) yield* Either.left(refuseKey("is not the key of the first one in tls.certificate"))
    return { ca, identity: { certificate, privateKey } }
  })

/** What was made of the certificates, and of each change of them. */
export interface Watched<A> {
  readonly initial: A
  /**
   * From now on, until the scope closes, hands over what is made of each change. A change that fails the checks is tried
   * again, and logged once for each problem, at the second look: the first may come between the writes of two files.
   */
  readonly follow: (use: (changed: A) => void) => Effect.Effect<void, never, Scope.Scope>
}

const isFile = (source: Pem | undefined): boolean => source !== undefined && "file" in source

/**
 * Reads and checks certificates, and makes something of them. Fails with `AioConfigError` that names the field (`tls.ca`)
 * and the file. No error and no log holds a key.
 */
export const load = <A>(
  sources: Tls,
  make: (material: Material) => Either.Either<A, AioConfigError>
): Effect.Effect<Watched<A>, AioConfigError> =>
  Effect.gen(function* () {
    const { reloadInterval = "30 seconds" } = sources
    const interval = yield* Limits.durationMillis("tls.reloadInterval", reloadInterval, 1)
    const build = (texts: Texts) => Either.flatMap(check(sources, texts), make)
    let inUse = yield* readAll(sources)
    const initial = yield* build(inUse)
    /** How often each problem was met since the last good look: once also between the writes of two files. */
    const met = new Map<string, number>()

    const look = (use: (changed: A) => void) =>
      Effect.gen(function* () {
        const texts = yield* readAll(sources)
        if (!isSame(texts, inUse)) {
          use(yield* build(texts))
          inUse = texts
          yield* Logs.info("new connections use the changed certificates")
        }
        met.clear()
      }).pipe(
        Effect.catchAll((error) => {
          const times = (met.get(error.message) ?? 0) + 1
          met.set(error.message, times)
          if (times !== 2) return Effect.void
          return Logs.warning(`the changed certificates cannot be used, the former stay in use: ${error.message}`)
        }),
        Effect.catchAllCause((cause) => Logs.warning("the certificates could not be read again", cause))
      )

    const follow: Watched<A>["follow"] = (use) =>
      [sources.ca, sources.certificate, sources.privateKey].some(isFile)
        ? look(use).pipe(Effect.delay(interval), Effect.forever, Annotations.from("Tls"), Background.fork)
        : Effect.void
    return { initial, follow }
  })
