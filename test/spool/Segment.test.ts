import { assert, describe, it } from "@effect/vitest"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import type { ServiceName } from "../../src/domain/Service.ts"
import type { UsageRecord } from "../../src/domain/UsageRecord.ts"
import * as Segment from "../../src/spool/Segment.ts"

const record = (index: number): UsageRecord => ({
  customer: `acme\\ ${index} "ü" 😀` as CustomerId,
  service: "api" as ServiceName,
  amount: `${index}.5`,
  unitCost: index % 2 === 0 ? undefined : "0.25",
  recordedAt: (1_767_225_600_000_000 + index) as Instant,
  metadata: index % 3 === 0 ? null : `{"line\\n":"\\u2028",  "i":${index}}`
})
const records = Array.from({ length: 8 }, (_, index) => record(index))
const frames = records.map((one) => Buffer.from(Segment.encode(one)))
const whole = Buffer.concat([Buffer.from(Segment.header), ...frames])

describe("a segment", () => {
  it("gives back what was written", () => {
    assert.deepStrictEqual(Segment.decode(whole), { records, broken: [] })
    assert.deepStrictEqual(Segment.decode(Buffer.from(Segment.header)), { records: [], broken: [] })
    assert.deepStrictEqual(Segment.decode(Buffer.alloc(0)), { records: [], broken: [] })
  })

  it("torn at any byte keeps the whole frames before, and calls the rest torn", () => {
    for (let length = Segment.header.length; length < whole.length; length++) {
      let end = Segment.header.length
      let complete = 0
      // A frame without its line end is whole: its length and checksum say so.
      while (complete < frames.length && end + frames[complete]!.length - 1 <= length) end += frames[complete++]!.length
      const { broken, records: kept } = Segment.decode(whole.subarray(0, length))
      assert.strictEqual(kept.length, complete, `torn at ${length}`)
      assert.isTrue(
        broken.every((frame) => frame.torn),
        `torn at ${length}`
      )
      assert.strictEqual(broken.length, length > end ? 1 : 0, `torn at ${length}`)
    }
  })

  it("a flipped bit, anywhere, costs only its own frame", () => {
    for (let place = Segment.header.length; place < whole.length; place++) {
      for (const bit of [0, 1, 4, 6, 7]) {
        const damaged = Buffer.from(whole)
        damaged[place]! ^= 1 << bit
        const { broken, records: kept } = Segment.decode(damaged)
        let frame = 0
        let begin = Segment.header.length
        while (begin + frames[frame]!.length <= place) begin += frames[frame++]!.length
        const others = records.filter((_, index) => index !== frame)
        const atLineEnd = damaged[place] !== whole[place] && whole[place] === 0x0a
        if (atLineEnd) {
          // The line end carries nothing: its frame is read by its length.
          assert.deepStrictEqual(kept, records, `bit ${bit} of ${place}`)
          continue
        }
        assert.deepStrictEqual(kept, others, `bit ${bit} of ${place}`)
        assert.isAtLeast(broken.length, 1, `bit ${bit} of ${place}`)
      }
    }
  })

  it("garbage is no record", () => {
    for (const text of ["\n\n\n", "5 00000000 hello\n", "999 zz", "1 b7b2364b a\n", "\u0000".repeat(100)]) {
      assert.deepStrictEqual(Segment.decode(Buffer.from(Segment.header + text)).records, [])
    }
  })
})
