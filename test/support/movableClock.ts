import { Clock, Effect } from "effect"

/** A clock that stands where it was put, while sleeps last their real time. */
export const make = (start: number): { readonly clock: Clock.Clock; readonly moveTo: (millis: number) => void } => {
  const live = Clock.make()
  let now = start
  const nanos = () => BigInt(now) * 1_000_000n
  return {
    clock: {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: () => now,
      unsafeCurrentTimeNanos: nanos,
      currentTimeMillis: Effect.sync(() => now),
      currentTimeNanos: Effect.sync(nanos),
      sleep: live.sleep
    },
    moveTo: (millis) => {
      now = millis
    }
  }
}
