import { Effect } from "effect"

/**
 * Runs `effect` so many times, `concurrency` at once: as many fibers, each of which goes on to the next run by itself, as
 * the lanes of the bare client do. (`Effect.forEach` with a concurrency would make one fiber for each run.)
 */
export const lanes = <A, E>(
  effect: Effect.Effect<A, E>,
  options: { readonly concurrency: number; readonly operations: number }
): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    let left = options.operations
    const lane = Effect.whileLoop({ while: () => left-- > 0, body: () => effect, step: () => {} })
    return Effect.all(
      Array.from({ length: options.concurrency }, () => lane),
      { concurrency: "unbounded", discard: true }
    )
  })
