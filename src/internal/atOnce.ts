/** Work in steps, done in one go: what it returns. */
export const atOnce = <A>(steps: Generator<void, A>): A => {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}
