/** `usage batch …`: usage through the spool, for scripts that record much or cannot wait for a database. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { Argument, Command } from "effect/cli"
import { join } from "node:path"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import type { Cut } from "../../import/FileFormat.ts"
import type { UsageInput } from "../../domain/UsageRecord.ts"
import type { SpoolStatus } from "../../spool/SpoolDirectory.ts"
import { Spool } from "../../spool/Spool.ts"
import { SpoolDelivery } from "../../spool/SpoolDelivery.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import * as Offline from "../Offline.ts"
import * as Listing from "../render/Listing.ts"
import * as Progress from "../render/Progress.ts"
import { printable } from "../../domain/Shown.ts"
import { recordAll } from "../Recording.ts"
import * as Session from "../Session.ts"

const { column, time } = Listing

const withSpool = <A, E, R>(use: (spool: Spool["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(Spool, use), Session.layerSpool)

const init = Command.make(
  "init",
  {},
  Effect.fnUntraced(function* () {
    yield* withSpool((spool) => Session.printPath(join(spool.directory.path, "inbox")))
  })
).pipe(
  Command.withDescription(
    "Make the spool and print its inbox: a file of NDJSON that is moved into it, its name ending in .ndjson, is usage"
  )
)

/** Most bytes of one dropped file: a claim of the inbox is one transaction. */
const dropBytes = 1_048_576

const newline = 0x0a

const addFromStdin = Effect.fnUntraced(function* (customer: string | undefined) {
  // The parser belongs to imports; adding a single record must not wait for it.
  const [Lines, Ndjson] = yield* Effect.promise(() =>
    Promise.all([import("../../import/Lines.ts"), import("../../import/Ndjson.ts")])
  )
  const format = Ndjson.make(customer)
  let line = 0
  let refused = 0
  let added = 0
  let pending = ""

  const refuse = Effect.fnUntraced(function* (at: number, { field, problem }: InvalidInput) {
    refused++
    yield* Session.say(`  line ${at}: ${field}: ${printable(problem)}`)
  })

  yield* withSpool((spool) =>
    Effect.gen(function* () {
      const flush = Effect.suspend(() => {
        if (pending === "") return Effect.void
        const lines = pending
        pending = ""
        return spool.drop(lines)
      })
      const take = Effect.fnUntraced(function* (view: Buffer, cut: Cut) {
        const now = yield* Clock.currentTimeMillis
        for (const [index, parsed] of format.parse(view, cut.pieces).entries()) {
          const piece = cut.pieces[index]!
          const at = line + piece.line + 1
          if (piece.refusal !== undefined) {
            yield* refuse(at, piece.refusal)
            continue
          }
          const text = Result.flatMap(parsed, ([usage]) => Offline.asLine(usage!, now))
          if (Result.isFailure(text)) {
            yield* refuse(at, text.failure)
            continue
          }
          pending += text.success
          added++
          if (pending.length >= dropBytes) yield* flush
        }
        line += cut.lines
      })
      const chunks = (yield* Session.stdin)[Symbol.asyncIterator]()
      let rest: Buffer = Buffer.alloc(0)
      let open = 0
      let atStart = true
      for (let ended = false; !ended;) {
        const next = yield* Effect.promise(() => chunks.next())
        ended = next.done === true
        const view = ended ? rest : Buffer.concat([rest, next.value as Buffer])
        const cut = Lines.cut(view, { ended, atStart, open, maxLines: Infinity })
        yield* take(view, cut)
        rest = view.subarray(cut.bytes)
        if (cut.bytes === 0) continue
        atStart = false
        open = view[cut.bytes - 1] === newline ? 0 : open + cut.bytes
      }
      yield* flush
    })
  )
  yield* Session.confirm(`added ${added} records to the spool`)
  if (refused > 0) {
    return yield* new Findings({
      summary: `${refused} ${refused === 1 ? "line was" : "lines were"} refused; the others are in the spool`
    })
  }
})

