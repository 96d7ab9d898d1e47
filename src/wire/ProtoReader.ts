/** Reads protobuf's wire format (https://protobuf.dev/programming-guides/encoding), one field after the other. */

const TWO_TO_28 = 2 ** 28

/** Bytes that are no message: what is wrong, and where. */
export class Malformed extends Error {
  constructor(problem: string, position: number) {
    super(`${problem} at byte ${position}`)
  }
}

const MAX_GROUPS = 100

/**
 * A text that is longer is not read: JSON is left out, and with any other text its record. The server's own limits are below
 * 500 characters, but for JSON.
 */
export const MAX_TEXT_BYTES = 64 * 1024

/** The size of the cache of integers: a power of two. */
const INTEGERS = 64

/** The last text of a field, and where it was: most instances have the env of the one before, and often its JSON. */
export class LastText {
  start = 0
  length = 0
  text = ""
}

/**
 * A position in the bytes, and the end of the current message, beyond which no field reaches. Every method throws
 * {@link Malformed} for malformed bytes.
 *
 * A text is copied out of the bytes, so that it does not keep them in memory; invalid UTF-8 becomes U+FFFD, as in
 * protobufjs.
 */
export class ProtoReader {
  position = 0
  end: number
  /** Where the caller wants it back: a record may be larger than what can be read in one piece. */
  pauseAt = Number.POSITIVE_INFINITY
  /** The field of the last text that was too long. */
  tooLong: string | undefined

  constructor(private readonly bytes: Buffer) {
    this.end = bytes.length
  }

  /** Begins the nested message that is here. Gives where the one around it ends. */
  enter(): number {
    const outer = this.end
    const length = this.length()
    this.end = this.position + length
    return outer
  }

  /** A field's number and wire type, as `number << 3 | type`. */
  tag(): number {
    return this.uint32()
  }

  /**
   * Of a text that is too long only the beginning, enough to tell that it is: `field` is kept then. Without `field` this is
   * for those that decode the text.
   */
  text(field?: string): string {
    const length = this.length()
    if (length > MAX_TEXT_BYTES) return this.beginning(length, field)
    const end = length + this.position
    const text = this.bytes.toString("utf8", this.position, end)
    this.position = end
    return text
  }

  /** A text that often repeats `last`, of the same bytes: then it is the same string, and costs no memory. */
  textLike(last: LastText, field?: string): string {
    const length = this.length()
    if (length > MAX_TEXT_BYTES) return this.beginning(length, field)
    const start = this.position
    if (length === last.length && this.repeats(last.start, length)) {
      this.position += length
    } else {
      last.text = this.bytes.toString("utf8", start, start + length)
      last.start = start
      last.length = length
      this.position = start + length
    }
    return last.text
  }

  /** An `int64` as an exact decimal string. A recent one is the same string. */
  int64(): string {
    const low = this.bits28()
    if (!this.goesOn) return this.decimal(low, low)
    const middle = this.bits28()
    // 56 bits, of which a number holds 53.
    if (!this.goesOn && middle < 2 ** 25) return this.decimal(low, middle * TWO_TO_28 + low)
    const high = this.goesOn ? this.bits28() : 0
    if (this.goesOn || high > 0x3fff) throw new Malformed("an integer of more than ten bytes", this.position)
    return String(BigInt.asIntN(64, (BigInt(high) << 56n) | (BigInt(middle) << 28n) | BigInt(low)))
  }

  /** Skips the value of an unknown field, or of a field with another wire type than its own. */
  skip(tag: number): void {
    const start = this.position
    // Nested groups: a counter instead of a stack.
    let groups = 0
    for (let type = tag & 7; ; type = this.tag() & 7) {
      if (type === 0) this.int64()
      else if (type === 1) this.advance(8)
      else if (type === 2) this.advance(this.length())
      else if (type === 3) groups++
      else if (type === 4 && groups > 0) groups--
      else if (type === 5) this.advance(4)
      else throw new Malformed(`wire type ${type}`, this.position)
      if (groups > MAX_GROUPS) throw new Malformed(`more than ${MAX_GROUPS} groups in one another`, this.position)
      if (groups === 0) return
      if (this.position - start > MAX_TEXT_BYTES) throw new Malformed("a group that is too long", this.position)
    }
  }

  /** True if the last four bytes of a varint announced more. */
  private goesOn = false

  // Times, ports and the ids of services come again and again.
  private readonly integers = new Float64Array(INTEGERS)
  private readonly decimals: Array<string> = new Array(INTEGERS).fill("0")

  private decimal(low: number, integer: number): string {
    const place = low & (INTEGERS - 1)
    if (this.integers[place] !== integer) {
      this.integers[place] = integer
      this.decimals[place] = String(integer)
    }
    return this.decimals[place] ?? ""
  }

  private beginning(length: number, field: string | undefined): string {
    if (field !== undefined) this.tooLong = field
    const text = this.bytes.toString("utf8", this.position, this.position + MAX_TEXT_BYTES + 1)
    this.position += length
    return text
  }

  /** Compared from the end: JSON texts of one program rarely differ at their beginning. */
  private repeats(start: number, length: number): boolean {
    const { bytes, position } = this
    for (let i = length - 1; i >= 0; i--) if (bytes[position + i] !== bytes[start + i]) return false
    return true
  }

  private byte(): number {
    if (this.position >= this.end) throw new Malformed("the bytes end in the middle of a field", this.position)
    return this.bytes[this.position++] ?? 0
  }

  /** Seven bits of each of up to four bytes. */
  private bits28(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.goesOn = false
        return value
      }
    }
    this.goesOn = true
    return value
  }

  private uint32(): number {
    const first = this.byte()
    if (first < 0x80) return first
    this.position--
    const low = this.bits28()
    if (!this.goesOn) return low
    const high = this.bits28()
    if (this.goesOn || high > 0xf) throw new Malformed("a tag or a length of more than 32 bits", this.position)
    return high * TWO_TO_28 + low
  }

  private length(): number {
    const length = this.uint32()
    if (length > this.end - this.position) {
      throw new Malformed(`a field of ${length} bytes, of which ${this.end - this.position} are there,`, this.position)
    }
    return length
  }

  private advance(bytes: number): void {
    if (bytes > this.end - this.position) throw new Malformed("the bytes end in the middle of a field", this.position)
    this.position += bytes
  }
}
