import * as Clocks from "./clocks.js"

/** The live clock, on which every look takes so many milliseconds: work that looks at it seems to take its time. */
export const busyClock = (millisPerLook: number) => {
  const real = Clocks.real()
  let looks = 0
  const ahead = () => ++looks * millisPerLook
  const clock = Clocks.make({
    ...real,
    millis: () => real.millis() + ahead(),
    nanos: () => real.nanos() + BigInt(ahead()) * 1_000_000n
  })
  return { clock, looks: () => looks }
}
