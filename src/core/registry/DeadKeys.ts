/** The keys of deleted records, which no registration revives: remembered for a day, and 100,000 of them. */
const DAY = 24 * 60 * 60 * 1_000
const MOST = 100_000

/** What a key keeps when it is registered again. */
interface Kept {
  readonly id: string
  readonly firstSeenAt: number
}

export class DeadKeys {
  // Oldest first.
  private readonly keys = new Map<string, Kept & { readonly until: number }>()

  add(key: string, { firstSeenAt, id }: Kept, now: number): void {
    this.keys.delete(key)
    this.keys.set(key, { id, firstSeenAt, until: now + DAY })
    for (const [oldest, { until }] of this.keys) {
      if (this.keys.size <= MOST && now < until) break
      this.keys.delete(oldest)
    }
  }

  find(key: string, now: number): Kept | undefined {
    const kept = this.keys.get(key)
    return kept !== undefined && now < kept.until ? kept : undefined
  }

  clear(): void {
    this.keys.clear()
  }
}
