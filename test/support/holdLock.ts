/** A process that takes the lock of a directory, says so, and keeps it until it is killed. */
import * as Effect from "effect/Effect"
import * as DirectoryLock from "../../src/database/embedded/DirectoryLock.ts"

const [directory] = process.argv.slice(2)

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      yield* DirectoryLock.acquire(directory!)
      console.log("locked")
      yield* Effect.sleep("1 hour")
    })
  )
)
