import { readFileSync } from "node:fs"

/** An exchange with the real control plane: see the fields' names. */
export interface Recording {
  readonly name: string
  readonly service: string
  readonly method: string
  readonly kind: "unary" | "bidi"
  readonly metadata: string
  readonly request?: Record<string, string>
  readonly requestBytesBase64?: string
  readonly response?: object
  readonly requestsBytesBase64?: ReadonlyArray<string>
  readonly responses?: ReadonlyArray<{ readonly expires_at: string }>
  readonly status?: { readonly code: number; readonly details: string }
}

export const recordingFiles = ["auth", "registry", "heartbeat", "transport"] as const
export type RecordingFile = (typeof recordingFiles)[number]

export const recordings = (file: RecordingFile): ReadonlyArray<Recording> =>
  JSON.parse(readFileSync(new URL(`../fixtures/wire/${file}.json`, import.meta.url), "utf8"))
