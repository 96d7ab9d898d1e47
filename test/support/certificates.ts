import { mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { generate } from "selfsigned"

export interface Issued {
  readonly certificate: string
  readonly privateKey: string
}

export interface Wanted {
  /** The common name. */
  readonly name: string
  /** DNS names and IPv4 addresses. Default: `localhost` and `127.0.0.1`. */
  readonly names?: ReadonlyArray<string>
  /** Ended a day ago, or begins in a day. */
  readonly validity?: "expired" | "early"
}

export interface Authority extends Issued {
  readonly issue: (wanted: Wanted) => Effect.Effect<Issued>
}

const DAY = 24 * 3_600_000

const dates = (validity: Wanted["validity"]) => {
  const from = Date.now() - 60_000 + (validity === "early" ? DAY : validity === "expired" ? -2 * DAY : 0)
  return { notBeforeDate: new Date(from), notAfterDate: new Date(from + DAY) }
}

const alternative = (name: string) =>
  /^[\d.]+$/.test(name) ? ({ type: 7, ip: name } as const) : ({ type: 2, value: name } as const)

const issueBy =
  (authority: Issued) =>
  ({ name, names = ["localhost", "127.0.0.1"], validity }: Wanted): Effect.Effect<Issued> =>
    Effect.promise(async () => {
      const issued = await generate([{ name: "commonName", value: name }], {
        keyType: "ec",
        algorithm: "sha256",
        ca: { key: authority.privateKey, cert: authority.certificate },
        extensions: [{ name: "subjectAltName", altNames: names.map(alternative) }],
        ...dates(validity)
      })
      return { certificate: issued.cert, privateKey: issued.private }
    })

/** Made anew each time, valid for a day: nothing here is kept, so that nothing expires. */
export const makeAuthority = (name: string, validity?: Wanted["validity"]): Effect.Effect<Authority> =>
  Effect.promise(async () => {
    const made = await generate([{ name: "commonName", value: name }], {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [
        { name: "basicConstraints", cA: true, critical: true },
        { name: "keyUsage", keyCertSign: true, digitalSignature: true, critical: true }
      ],
      ...dates(validity)
    })
    const own = { certificate: made.cert, privateKey: made.private }
    return { ...own, issue: issueBy(own) }
  })

/** A certificate and its key as values. */
export const asValues = ({ certificate, privateKey }: Issued) => ({
  certificate: { value: certificate },
  privateKey: { value: Redacted.make(privateKey) }
})

/** A directory for certificates, until the scope closes. */
export const certificateFiles = Effect.map(
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "effect-aio-tls-"))),
    (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
  ),
  (directory) => {
    const path = (name: string) => join(directory, name)
    const write = (name: string, text: string) =>
      Effect.as(
        // At once: a test that wants half of a file writes half of it.
        Effect.promise(() => writeFile(path(`${name}.new`), text).then(() => rename(path(`${name}.new`), path(name)))),
        { file: path(name) }
      )
    return {
      path,
      write,
      remove: (name: string) => Effect.promise(() => rm(path(name))),
      writeBoth: ({ certificate, privateKey }: Issued) =>
        Effect.all({ certificate: write("tls.crt", certificate), privateKey: write("tls.key", privateKey) })
    }
  }
)
