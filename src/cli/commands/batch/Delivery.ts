/** The spool's way into the database. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SpoolDelivery } from "../../../spool/SpoolDelivery.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Progress from "../../render/Progress.ts"
import * as Session from "../../shared/Session.ts"

export const layer = Layer.provideMerge(
  SpoolDelivery.layer({ retryFor: "3 seconds" }),
  Layer.merge(Session.layerSpool, Session.layerDatabase)
)

/** Delivers the spool; fails with findings if lines or records were refused. */
export const deliver = Effect.gen(function* () {
  const delivery = yield* SpoolDelivery
  const delivered = yield* Session.watched(
    (stream) => Progress.make(stream, undefined),
    (progress) =>
      delivery.deliverAll({
        onBatch: (so) => Effect.sync(() => progress?.show(so.records, `${so.records} records, ${so.batches} batches`))
      })
  )
  yield* Session.say(`delivered ${delivered.records} records in ${delivered.batches} batches`)
  if (delivered.refused > 0) {
    return yield* new Findings({
      summary: `${delivered.refused} were refused and are dead letters now: see \`usage dead-letters list\``
    })
  }
})
