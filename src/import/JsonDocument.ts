/**
 * Turns a JSON document of usage into lines, one object a line, while it is read.
 *
 * The document is what `usage export json` writes, an object with a list `usage_records`, or a list alone. Its objects are found
 * here, in bytes, and then parsed as lines of NDJSON: numbers keep their digits, and a malformed object does not affect the others.
 * Memory is bounded by a block, however long an object or the document is.
 *
 * `customer_id` stands before the list and is copied into each line. So each line is complete, and the same records exported on
 * another day give the same lines.
 *
 * Hand-written: `effect/encoding/JsonArray` does the same walk, but parses the objects, whose digits are lost.
 */

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const newline = 0x0a
const carriageReturn = 0x0d
const space = 0x20
const verticalTab = 0x0b

const isSpace = (byte: number): boolean =>
  byte === space || byte === newline || byte === carriageReturn || byte === 0x09

/** Bytes that no value begins with. */
const separators: ReadonlySet<number> = new Set([comma, colon, closeBracket, closeBrace])

/** Most bytes of a name, and of the text that says whose usage it is. */
const longestKept = 4_096

/**
 * Finds the end of one value, across blocks. It does not check that the value is JSON.
 *
 * Line breaks between tokens become spaces, in the block itself. A string may not contain one: there it becomes another forbidden
 * character, so that the line is refused.
 */
class Value {
  /** Whether `next` has come to its end. */
  ended = false
  #depth = 0
  #inText = false
  #escaped = false
  #isScalar = false

