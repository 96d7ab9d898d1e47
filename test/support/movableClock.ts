import type { Clock } from "effect"
import * as Clocks from "./clocks.js"

/** A clock that stands where it was put, while sleeps last their real time. */
export const make = (start: number): { readonly clock: Clock.Clock; readonly moveTo: (millis: number) => void } => {
  let now = start
  return {
    clock: Clocks.make({ ...Clocks.real(), millis: () => now, nanos: () => BigInt(now) * 1_000_000n }),
    moveTo: (millis) => {
      now = millis
    }
  }
}
