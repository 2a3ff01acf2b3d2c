/** A process that delivers a spool, and says what it delivered. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { Spool } from "../../src/spool/Spool.ts"
import { SpoolDelivery } from "../../src/spool/SpoolDelivery.ts"

const [url, directory] = process.argv.slice(2)

const layer = SpoolDelivery.layer({ retryFor: "10 seconds" }).pipe(
  Layer.provide([Postgres.layer({ url: Redacted.make(url!) }), Spool.layer({ directory: directory! })])
)

console.log(
  JSON.stringify(
    await Effect.runPromise(
      Effect.provide(
        Effect.flatMap(SpoolDelivery, (delivery) => delivery.deliverAll()),
        layer
      )
    )
  )
)
