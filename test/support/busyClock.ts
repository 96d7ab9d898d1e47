import { Clock, Effect } from "effect"

/** The live clock, on which every look takes so many milliseconds: work that looks at it seems to take its time. */
export const busyClock = (millisPerLook: number) => {
  const real = Clock.make()
  let looks = 0
  const ahead = () => ++looks * millisPerLook
  const millis = () => real.unsafeCurrentTimeMillis() + ahead()
  const nanos = () => real.unsafeCurrentTimeNanos() + BigInt(ahead()) * 1_000_000n
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: millis,
    unsafeCurrentTimeNanos: nanos,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) => real.sleep(duration)
  }
  return { clock, looks: () => looks }
}
