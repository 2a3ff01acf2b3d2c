/** A process that puts records into a segment that it keeps open, says how many it has acknowledged, and goes on until killed. */
import * as Effect from "effect/Effect"
import * as SegmentWriter from "../../src/spool/SegmentWriter.ts"
import * as SpoolDirectory from "../../src/spool/SpoolDirectory.ts"
import { recordOf } from "./segments.ts"

const [directory, prefix] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const spool = yield* Effect.promise(() => SpoolDirectory.openSpool(directory!))
  const writer = yield* SegmentWriter.make(spool, {
    maxRecords: 1_000_000,
    maxAge: 3_600_000 as never,
    capacity: 16,
    onSealed: () => Effect.die("nothing seals it")
  })
  for (let i = 1; ; i++) {
    yield* writer.append([recordOf(`${prefix}-${i}`)])
    console.log(i)
    yield* Effect.sleep("5 millis")
  }
})

await Effect.runPromise(Effect.scoped(program))