const add = Command.make(
  "add",
  {
    customer: Flags.customer,
    at: Flags.at,
    key: Flags.key,
    id: Argument.String("customer").pipe(
      Argument.withDescription("Whose usage; empty: --customer or USAGE_CUSTOMER_ID. - reads NDJSON from stdin")
    ),
    service: Argument.String("service").pipe(Argument.withDescription("The service's name"), Argument.optional),
    quantity: Argument.String("quantity").pipe(
      Argument.withDescription("In the service's billing unit"),
      Argument.optional
    ),
    metadata: Argument.String("metadata-json").pipe(Argument.withDescription("A JSON object"), Argument.optional)
  },
  Effect.fnUntraced(function* (input) {
    const service = Flags.given(input.service)
    if (input.id === "-" && service === undefined) {
      return yield* addFromStdin(Flags.given(input.customer) ?? (yield* Session.currentCustomer))
    }
    const quantity = Flags.given(input.quantity)
    if (service === undefined || quantity === undefined) {
      return yield* new InvalidInput({
        field: service === undefined ? "service" : "quantity",
        problem: "is missing",
        remedy: "Give <customer> <service> <quantity> [metadata-json], or - to read NDJSON from stdin"
      })
    }
    const customer = input.id === "" ? yield* Session.requireCustomer(input.customer) : input.id
    const usage: UsageInput = {
      customer,
      service,
      quantity,
      recordedAt: Flags.given(input.at),
      idempotencyKey: Flags.given(input.key),
      metadata: Flags.given(input.metadata)
    }
    const line = yield* Effect.fromResult(Offline.asLine(usage, yield* Clock.currentTimeMillis))
    yield* withSpool((spool) => spool.drop(line))
  })
).pipe(
  Command.withDescription("Put usage into the spool. It is on the disk when this returns; no database is opened"),
  Command.withExamples([
    { command: 'usage batch add acme api 1 \'{"endpoint":"/users"}\'', description: "One record" },
    { command: "generate-usage | usage batch add -", description: "Any number, one JSON object a line" }
  ])
)

const layerDelivery = Layer.provideMerge(
  SpoolDelivery.layer({ retryFor: "3 seconds" }),
  Layer.merge(Session.layerSpool, Session.layerDatabase)
)

/** Delivers the spool; gives how many lines and records were refused. */
const deliver = Effect.gen(function* () {
  const watched = yield* Session.isWatched
  const progress = watched ? Progress.make(process.stderr, undefined) : undefined
  const delivered = yield* Effect.gen(function* () {
    const delivery = yield* SpoolDelivery
    return yield* delivery.deliverAll({
      onBatch: (so) => Effect.sync(() => progress?.show(so.records, `${so.records} records, ${so.batches} batches`))
    })
  }).pipe(Effect.ensuring(Effect.sync(() => progress?.clear())), Effect.provide(layerDelivery))
  yield* Session.say(`delivered ${delivered.records} records in ${delivered.batches} batches`)
  if (delivered.refused > 0) {
    return yield* new Findings({
      summary: `${delivered.refused} were refused and are dead letters now: see \`usage dead-letters list\``
    })
  }
})

const flush = Command.make("flush", {}, () => deliver).pipe(
  Command.withDescription(
    "Bring what is in the spool into the database, exactly once. Safe to run at any time, and at once"
  )
)

const cleanup = Command.make(
  "cleanup",
  {},
  Effect.fnUntraced(function* () {
    yield* deliver
    yield* withSpool((spool) => spool.tidy)
  })
).pipe(Command.withDescription("Flush, and remove what interrupted processes left in the spool"))

const insert = Command.make(
  "insert",
  {
    customer: Flags.customer,
    at: Flags.at,
    records: Argument.String("service:quantity:metadata").pipe(
      Argument.withDescription("Split at the first two colons; the metadata may be left out"),
      Argument.variadic({ min: 1 })
    )
  },
  Effect.fnUntraced(function* (input) {
    const customer = yield* Session.requireCustomer(input.customer)
    const usages = input.records.map((text): UsageInput => {
      const [service = "", quantity = "", ...metadata] = text.split(":")
      return {
        customer,
        service,
        quantity,
        recordedAt: Flags.given(input.at),
        metadata: metadata.length === 0 ? undefined : metadata.join(":")
      }
    })
    const where = yield* recordAll(usages.map((usage) => Result.succeed(usage)))
    if (where === "stored") yield* Session.confirm(`recorded ${usages.length} records`)
  })
).pipe(
  Command.withDescription("Record several in one transaction: all or none"),
  Command.withExamples([
    { command: 'usage batch insert \'api:1:{"endpoint":"/users"}\' database:1', description: "Two records" }
  ])
)

const statusListing = Listing.make<SpoolStatus>(undefined, [
  column("inbox_files", ({ inboxFiles }) => inboxFiles),
  column("open_segments", ({ openSegments }) => openSegments),
  column("ready_batches", ({ readyBatches }) => readyBatches),
  column("bytes", ({ bytes }) => bytes),
  time("oldest", ({ oldest }) => (oldest === undefined ? undefined : Instant.fromMillis(oldest))),
  column("broken", ({ broken }) => broken),
  column("database", ({ database }) => database)
])

const status = Command.make(
  "status",
  { format: Flags.format },
  Effect.fnUntraced(function* ({ format }) {
    const found = yield* withSpool((spool) => spool.status)
    yield* Listing.print(statusListing, { format }, [found])
  })
).pipe(Command.withDescription("What waits in the spool"))

export const batch = Command.make("batch").pipe(
  Command.withDescription("Usage through the spool: on the disk at once, in the database when it is flushed"),
  Command.withSubcommands([init, add, flush, insert, cleanup, status])
)
