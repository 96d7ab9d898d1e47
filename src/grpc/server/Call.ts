/** What a server sees of a call, and how it refuses it. */

/** What a call is answered with instead of a response. */
export interface Failure {
  readonly code: number
  readonly details: string
}

/** The call's metadata: all text values of a name (in lower case), in the order sent. */
export type Headers = (name: string) => ReadonlyArray<string>
