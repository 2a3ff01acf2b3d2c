/** The process that one side of a benchmark runs in: does what it is told, run by run, and ends with its parent. */
import type { Contest, Reply } from "./harness.ts"

const [module, options] = process.argv.slice(2)
const { contest }: { contest: (options: unknown) => Promise<Contest> } = await import(`./${module}.ts`)
const ready = contest(JSON.parse(options!))

const reply = (message: Reply) => process.send!(message)

process.on("message", (name: string) => {
  ready
    .then((running) => running.run(name))
    .then(
      // maxRSS is in kibibytes.
      (measurement) => reply({ ok: true, measurement, peakMemory: process.resourceUsage().maxRSS * 1024 }),
      (cause: unknown) =>
        reply({ ok: false, error: cause instanceof Error ? (cause.stack ?? cause.message) : `${cause}` })
    )
})
process.once("disconnect", () => {
  ready
    .then((running) => running.close())
    .then(
      () => process.exit(0),
      () => process.exit(1)
    )
})
