/**
 * What is due next, among many: a binary heap of instants.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export interface TimerQueue<A> {
  /** In heap order: no element is due before its parent, which stands at `(index - 1) >> 1`. */
  readonly heap: Array<{ readonly at: number; readonly value: A }>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <A>(): TimerQueue<A> => ({ heap: [] })

/**
 * When the next value is due; `Infinity` if there is none.
 *
 * @since 0.1.0
 * @category accessors
 */
export const nextAt = <A>(queue: TimerQueue<A>): number => queue.heap[0]?.at ?? Number.POSITIVE_INFINITY

/**
 * Takes away what is due first as long as it is out of date, so that nobody is woken for it.
 *
 * @since 0.1.0
 * @category operations
 */
export const dropOutdated = <A>(queue: TimerQueue<A>, isOutdated: (value: A, at: number) => boolean): void => {
  for (let first = queue.heap[0]; first !== undefined && isOutdated(first.value, first.at); first = queue.heap[0]) {
    take(queue, Number.POSITIVE_INFINITY)
  }
}

/**
 * @since 0.1.0
 * @category operations
 */
export const add = <A>(queue: TimerQueue<A>, at: number, value: A): void => {
  const { heap } = queue
  const added = { at, value }
  let index = heap.length
  while (index > 0) {
    const parent = heap[(index - 1) >> 1]
    if (parent === undefined || parent.at <= at) break
    heap[index] = parent
    index = (index - 1) >> 1
  }
  heap[index] = added
}

/**
 * Takes the value that is due first, if it is due by `now`.
 *
 * @since 0.1.0
 * @category operations
 */
export const take = <A>(queue: TimerQueue<A>, now: number): { readonly at: number; readonly value: A } | undefined => {
  const { heap } = queue
  const first = heap[0]
  if (first === undefined || first.at > now) return undefined
  const last = heap.pop()
  if (last === undefined || heap.length === 0) return first
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    let smallest = heap[child]
    const right = heap[child + 1]
    if (smallest !== undefined && right !== undefined && right.at < smallest.at) {
      smallest = right
      child += 1
    }
    if (smallest === undefined || smallest.at >= last.at) break
    heap[index] = smallest
    index = child
  }
  heap[index] = last
  return first
}
