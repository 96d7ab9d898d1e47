/**
 * PCG32 (O'Neill 2014, XSH-RR 64/32): the same numbers from the same seed on every line of Effect, so that a seeded test
 * repeats exactly. Equal to `PCGRandom` of `effect/Utils` 3.22, which a test checks.
 *
 * The 64-bit state is kept as two 32-bit halves: a pick must not allocate, and a BigInt would.
 */
const INCREMENT_HIGH = 0x14057b7e
const INCREMENT_LOW = 0xf767814f
const MULTIPLIER_HIGH = 0x5851f42d
const MULTIPLIER_LOW = 0x4c957f2d
const TWO_POW_27 = 2 ** 27
const TWO_POW_53 = 2 ** 53

/** The upper 32 bits of the product of two unsigned 32-bit numbers. */
const multiplyHigh = (one: number, other: number): number => {
  const oneLow = one & 0xffff
  const oneHigh = one >>> 16
  const otherLow = other & 0xffff
  const otherHigh = other >>> 16
  const middle = oneHigh * otherLow + ((oneLow * otherLow) >>> 16)
  const carry = oneLow * otherHigh + (middle & 0xffff)
  return oneHigh * otherHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)
}

export class PCGRandom {
  private high = 0
  private low = 0

  constructor(seed: number) {
    this.next()
    const low = this.low + (seed >>> 0)
    this.high = (this.high + (low > 0xffffffff ? 1 : 0)) >>> 0
    this.low = low >>> 0
    this.next()
  }

  /** From 0 to 1, without 1: 53 bits. */
  number(): number {
    const high = this.next() & 0x03ffffff
    const low = this.next() & 0x07ffffff
    return (high * TWO_POW_27 + low) / TWO_POW_53
  }

  private next(): number {
    const { high, low } = this
    const sum = (Math.imul(low, MULTIPLIER_LOW) >>> 0) + INCREMENT_LOW
    this.low = sum >>> 0
    this.high =
      (multiplyHigh(low, MULTIPLIER_LOW) +
        Math.imul(high, MULTIPLIER_LOW) +
        Math.imul(low, MULTIPLIER_HIGH) +
        INCREMENT_HIGH +
        (sum > 0xffffffff ? 1 : 0)) >>>
      0
    const xorHigh = (high >>> 18) ^ high
    const xorLow = (((low >>> 18) | (high << 14)) >>> 0) ^ low
    const xorShifted = ((xorLow >>> 27) | (xorHigh << 5)) >>> 0
    const rotation = high >>> 27
    return ((xorShifted >>> rotation) | (xorShifted << (-rotation & 31))) >>> 0
  }
}
