/** What the hooks of grpc-js ask for a target, and the table of those that answer: grpc-js knows one per process and scheme. */
import type * as Callbacks from "../Callbacks.js"

/** The part of a target behind its name: `aio://name/project/service`. */
export interface Target {
  readonly project: string
  readonly service: string
}

/** An instance that was picked. It may be forgotten until `begin`. */
export abstract class Picked {
  /** `host:port` */
  abstract readonly address: string
  /** The call is on its way. */
  abstract readonly begin: () => void
  /** The status of the call. */
  abstract readonly end: (code: number, details: string) => void
  /** No call was made: the connection to the instance failed, or is not there yet. */
  abstract readonly pass: (why: "Unreachable" | "Connecting") => void
}

/** The instances of one target, to pick from. A class, so that `instanceof` tells one from any other attribute of a channel. */
export abstract class Instances {
  /** `undefined` where none is left. `isReady` should be the same function while it gives the same answers. */
  abstract readonly pick: (
    tried: ReadonlyArray<Picked>,
    isReady: ((address: string) => boolean) | undefined
  ) => Picked | undefined
  abstract readonly onThrow: Callbacks.Catch
}

export type State =
  | { readonly _tag: "Known"; readonly addresses: ReadonlyArray<string>; readonly instances: Instances }
  | { readonly _tag: "Failed"; readonly details: string }

export interface Source {
  /** Tells the state of a target and each change of it, until the function that it gives is called. */
  readonly follow: (target: Target, tell: (state: State) => void) => () => void
  readonly onThrow: Callbacks.Catch
}

interface Follower {
  readonly target: Target
  readonly tell: (state: State) => void
  stop: () => void
}

const sources = new Map<string, Source>()
const followers = new Map<string, Set<Follower>>()

const nothing = (): void => undefined

const attach = (name: string, follower: Follower): void => {
  follower.stop()
  follower.stop = nothing
  const source = sources.get(name)
  if (source === undefined) {
    follower.tell({ _tag: "Failed", details: `no AioResolver.layer of the name "${name}" is open in this process` })
  } else follower.stop = source.follow(follower.target, follower.tell)
}

const attachAll = (name: string): void => {
  for (const follower of followers.get(name) ?? []) attach(name, follower)
}

/** Answers for a name until the function that it gives is called; `undefined` where another one does already. */
export const take = (name: string, source: Source): (() => void) | undefined => {
  if (sources.has(name)) return undefined
  sources.set(name, source)
  attachAll(name)
  return () => {
    if (sources.get(name) !== source) return
    sources.delete(name)
    attachAll(name)
  }
}

/** As {@link Source.follow} of whichever answers for the name, now and later. */
export const follow = (name: string, target: Target, tell: (state: State) => void): (() => void) => {
  const follower: Follower = { target, tell, stop: nothing }
  const others = followers.get(name) ?? new Set()
  followers.set(name, others.add(follower))
  attach(name, follower)
  return () => {
    follower.stop()
    others.delete(follower)
    if (others.size === 0 && followers.get(name) === others) followers.delete(name)
  }
}

export const onThrowOf = (name: string): Callbacks.Catch => sources.get(name)?.onThrow ?? nothing