  /** Where the value ends in a block, or the block's length if it goes on. */
  next(block: Buffer, from: number): number {
    for (let i = from; i < block.length; i++) {
      const byte = block[i]!
      if (byte === newline || byte === carriageReturn) block[i] = this.#inText ? verticalTab : space
      if (this.#inText) {
        if (this.#escaped) this.#escaped = false
        else if (byte === backslash) this.#escaped = true
        else if (byte === quote) {
          this.#inText = false
          if (this.#depth === 0) return this.#end(i + 1)
        }
      } else if (byte === quote) this.#inText = true
      else if (byte === openBrace || byte === openBracket) this.#depth++
      else if (byte === closeBrace || byte === closeBracket) {
        if (this.#depth === 0) return this.#end(i)
        if (--this.#depth === 0) return this.#end(i + 1)
      } else if (this.#depth === 0) {
        if (this.#isScalar && (byte === comma || isSpace(byte))) return this.#end(i)
        this.#isScalar = true
      }
    }
    return block.length
  }

  #end(at: number): number {
    this.ended = true
    return at
  }
}

/** What may come next, between values. */
type Expected = "document" | "name" | "colon" | "value" | "afterValue" | "element" | "afterElement" | "nothing"

/** A value that is being read: what to do with its bytes, and when it has ended. */
interface Reading {
  readonly value: Value
  readonly take: (piece: Buffer) => void
  readonly done: () => void
}

class Reader {
  #expected: Expected = "document"
  #reading: Reading | undefined
  /** A list or an object that has just been opened may be closed at once. */
  #isFirst = false
  #inObject = false
  #hasList = false
  #name = ""
  /** What the document says of it; `undefined` until then. */
  #customer: string | null | undefined
  #entries = 0
  #out: Array<Buffer> = []

  /** Reads a block, and modifies it. Throws where it ceases to be a document; what came before can be taken. */
  push(block: Buffer): void {
    for (let i = 0; i < block.length;) {
      const reading = this.#reading
      if (reading !== undefined) {
        const end = reading.value.next(block, i)
        if (end > i) reading.take(block.subarray(i, end))
        i = end
        if (reading.value.ended) {
          this.#reading = undefined
          reading.done()
        }
      } else if (isSpace(block[i]!)) i++
      else i += this.#step(block[i]!)
    }
  }

  /** The lines that were completed since the last call. */
  take(): Buffer {
    const out = this.#out
    this.#out = []
    return out.length === 1 ? out[0]! : Buffer.concat(out)
  }

  end(): void {
    if (this.#expected === "document") throw new Error("it is empty")
    if (this.#expected !== "nothing") throw new Error(`it is cut short after entry ${this.#entries}`)
    if (!this.#hasList) {
      throw new Error("it has no list usage_records; lines of JSON are the format ndjson, and sums are not imported")
    }
  }

  /** Looks at a byte between values. Gives 1 where that is used up, and 0 where a value begins with it. */
  #step(byte: number): 0 | 1 {
    const isFirst = this.#isFirst
    this.#isFirst = false
    switch (this.#expected) {
      case "document":
        if (byte === openBrace) return this.#open("name", true)
        if (byte !== openBracket) break
        this.#hasList = true
        return this.#open("element", false)
      case "name":
        if (byte === closeBrace && isFirst) return this.#expect("nothing")
        return byte === quote ? this.#readName() : this.#refuse(byte)
      case "colon":
        if (byte === colon) return this.#expect("value")
        break
      case "value":
        return this.#name === "usage_records" ? this.#openList(byte) : this.#readValue(byte)
      case "afterValue":
        if (byte === comma) return this.#expect("name")
        if (byte === closeBrace) return this.#expect("nothing")
        break
      case "element":
        if (byte === closeBracket && isFirst) return this.#closeList()
        return this.#readElement(byte)
      case "afterElement":
        if (byte === comma) return this.#expect("element")
        if (byte === closeBracket) return this.#closeList()
        break
      case "nothing":
        break
    }
    return this.#refuse(byte)
  }

  #refuse(byte: number): never {
    const found = byte > space && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte ${byte}`
    const place = this.#entries === 0 ? "before its first entry" : `after entry ${this.#entries}`
    throw new Error(`it is not a JSON document of usage records: ${found} ${place}`)
  }

  #expect(expected: Expected): 1 {
    this.#expected = expected
    return 1
  }

  #open(expected: "name" | "element", inObject: boolean): 1 {
    this.#inObject = inObject
    this.#isFirst = true
    return this.#expect(expected)
  }

  #openList(byte: number): 1 {
    if (byte !== openBracket) this.#refuse(byte)
    if (this.#customer === undefined) {
      throw new Error("customer_id does not stand before usage_records; it may be null")
    }
    this.#hasList = true
    this.#isFirst = true
    return this.#expect("element")
  }

  #closeList(): 1 {
    return this.#expect(this.#inObject ? "afterValue" : "nothing")
  }

  /** Reads a value, of which so much is kept. */
  #keep(most: number, done: (text: string) => void): 0 {
    const kept: Array<Buffer> = []
    let bytes = 0
    this.#reading = {
      value: new Value(),
      take: (piece) => {
        if (bytes < most) kept.push(Buffer.from(piece.subarray(0, most - bytes)))
        bytes += piece.length
      },
      done: () => done(bytes > most ? "" : Buffer.concat(kept).toString())
    }
    return 0
  }

  #readName(): 0 {
    return this.#keep(longestKept, (text) => {
      const name = jsonOf(text)
      this.#name = typeof name === "string" ? name : ""
      this.#expected = "colon"
    })
  }

  #readValue(first: number): 0 {
    if (separators.has(first)) this.#refuse(first)
    const isCustomer = this.#name === "customer_id"
    return this.#keep(isCustomer ? longestKept : 0, (text) => {
      if (isCustomer) {
        const customer = jsonOf(text)
        if (typeof customer !== "string" && customer !== null) throw new Error("its customer_id is not text")
        if (this.#customer !== undefined) throw new Error("it has two customer_id")
        if (this.#hasList) throw new Error("its customer_id does not stand before usage_records")
        this.#customer = customer
      }
      this.#expected = "afterValue"
    })
  }

  #readElement(first: number): 0 {
    if (separators.has(first)) this.#refuse(first)
    this.#entries++
    let isBeginning = typeof this.#customer === "string" && first === openBrace
    this.#reading = {
      value: new Value(),
      take: (piece) => {
        if (isBeginning) this.#out.push(Buffer.from(`{"customer_id":${JSON.stringify(this.#customer)},`))
        this.#out.push(isBeginning ? piece.subarray(1) : piece)
        isBeginning = false
      },
      done: () => {
        this.#out.push(lineEnd)
        this.#expected = "afterElement"
      }
    }
    return 0
  }
}

const lineEnd = Buffer.of(newline)

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const mark = Buffer.from([0xef, 0xbb, 0xbf])

/** The lines of a document; fails where it ceases to be one. */
export async function* lines(document: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new Reader()
  let head: Buffer | undefined = Buffer.alloc(0)
  for await (const block of document) {
    let bytes: Buffer = Buffer.from(block)
    if (head !== undefined) {
      head = Buffer.concat([head, bytes])
      if (head.length < mark.length) continue
      bytes = head.subarray(0, mark.length).equals(mark) ? head.subarray(mark.length) : head
      head = undefined
    }
    yield* linesOf(reader, bytes)
  }
  if (head !== undefined) yield* linesOf(reader, head)
  reader.end()
}

function* linesOf(reader: Reader, block: Buffer): Generator<Uint8Array> {
  let failure: { readonly cause: unknown } | undefined
  try {
    reader.push(block)
  } catch (cause) {
    failure = { cause }
  }
  const out = reader.take()
  if (out.length > 0) yield out
  if (failure !== undefined) throw failure.cause
}
