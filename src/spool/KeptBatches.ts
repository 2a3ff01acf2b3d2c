/**
 * Keeps delivered batches for a while, and delivers them again if the database turns out to lack them.
 *
 * An acknowledged commit may be lost when a server fails over to a standby that had not received it, or is restored to an
 * earlier time. So from time to time the ledger is asked for what was delivered since, and, if the server has changed, for
 * everything that is kept. The ledger takes a batch once, so delivering it again is harmless.
 *
 * - A batch is removed only after its time is up and the database has confirmed it since, however long an outage takes.
 * - Batches that were delivered to another database are left to that one.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { DatabaseError } from "../database/DatabaseError.ts"
import { type Identity, isOf } from "../database/IdentityStore.ts"
import type { UsageStore } from "../ledger/UsageStore.ts"
import * as Delivered from "./Delivered.ts"
import type { Spool } from "./Spool.ts"
import * as SpoolDirectory from "./SpoolDirectory.ts"
import { SpoolUnusable } from "./SpoolUnusable.ts"

export interface KeptBatches {
  /** Keeps a batch that was delivered. */
  readonly keep: (batch: SpoolDirectory.SealedBatch) => Effect.Effect<void, DatabaseError | SpoolUnusable>
  /** Asks the ledger, and returns what it lacks to be delivered again. */
  readonly settle: Effect.Effect<void, DatabaseError | SpoolUnusable>
}

/** How long delivery goes on without asking the ledger. */
const askEveryMillis = 5_000

/** Keys in one question. */
const keysAtOnce = 1_000

export const make = (spool: Spool["Service"], store: UsageStore["Service"]): KeptBatches => {
  const { directory, maxBytes } = spool
  const keepMillis = Duration.toMillis(spool.keepDelivered)
  let identity: Identity | undefined
  let askedAt = -Infinity

  const onDisk = SpoolUnusable.attempt(directory.path)

  /** Asks for batches; returns how many the ledger lacks. */
  const ask = Effect.fnUntraced(function* (batches: ReadonlyArray<Delivered.KeptBatch>) {
    const { identity: here, keys, server } = yield* store.lacking(batches.map(({ key }) => key))
    yield* onDisk("keeping what was delivered", async () => {
      for (const batch of batches) {
        await (keys.has(batch.key)
          ? Delivered.takeBack(directory, batch)
          : Delivered.confirm(directory, batch, here.id, server))
      }
    })
    return keys.size
  })

  const settle = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    askedAt = now
    const kept = yield* onDisk("reading what was delivered", () => Delivered.list(directory))
    if (kept.length === 0) return
    const here = yield* store.lacking([])
    identity = here.identity
    const due = kept.filter(({ owner, server }) => server !== here.server && isOf(here.identity, owner))
    let lacking = 0
    for (let start = 0; start < due.length; start += keysAtOnce) {
      lacking += yield* ask(due.slice(start, start + keysAtOnce))
    }
    if (lacking > 0) {
      yield* Effect.annotateLogs(
        Effect.logWarning(
          `the database lacks ${lacking} batches that were delivered to it, and gets them again: was it failed over, or restored?`
        ),
        { source: "spool", batches: lacking }
      )
    }
    yield* onDisk("removing what was delivered", () => Delivered.prune(directory, now - keepMillis, maxBytes))
  })

  const keep = Effect.fnUntraced(function* (batch: SpoolDirectory.SealedBatch) {
    if (keepMillis === 0) return yield* onDisk("removing a batch", () => SpoolDirectory.remove(batch))
    const { id } = (identity ??= (yield* store.lacking([])).identity)
    const now = yield* Clock.currentTimeMillis
    yield* onDisk("keeping what was delivered", () => Delivered.keep(directory, id, batch, now))
    if (now - askedAt >= askEveryMillis) yield* settle
  })

  return { keep, settle: keepMillis === 0 ? Effect.void : settle }
}
