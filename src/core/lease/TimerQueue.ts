/**
 * What is due next among many: a binary heap that holds each item once. One timer for all leases, since a sleeping fiber
 * costs 1.5 to 2.5 KiB (10,000 leases).
 */

/** An item of one queue. Its fields are changed by this module only. */
export interface Timed {
  /** `Infinity` while it is not scheduled. */
  dueAt: number
  /** Its index in the heap; `-1` while it is not scheduled. */
  place: number
}

export interface TimerQueue<A extends Timed> {
  /** No item is due before its parent, at `(place - 1) >> 1`. */
  readonly heap: Array<A>
}

export const make = <A extends Timed>(): TimerQueue<A> => ({ heap: [] })

/** Not scheduled yet. */
export const unscheduled = (): Timed => ({ dueAt: Number.POSITIVE_INFINITY, place: -1 })

/** When the next one is due; `Infinity` if there is none. */
export const nextAt = <A extends Timed>(queue: TimerQueue<A>): number =>
  queue.heap[0]?.dueAt ?? Number.POSITIVE_INFINITY

/** Moves an item to another instant; `Infinity` takes it out. */
export const schedule = <A extends Timed>({ heap }: TimerQueue<A>, item: A, at: number): void => {
  if (at === item.dueAt) return
  item.dueAt = at
  if (at === Number.POSITIVE_INFINITY) remove(heap, item)
  else settle(heap, item, item.place === -1 ? heap.length : item.place)
}

/** Takes the first item if it is due by `now`. */
export const take = <A extends Timed>({ heap }: TimerQueue<A>, now: number): A | undefined => {
  const first = heap[0]
  if (first === undefined || first.dueAt > now) return undefined
  first.dueAt = Number.POSITIVE_INFINITY
  remove(heap, first)
  return first
}

const remove = <A extends Timed>(heap: Array<A>, item: A): void => {
  const { place } = item
  if (place === -1) return
  item.place = -1
  const last = heap.pop()
  if (last !== undefined && last !== item) settle(heap, last, place)
}

const put = <A extends Timed>(heap: Array<A>, item: A, place: number): void => {
  heap[place] = item
  item.place = place
}

/** Moves an item from a free place up, or else down. */
const settle = <A extends Timed>(heap: Array<A>, item: A, free: number): void => {
  let place = free
  while (place > 0) {
    const up = (place - 1) >> 1
    const parent = heap[up]
    if (parent === undefined || parent.dueAt <= item.dueAt) break
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
    if (child === undefined || child === item || child.dueAt >= item.dueAt) break
    put(heap, child, place)
    place = down
  }
  put(heap, item, place)
}
