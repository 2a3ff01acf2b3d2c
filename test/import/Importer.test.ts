import { assert, layer } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { Database } from "../../src/database/Database.ts"
import { maxChunkBytes } from "../../src/import/FileFormat.ts"
import { Importer, type ImportOptions } from "../../src/import/Importer.ts"
import { eachEngine } from "../support/engines.ts"
import {
  bytes,
  importNdjson,
  ledgerAgrees,
  letters,
  logLine,
  stored,
  sumTo,
  usageLine,
  usageLines
} from "../support/imports.ts"

eachEngine("Importer", (engine) => {
  const services = Layer.provideMerge(Importer.layer({ chunkLines: 100 }), engine.layer)
  layer(services, { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.effect("imports an access log, and nothing of it again", () =>
      Effect.gen(function* () {
        let total = 0n
        let log = ""
        for (let index = 0; index < 1_050; index++) {
          const size = (index * 7_919) % 100_003
          total += BigInt(size)
          log += logLine(index, size)
        }
        log += "garbage\n"
        const run = (source: ImportOptions["source"], name: string) =>
          importNdjson("log", source, { format: "access-log", name })
        const first = yield* run(bytes(log), "access.log")
        assert.deepStrictEqual(first, {
          lines: 1_051,
          skippedLines: 0,
          records: 2_100,
          refused: 1,
          bytes: log.length,
          batches: 11,
          firstRefusals: [{ line: 1_051, field: "time", problem: "there is none such as [17/May/2015:10:05:03 +0000]" }]
        })
        const expected = { api: [1_050, "1050"], bandwidth: [1_050, `${total}`] }
        assert.deepStrictEqual(yield* stored("log"), expected)
        for (const source of [
          bytes(log),
          bytes(gzipSync(log)),
          bytes(zstdCompressSync(log)),
          Stream.make(Buffer.from(log))
        ]) {
          const again = yield* run(source, "renamed.log.gz")
          assert.deepStrictEqual(
            [again.lines, again.skippedLines, again.records, again.refused, again.batches],
            [1_051, 1_051, 0, 0, 0]
          )
        }
        assert.deepStrictEqual(yield* stored("log"), expected)
        assert.lengthOf(yield* letters("access.log"), 1)
        assert.lengthOf(yield* letters("renamed.log.gz"), 0)
        yield* ledgerAgrees
      })
    )

    it.effect("takes customers from the lines of a log", () =>
      Effect.gen(function* () {
        const log = [
          'a.test:443 203.0.113.7 - frank [15/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 10',
          'b.test:443 203.0.113.7 - - [15/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 20'
        ].join("\n")
        const run = (customerFrom: "ip" | "user" | "vhost") =>
          importNdjson("unused", bytes(log), { format: "access-log", customer: undefined, customerFrom })
        assert.strictEqual((yield* run("vhost")).records, 4)
        assert.strictEqual((yield* run("ip")).records, 4)
        const byUser = yield* run("user")
        assert.deepStrictEqual([byUser.records, byUser.refused], [2, 1])
        assert.deepStrictEqual(yield* stored("a.test"), { api: [1, "1"], bandwidth: [1, "10"] })
        assert.deepStrictEqual(yield* stored("203.0.113.7"), { api: [2, "2"], bandwidth: [2, "30"] })
        assert.deepStrictEqual(yield* stored("frank"), { api: [1, "1"], bandwidth: [1, "10"] })
      })
    )

    it.effect("imports only what is new of a file that has grown, wherever it ended", () =>
      Effect.gen(function* () {
        for (const [customer, seen] of [
          ["grown at a line's end", usageLines(230)],
          ["grown at a line without its end", usageLines(230).trimEnd()],
          ["grown at a part of a line", `${usageLines(229)}{"service":"bandw`],
          ["grown from nothing", ""]
        ] as const) {
          const all = usageLines(1_000)
          const first = yield* importNdjson(customer, bytes(seen))
          const second = yield* importNdjson(customer, bytes(all))
          assert.strictEqual(second.records, 1_000 - first.records, customer)
          assert.strictEqual(second.lines, 1_000, customer)
          assert.deepStrictEqual(yield* stored(customer), { bandwidth: [1_000, sumTo(1_000)] }, customer)
          const third = yield* importNdjson(customer, bytes(all))
          assert.deepStrictEqual([third.lines, third.skippedLines], [1_000, 1_000], customer)
        }
        yield* ledgerAgrees
      })
    )

    it.effect("does not count a line twice that has grown after it was counted", () =>
      Effect.gen(function* () {
        const customer = "half a line"
        const run = (log: string) => importNdjson(customer, bytes(log), { format: "access-log" })
        const line = 'h - - [15/Jan/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12'
        yield* run(line)
        const second = yield* run(`${line}34\n${logLine(1, 5)}`)
        assert.deepStrictEqual([second.records, second.refused], [2, 1])
        assert.deepStrictEqual(yield* stored(customer), { api: [2, "2"], bandwidth: [2, "17"] })
        assert.match((yield* letters(customer))[0]!.problem, /has grown/)
        assert.strictEqual((yield* run(`${line}34\n${logLine(1, 5)}`)).records, 0)
      })
    )

    it.effect("adds nothing of a shorter copy", () =>
      Effect.gen(function* () {
        const customer = "copies"
        const all = usageLines(1_000)
        yield* importNdjson(customer, bytes(all))
        for (const lines of [1, 50, 100, 150, 999]) {
          for (const copy of [usageLines(lines), usageLines(lines).trimEnd()]) {
            const summary = yield* importNdjson(customer, bytes(copy))
            assert.deepStrictEqual([summary.lines, summary.skippedLines, summary.records], [lines, lines, 0])
          }
        }
        const other = yield* importNdjson(customer, bytes(`${usageLines(150)}${usageLine(1)}`))
        assert.strictEqual(other.skippedLines, 100)
      })
    )

    it.effect("tells equal content apart by label, and by customer", () =>
      Effect.gen(function* () {
        const content = usageLines(10)
        yield* importNdjson("server 1", bytes(content), { label: "a" })
        assert.strictEqual((yield* importNdjson("server 1", bytes(content), { label: "b" })).records, 10)
        assert.strictEqual((yield* importNdjson("server 1", bytes(content), { label: "b" })).records, 0)
        assert.strictEqual((yield* importNdjson("server 2", bytes(content), { label: "b" })).records, 10)
      })
    )

    it.effect("goes on after an interruption", () =>
      Effect.gen(function* () {
        const customer = "interrupted"
        const all = usageLines(5_000)
        let interruptions = 0
        for (let turn = 0; ; turn++) {
          // Later each time, at places that no chunk begins at.
          let left = 1 + turn * 3
          const fiber: Fiber.Fiber<unknown, unknown> = yield* Effect.forkChild(
            importNdjson(customer, bytes(all), {
              onProgress: () => (left-- > 0 ? Effect.void : Effect.interrupt)
            })
          )
          const exit = yield* Fiber.await(fiber)
          yield* ledgerAgrees
          if (exit._tag === "Success") break
          interruptions++
        }
        assert.isAbove(interruptions, 2)
        assert.deepStrictEqual(yield* stored(customer), { bandwidth: [5_000, sumTo(5_000)] })
      })
    )

    it.effect("imports a file once that several import at the same time", () =>
      Effect.gen(function* () {
        const customer = "concurrent"
        const all = `${usageLines(3_000)}${"broken\n".repeat(250)}`
        const summaries = yield* Effect.forEach(
          [all, all, gzipSync(all), usageLines(2_150)],
          (content) => importNdjson(customer, bytes(content)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* stored(customer), { bandwidth: [3_000, sumTo(3_000)] })
        assert.strictEqual(
          summaries.reduce((sum, { records }) => sum + records, 0),
          3_000
        )
        assert.strictEqual(
          summaries.reduce((sum, { refused }) => sum + refused, 0),
          250
        )
        assert.lengthOf(yield* letters(customer), 250)
        yield* ledgerAgrees
      })
    )

    it.effect("refuses bad lines by their number and keeps them, and takes their neighbours", () =>
      Effect.gen(function* () {
        const customer = "bad lines"
        const bad = [
          "not json",
          "\u0000",
          '{"service":"bandwidth","amount":-1}',
          '{"service":"nowhere","amount":1}',
          '{"service":"bandwidth","amount":1,"metadata":{"a":"\\u0000"}}',
          '{"service":"bandwidth","amount":1,"metadata":{"a":"\\ud800"}}',
          '{"service":"bandwidth","amount":1,"recorded_at":"9999-01-01"}',
          '{"service":"bandwidth","amount":1,"time":"2026-02-30"}',
          '{"service":"bandwidth","amuont":1}',
          `{"service":"bandwidth","amount":1,"metadata":${"[".repeat(10_000)}}`,
          "\\.",
          "x".repeat(1_100_000),
          "caf\xe9"
        ]
        const content = Buffer.concat(
          bad.flatMap((line, index) => [
            Buffer.from(usageLine(index)),
            Buffer.from(line, "latin1"),
            Buffer.from("\r\n")
          ])
        )
        const summary = yield* importNdjson(customer, bytes(content, 50_000))
        assert.deepStrictEqual([summary.records, summary.refused, summary.lines], [13, 13, 26])
        assert.deepStrictEqual(
          summary.firstRefusals.map(({ field, line }) => [line, field]),
          [
            [2, "line"],
            [4, "line"],
            [6, "amount"],
            [8, "service"],
            [10, "metadata"],
            [12, "metadata"],
            [14, "recorded_at"],
            [16, "time"],
            [18, "amuont"],
            [20, "line"]
          ]
        )
        assert.deepStrictEqual(yield* stored(customer), { bandwidth: [13, sumTo(13)] })
        const kept = yield* letters(customer)
        assert.deepStrictEqual(
          kept.map(({ place }) => place),
          bad.map((_, index) => `line ${2 * index + 2}`)
        )
        assert.strictEqual(kept[0]!.content, "not json")
        assert.strictEqual(kept[11]!.content.length, 262_144)
        assert.strictEqual(kept[12]!.content, "caf\\351")
      })
    )

    it.effect("refuses a file of another kind as a whole, and not a line of it after the other", () =>
      Effect.gen(function* () {
        const database = Layer.succeed(Database, yield* Database)
        const importer = (chunkLines: number) =>
          Layer.fresh(Importer.layer({ chunkLines })).pipe(Layer.provide(database))
        const kinds = "{\n".repeat(1_500)
        // However small its chunks are, and when it is tried again.
        for (const [chunkLines, most] of [
          [5_000, 0],
          [300, 900],
          [300, 900]
        ] as const) {
          const refused = yield* Effect.flip(
            Effect.provide(importNdjson("another kind", bytes(kinds)), importer(chunkLines))
          )
          assert.strictEqual(refused.reason._tag, "InvalidInput")
          assert.match(refused.message, /^file: none of its first 1000 lines is usage: line \d+: line: is not JSON/)
          assert.isAtMost((yield* letters("another kind")).length, most)
        }
        // Fewer may all be wrong, and more behind one that is right.
        const some = yield* importNdjson("some bad", bytes("{\n".repeat(999)))
        assert.strictEqual(some.refused, 999)
        const behind = yield* importNdjson("bad behind", bytes(usageLine(1) + "{\n".repeat(1_500)))
        assert.deepStrictEqual([behind.records, behind.refused], [1, 1_500])
        yield* ledgerAgrees
      })
    )

    it.effect("keeps numbers and metadata to the letter", () =>
      Effect.gen(function* () {
        const customer = "exact"
        const metadata = '{ "b" : 1.50, "a" : 1e3, "a" : "\\t\\\\ \\"\u202e😀" }'
        const amounts = ["9007199254740993", "0.1", "0.2", "123456789012345678901234.000000000000000001"]
        const sum = `${9007199254740993n + 123456789012345678901234n}.300000000000000001`
        const lines = amounts.map((amount) => `{"service":"bandwidth","amount":${amount},"metadata":${metadata}}`)
        yield* importNdjson(customer, bytes(lines.join("\n")))
        assert.deepStrictEqual(yield* stored(customer), {
          bandwidth: [4, sum]
        })
        const { name, sql } = yield* Database
        const rows = yield* sql.unsafe<{ metadata: string }>(
          `select distinct metadata::text as metadata from ${name("billing_usage_records")} where customer_id = $1`,
          [customer]
        )
        assert.deepStrictEqual(
          rows.map((row) => row.metadata),
          [metadata]
        )
      })
    )

    it.effect("imports CSV, with line breaks in fields and broken rows", () =>
      Effect.gen(function* () {
        const customer = "csv"
        const rows = Array.from({ length: 400 }, (_, index) =>
          index % 100 === 50
            ? `2026-01-15,bandwidth,${index}`
            : `2026-01-15 10:00:00,bandwidth,${index},"{""n"":\n${index}}"`
        )
        const file = `timestamp,service,amount,metadata\n${rows.join("\n")}\n`
        const run = (content: string) => importNdjson(customer, bytes(content), { format: "csv" })
        const [first, second] = [yield* run(file), yield* run(`${file}2026-01-15,bandwidth,1,`)]
        assert.deepStrictEqual([first.records, first.refused, first.firstRefusals[0]!.line], [396, 4, 102])
        assert.deepStrictEqual([second.records, second.skippedLines, second.lines], [1, 797, 798])
        const refusedSum = 50 + 150 + 250 + 350
        assert.deepStrictEqual(yield* stored(customer), {
          bandwidth: [397, `${BigInt(sumTo(400)) - BigInt(refusedSum) + 1n}`]
        })
        const wrong = yield* Effect.flip(run("timestamp,service,amuont\n2026-01-15,api,1\n"))
        assert.strictEqual(wrong.reason._tag, "InvalidInput")
        assert.match(wrong.message, /amuont/)
      })
    )

    it.effect("takes concatenated gzip, and all whole lines of one that is cut short", () =>
      Effect.gen(function* () {
        const customer = "gzip"
        const all = usageLines(20_000)
        const half = all.length / 2
        const zipped = Buffer.concat([gzipSync(all.slice(0, half)), gzipSync(all.slice(half))])
        const cut = yield* Effect.flip(importNdjson(customer, bytes(zipped.subarray(0, -100))))
        assert.strictEqual(cut.reason._tag, "UnreadableSource")
        assert.match(cut.message, /cut short/)
        const { bandwidth } = yield* stored(customer)
        assert.strictEqual(bandwidth![1], sumTo(bandwidth![0] as number))
        yield* importNdjson(customer, bytes(zipped))
        assert.deepStrictEqual(yield* stored(customer), { bandwidth: [20_000, sumTo(20_000)] })
      })
    )

    it.effect("is ended while its source has nothing to give", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        const silent = new Readable({ read: () => void Deferred.doneUnsafe(asked, Effect.void) })
        const fiber = yield* Effect.forkChild(importNdjson("silent", silent))
        yield* Deferred.await(asked)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(silent.destroyed)
      })
    )

    it.effect("reads no further ahead than it must, and keeps no long line in memory", () =>
      Effect.gen(function* () {
        const block = Buffer.alloc(262_144, "x")
        let given = 0
        let ahead = 0
        const source = Readable.from(
          (function* () {
            for (let index = 0; index < 400; index++) {
              given += block.length
              yield block
            }
            yield Buffer.from(`\n${usageLine(7)}`)
          })(),
          { objectMode: false }
        )
        const summary = yield* importNdjson("endless line", source, {
          onProgress: ({ bytes }) => Effect.sync(() => (ahead = Math.max(ahead, given - bytes)))
        })
        assert.deepStrictEqual([summary.lines, summary.records, summary.refused], [2, 1, 1])
        assert.match(summary.firstRefusals[0]!.problem, /longer than/)
        assert.isBelow(ahead, 4 * maxChunkBytes)
      })
    )

    it.effect("refuses the one record that the database does not take", () =>
      Effect.gen(function* () {
        const customer = "poison"
        const { name, sql } = yield* Database
        yield* sql.unsafe(
          `create function ${name("refuse_poison")}() returns trigger language plpgsql as
          $$begin if new.metadata->>'n' = '777' then raise exception 'poison' using errcode = '23514'; end if; return new; end$$`
        )
        yield* sql.unsafe(
          `create trigger refuse_poison before insert on ${name("billing_usage_records")}
          for each row execute function ${name("refuse_poison")}()`
        )
        const summary = yield* importNdjson(customer, bytes(usageLines(1_000)))
        yield* sql.unsafe(`drop trigger refuse_poison on ${name("billing_usage_records")}`)
        assert.deepStrictEqual([summary.records, summary.refused, summary.lines], [999, 1, 1_000])
        assert.deepStrictEqual(
          summary.firstRefusals.map(({ line }) => line),
          [778]
        )
        assert.deepStrictEqual(yield* stored(customer), { bandwidth: [999, `${BigInt(sumTo(1_000)) - 777n}`] })
      })
    )

    it.effect("has nothing to do for an empty file, and says what is wrong with a source or an option", () =>
      Effect.gen(function* () {
        for (const format of ["ndjson", "csv", "access-log"] as const) {
          const summary = yield* importNdjson("empty", bytes(""), { format })
          assert.deepStrictEqual([summary.lines, summary.records, summary.batches], [0, 0, 0])
        }
        const reasons = yield* Effect.forEach(
          [
            { source: "no-such-file" },
            { source: "." },
            { source: bytes("BZh91AY&SY") },
            { source: bytes(Buffer.from("fffe7b007d00", "hex"), 1) },
            { customer: "\u0000" },
            { format: "access-log", customer: undefined },
            { format: "access-log", customerFrom: "ip" },
            { customer: undefined, customerFrom: "ip" }
          ] as ReadonlyArray<Partial<ImportOptions>>,
          (options) => Effect.map(Effect.flip(importNdjson("wrong", bytes(""), options)), ({ reason }) => reason._tag)
        )
        assert.deepStrictEqual(reasons, [
          ...Array.from({ length: 4 }, () => "UnreadableSource"),
          ...Array.from({ length: 4 }, () => "InvalidInput")
        ])
      })
    )
  })
})
