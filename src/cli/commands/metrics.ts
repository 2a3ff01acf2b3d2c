/** `usage metrics`: how the database and the spool are, for Prometheus. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Command } from "effect/cli"
import type { DatabaseError } from "../../database/DatabaseError.ts"
import { refusalOf } from "../../files/NewFile.ts"
import { Metrics } from "../../operate/Metrics.ts"
import { begin } from "../../files/Files.ts"
import * as Flags from "../shared/Flags.ts"
import * as Session from "../shared/Session.ts"
import { inCommands } from "../shared/Words.ts"

const read = Effect.flatMap(Metrics, (metrics) => metrics.prometheus)

/** A collector reads while this writes, as another user: the file is there whole, for all to read. */
const place = (file: string, text: string) =>
  Effect.tryPromise({
    try: async () => {
      const pending = await begin(file)
      try {
        await pending.handle.writeFile(text)
        await pending.handle.chmod(0o644)
      } catch (cause) {
        await pending.discard()
        throw cause
      }
      await pending.place(true)
    },
    catch: (cause) => refusalOf("file", file, cause)
  })

export const metrics = Command.make(
  "metrics",
  {
    file: Flags.argument("file", "A file to replace as a whole, or - for stdout; default -")
  },
  Effect.fnUntraced(function* ({ file }) {
    const ofBoth = Metrics.layer.pipe(Layer.provide(Layer.merge(Session.layerDatabase, Session.layerSpool)))
    const text = yield* Effect.provide(read, ofBoth).pipe(
      Effect.catchTag("DatabaseError", (error: DatabaseError) =>
        Effect.andThen(
          Session.say(`the database is reported as not up: ${inCommands(error.message)}`),
          Effect.provide(read, Layer.provide(Metrics.layerUnreachable, Session.layerSpool))
        )
      ),
      // Of this one look, and not of what else this process did.
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
    if (file !== undefined && file !== "-") return yield* place(file, text)
    yield* Console.log(text.trimEnd())
  })
).pipe(
  Command.withDescription(
    "The state of the database and the spool in the text format of Prometheus: for the textfile collector of node_exporter, run every minute"
  )
)
