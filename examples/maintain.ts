/**
 * An application that maintains its database itself: once a day it delivers its spool, rolls up, sends alerts, archives what is
 * older than it keeps, and checks that all is well. `usage maintain` from cron does the same; several processes may try, and
 * one at a time does it.
 *
 *     USAGE_DATABASE_URL=postgresql://… node examples/maintain.ts
 */
import { Console, Effect, Layer, Schedule } from "effect"
import { basename } from "node:path"
import { Archiver, Maintainer, Recorder, Usage } from "../src/index.ts"

const directory = `${process.env["USAGE_HOME"] ?? ".usage"}/archives`

const layer = Maintainer.layerScheduled({ directory, retention: { days: 400 }, every: "1 day" }).pipe(
  // Its spool is the application's, its channels are those that are registered with `AlertChannels`.
  Layer.provideMerge(Usage.layerConfig({ migrate: true }))
)

const program = Effect.gen(function* () {
  const recorder = yield* Recorder
  yield* recorder.record({ customer: "acme", service: "api", quantity: 1, recordedAt: "2025-01-10" })

  // Now rather than tomorrow. If the schedule is at it, that run may have begun before the record came: wait for it.
  const maintainer = yield* Maintainer
  const steps = yield* maintainer.run({ skip: ["doctor"] }).pipe(
    Effect.retry({
      while: ({ reason }) => reason._tag === "MaintenanceRunning",
      schedule: Schedule.spaced("1 second")
    })
  )
  for (const { detail, status, step } of steps) if (status === "failed") yield* Console.error(`${step}: ${detail}`)

  const archives = yield* (yield* Archiver).list
  yield* Console.log(archives.map(({ file, month }) => `${month} is in ${basename(file)}`).join("\n"))
})

await Effect.runPromise(Effect.provide(program, layer))
