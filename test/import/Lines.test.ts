import { assert, describe, it } from "@effect/vitest"
import { type CutFrom, maxChunkBytes, maxLineBytes } from "../../src/import/FileFormat.ts"
import * as Lines from "../../src/import/Lines.ts"

const whole: CutFrom = { ended: true, atStart: true, open: 0, maxLines: 1_000 }

const cutText = (text: string, from: Partial<CutFrom> = {}) => {
  const view = Buffer.from(text)
  const { bytes, lines, pieces } = Lines.cut(view, { ...whole, ...from })
  return { bytes, lines, found: Lines.texts(view, pieces).map((text, index) => [pieces[index]!.line + 1, text]) }
}

describe("Lines.cut", () => {
  it("takes LF and CRLF, numbers blank lines and skips them", () => {
    assert.deepStrictEqual(cutText("a\r\n\n \t\nb\r\r\nç\n"), {
      bytes: 14,
      lines: 5,
      found: [
        [1, "a"],
        [4, "b\r"],
        [5, "ç"]
      ]
    })
  })

  it("skips a byte order mark at the start only", () => {
    assert.deepStrictEqual(cutText("\ufeffa\n\ufeffb\n").found, [
      [1, "a"],
      [2, "\ufeffb"]
    ])
    assert.deepStrictEqual(cutText("\ufeffa\n", { atStart: false }).found, [[1, "\ufeffa"]])
    assert.deepStrictEqual(cutText("\ufeff"), { bytes: 3, lines: 0, found: [] })
  })

  it("makes a last line without its end a chunk of its own", () => {
    assert.deepStrictEqual(cutText("a\nb"), { bytes: 2, lines: 1, found: [[1, "a"]] })
    assert.deepStrictEqual(cutText("b"), { bytes: 1, lines: 1, found: [[1, "b"]] })
    assert.deepStrictEqual(cutText("b", { ended: false }), { bytes: 0, lines: 0, found: [] })
  })

  it("does not number the end of a line that was read before it had one", () => {
    assert.deepStrictEqual(cutText("\nb\n", { atStart: false, open: 1 }), { bytes: 3, lines: 1, found: [[1, "b"]] })
    assert.deepStrictEqual(cutText("\r\nb\n", { atStart: false, open: 1 }), { bytes: 4, lines: 1, found: [[1, "b"]] })
  })

  it("ends a chunk at its greatest number of lines, blank ones not counted", () => {
    assert.strictEqual(cutText("a\n\nb\nc\n", { maxLines: 2 }).bytes, 5)
    assert.strictEqual(cutText(`${"\n".repeat(100)}a\nb\n`, { maxLines: 1 }).bytes, 102)
  })

  it("refuses a line that is too long, in parts if need be", () => {
    const long = Buffer.alloc(maxLineBytes + 1, "x")
    const between = Buffer.concat([Buffer.from("a\n"), long, Buffer.from("\nb\n")])
    const { pieces } = Lines.cut(between, whole)
    assert.deepStrictEqual(
      pieces.map(({ refusal }) => refusal?.problem),
      [undefined, "is longer than 1048576 bytes", undefined]
    )
    const endless = Buffer.alloc(maxChunkBytes, "x")
    const head = Lines.cut(endless, { ...whole, ended: false })
    assert.deepStrictEqual([head.bytes, head.lines, head.pieces.length], [maxChunkBytes, 1, 1])
    assert.isDefined(head.pieces[0]!.refusal)
    const inside = { ...whole, atStart: false, open: maxChunkBytes }
    assert.deepStrictEqual(Lines.cut(endless, inside), { bytes: maxChunkBytes, lines: 0, pieces: [] })
    assert.deepStrictEqual(Lines.cut(Buffer.from("xx\nb\n"), inside), { bytes: 3, lines: 0, pieces: [] })
    // After a whole line the long one waits for the next chunk.
    assert.strictEqual(Lines.cut(Buffer.concat([Buffer.from("a\n"), long]), { ...whole, ended: false }).bytes, 2)
  })

  it("keeps one line with broken bytes from spoiling the others", () => {
    const view = Buffer.from("caf\xc3\xa9\ncaf\xe9\nplain\n", "latin1")
    assert.deepStrictEqual(Lines.texts(view, Lines.cut(view, whole).pieces), ["café", undefined, "plain"])
  })
})

describe("Lines.sums", () => {
  const sums = (text: string) => Lines.sums(Buffer.from(text)).toString("hex")

  it("of a shorter copy are the beginning of those of the whole", () => {
    const all = sums("one\ntwo\r\n\nthree\n")
    for (const part of ["one\n", "one", "one\ntwo\r\n", "one\ntwo", "one\ntwo\r\n\nthree"]) {
      assert.isTrue(all.startsWith(sums(part)), part)
    }
    for (const other of ["on", "one\ntw", "one\n\ntwo\n", "two"]) assert.isFalse(all.startsWith(sums(other)), other)
    assert.strictEqual(sums(""), "")
  })
})
