import { afterAll, assert, beforeAll } from "@effect/vitest"

/** Fails the file at its end if anything was thrown or rejected that nobody was there to catch. */
export const expectNothingUncaught = (): void => {
  const uncaught: Array<unknown> = []
  const collect = (reason: unknown) => {
    uncaught.push(reason)
  }
  beforeAll(() => {
    process.on("uncaughtException", collect)
    process.on("unhandledRejection", collect)
  })
  afterAll(async () => {
    // A rejection is told after the microtasks of its turn.
    await new Promise((resolve) => setImmediate(resolve))
    process.off("uncaughtException", collect)
    process.off("unhandledRejection", collect)
    assert.deepStrictEqual(uncaught, [])
  })
}
