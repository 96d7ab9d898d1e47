/** Where a request is among its messages: each is a flag, four bytes of length, and as many bytes. */
const PREFIX_BYTES = 5

export class Framing {
  /** The messages that have begun. */
  count = 0
  private prefix = 0
  private left = 0

  /** Within a message. */
  get isPartial(): boolean {
    return this.prefix > 0
  }

  /** Gives the greatest length that was announced in these bytes. */
  take(bytes: Buffer): number {
    let longest = 0
    for (let at = 0; at < bytes.length; ) {
      if (this.prefix === PREFIX_BYTES) {
        const taken = Math.min(this.left, bytes.length - at)
        this.left -= taken
        at += taken
      } else {
        if (this.prefix === 0) this.count++
        else this.left = this.left * 256 + (bytes[at] ?? 0)
        this.prefix++
        at++
        if (this.prefix === PREFIX_BYTES) longest = Math.max(longest, this.left)
      }
      if (this.prefix === PREFIX_BYTES && this.left === 0) this.prefix = 0
    }
    return longest
  }
}
