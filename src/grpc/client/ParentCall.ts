/** The call that a server is answering while it makes another one. */
import type { EventEmitter } from "node:events"
import * as grpc from "@grpc/grpc-js"
import * as Callbacks from "../Callbacks.js"
import type * as Channel from "./Channel.js"
import * as Deadline from "./Deadline.js"

const ignore = (): void => {}

/**
 * Cancels the call when its parent is cancelled, if the flags say so; gives what ends that, which has to be called at the
 * call's end: a parent may make many. Not if the parent says that it is cancelled already: grpc-js says so of one that is
 * answered, too.
 */
export const cancelWith = (
  call: Pick<Channel.Call, "cancelWithStatus">,
  parent: Deadline.Parent | null | undefined,
  flags: number | null | undefined,
  report: Callbacks.Catch
): (() => void) => {
  if (!parent || !Deadline.inherits(flags, grpc.propagate.CANCELLATION)) return ignore
  const emitter: EventEmitter = parent
  const cancelled = Callbacks.of(() => call.cancelWithStatus(grpc.status.CANCELLED, "its parent was cancelled"), report)
  emitter.once("cancelled", cancelled)
  return () => void emitter.removeListener("cancelled", cancelled)
}
