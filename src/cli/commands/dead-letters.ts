/** `usage dead-letters …`: what was refused, and what to do about it. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Argument, Command, Flag } from "effect/cli"
import { DeadLetters } from "../../import/DeadLetters.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import * as Instant from "../../domain/Instant.ts"
import type { DeadLetter } from "../../ledger/DeadLetterStore.ts"
import { Findings } from "../Failures.ts"
import * as Flags from "../Flags.ts"
import * as Json from "../render/Json.ts"
import * as Listing from "../render/Listing.ts"
import { printable } from "../../domain/Shown.ts"
import * as Session from "../Session.ts"

const { cell, column, field, time } = Listing

const withLetters = <A, E, R>(use: (letters: DeadLetters["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.flatMap(DeadLetters, use), Layer.provide(DeadLetters.layer, Session.layerDatabase))

const contentOf = (letter: DeadLetter): string => Buffer.from(letter.content).toString("utf8")

const listing = Listing.make<DeadLetter>("dead_letters", [
  cell("id", ({ id }) => id),
  field("id", ({ id }) => Json.number(BigInt(id))),
  time("refused_at", ({ refusedAt }) => refusedAt),
  column("source", ({ source }) => source),
  column("place", ({ place }) => place),
  column("field", (letter) => letter.field),
  column("problem", ({ problem }) => problem),
  field("remedy", ({ remedy }) => remedy),
  field("content", contentOf)
])

const list = Command.make(
  "list",
  {
    format: Flags.format,
    limit: Flag.Int("limit").pipe(Flag.withDescription("At most so many, 100"), Flag.withDefault(100)),
    after: Flag.String("after").pipe(
      Flag.withDescription("Only those behind this number: for the next page"),
      Flag.withMetavar("<id>"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* ({ after, format, limit }) {
    const [letters, count] = yield* withLetters((service) =>
      Effect.all([service.list({ after: Flags.given(after), limit }), service.count])
    )
    yield* Listing.print(listing, { format }, letters, { head: { total: Json.number(count) } })
    if (format !== "json" && BigInt(letters.length) < count)
      yield* Session.say(`${letters.length} of ${count}; see --after and --limit`)
  })
).pipe(Command.withDescription("What was refused, the oldest first"))

const id = Argument.String("id").pipe(Argument.withDescription("Its number, as `list` shows it"))

const show = Command.make(
  "show",
  { id, format: Flags.format },
  Effect.fnUntraced(function* (input) {
    const letter = yield* withLetters((service) => service.find(input.id))
    if (input.format === "json")
      return yield* Console.log(Json.render({ schema: 1, dead_letter: Listing.toJson(listing.columns, letter) }))
    yield* Console.log(
      `${printable(letter.source)}, ${printable(letter.place)}, refused at ${Instant.toIso(letter.refusedAt)}`
    )
    yield* Console.log(`${printable(letter.field)}: ${printable(letter.problem)}`)
    yield* Console.log(`${printable(letter.remedy)}\n`)
    yield* Console.log(printable(contentOf(letter)))
  })
).pipe(Command.withDescription("One of them, with what it says"))

const all = Flag.Boolean("all").pipe(Flag.withDescription("All of them"), Flag.withDefault(false))

/** Pages through all letters. */
const everyId = (service: DeadLetters["Service"]) =>
  Effect.gen(function* () {
    const ids: Array<string> = []
    for (;;) {
      const page = yield* service.list({ after: ids.at(-1), limit: 1_000 })
      if (page.length === 0) return ids
      for (const letter of page) ids.push(letter.id)
    }
  })

const needOne = new InvalidInput({
  field: "id",
  problem: "no dead letter is named",
  remedy: "Give a number, or --all"
})

const replay = Command.make(
  "replay",
  {
    all,
    id: Argument.String("id").pipe(Argument.withDescription("Its number"), Argument.optional),
    mended: Argument.String("record-json").pipe(
      Argument.withDescription("What it should have said, as `usage import` reads NDJSON"),
      Argument.optional
    )
  },
  Effect.fnUntraced(function* (input) {
    const one = Flags.given(input.id)
    if ((one === undefined) === !input.all) return yield* needOne
    const kept = yield* withLetters((service) =>
      Effect.gen(function* () {
        if (one !== undefined) {
          yield* service.replay(one, Flags.given(input.mended))
          return 0
        }
        let failed = 0
        for (const letter of yield* everyId(service)) {
          const result = yield* Effect.result(service.replay(letter))
          if (result._tag === "Success") continue
          if (result.failure.isRetryable) return yield* result.failure
          failed++
          yield* Session.say(`  ${letter}: ${printable(result.failure.message)}`)
        }
        return failed
      })
    )
    if (kept > 0) return yield* new Findings({ summary: `${kept} are still refused; the others are stored` })
  })
).pipe(
  Command.withDescription("Store what was refused, once: after its service was added, say, or with a mended record"),
  Command.withExamples([
    { command: "usage dead-letters replay --all", description: "All that are right by now" },
    {
      command: 'usage dead-letters replay 17 \'{"customer":"acme","service":"api","quantity":1}\'',
      description: "With what it should have said"
    }
  ])
)

const drop = Command.make(
  "drop",
  {
    all,
    ids: Argument.String("id").pipe(Argument.withDescription("Their numbers"), Argument.variadic({ min: 0 }))
  },
  Effect.fnUntraced(function* (input) {
    if ((input.ids.length === 0) === !input.all) return yield* needOne
    const dropped = yield* withLetters((service) =>
      input.all ? Effect.flatMap(everyId(service), service.drop) : service.drop(input.ids)
    )
    yield* Session.say(`dropped ${dropped}`)
  })
).pipe(Command.withDescription("Remove them for good"))

export const deadLetters = Command.make("dead-letters").pipe(
  Command.withDescription("Usage that was refused, kept with the reason until it is replayed or dropped"),
  Command.withSubcommands([list, show, replay, drop])
)
