/** A process that races for the lock of a directory, once a round: it starts when told, and says whether it won. */
import * as Effect from "effect/Effect"
import { existsSync } from "node:fs"
import { join } from "node:path"
import * as DirectoryLock from "../../src/database/embedded/DirectoryLock.ts"

const [directory, rounds] = process.argv.slice(2)

/** Spins, so that all racers start in the same millisecond. */
const until = (file: string) => {
  while (!existsSync(join(directory!, file))) continue
}

for (let round = 1; round <= Number(rounds); round++) {
  until(`go-${round}`)
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const result = yield* Effect.result(DirectoryLock.acquire(directory!))
        console.log(result._tag === "Success" ? "won" : "lost")
        // Whoever has won keeps it until the round is over.
        while (!existsSync(join(directory!, `end-${round}`))) yield* Effect.sleep(2)
      })
    )
  )
  console.log("released")
}
