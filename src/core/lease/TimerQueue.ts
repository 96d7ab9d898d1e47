/** What is due next, among many: a binary heap of instants, in which each has one place at the most. */

/**
 * What may stand in one queue, and says itself when it is due and where it stands. Both fields are changed by the functions
 * of this module only.
 */
export interface Timed {
  /** `Infinity` while it is not planned. */
  dueAt: number
  /** Where it stands in the heap; `-1` while it does not. */
  place: number
}

export interface TimerQueue<A extends Timed> {
  /** In heap order: nothing is due before its parent, which stands at `(place - 1) >> 1`. */
  readonly heap: Array<A>
}

export const make = <A extends Timed>(): TimerQueue<A> => ({ heap: [] })

/** What is not planned yet. */
export const unplanned = (): Timed => ({ dueAt: Number.POSITIVE_INFINITY, place: -1 })

/** When the next one is due; `Infinity` if there is none. */
export const nextAt = <A extends Timed>(queue: TimerQueue<A>): number =>
  queue.heap[0]?.dueAt ?? Number.POSITIVE_INFINITY

/**
 * Plans it for another instant than before; `Infinity` takes it out of the queue. However often that happens, the queue
 * holds it once.
 */
export const schedule = <A extends Timed>({ heap }: TimerQueue<A>, planned: A, at: number): void => {
  if (at === planned.dueAt) return
  planned.dueAt = at
  if (at === Number.POSITIVE_INFINITY) remove(heap, planned)
  else settle(heap, planned, planned.place === -1 ? heap.length : planned.place)
}

/** Takes the one that is due first, if it is due by `now`. */
export const take = <A extends Timed>({ heap }: TimerQueue<A>, now: number): A | undefined => {
  const first = heap[0]
  if (first === undefined || first.dueAt > now) return undefined
  first.dueAt = Number.POSITIVE_INFINITY
  remove(heap, first)
  return first
}

const remove = <A extends Timed>(heap: Array<A>, removed: A): void => {
  const { place } = removed
  if (place === -1) return
  removed.place = -1
  const last = heap.pop()
  if (last !== undefined && last !== removed) settle(heap, last, place)
}

const put = <A extends Timed>(heap: Array<A>, moved: A, place: number): void => {
  heap[place] = moved
  moved.place = place
}

/** Brings one from a place that is free to where it belongs: up, or else down. */
const settle = <A extends Timed>(heap: Array<A>, moved: A, free: number): void => {
  let place = free
  while (place > 0) {
    const up = (place - 1) >> 1
    const parent = heap[up]
    if (parent === undefined || parent.dueAt <= moved.dueAt) break
    put(heap, parent, place)
    place = up
  }
  for (;;) {
    let down = 2 * place + 1
    let child = heap[down]
    const right = heap[down + 1]
    if (child !== undefined && right !== undefined && right.dueAt < child.dueAt) {
      child = right
      down += 1
    }
    if (child === undefined || child === moved || child.dueAt >= moved.dueAt) break
    put(heap, child, place)
    place = down
  }
  put(heap, moved, place)
}
