/** The smallest program that meters: `node examples/smallest.ts`. It keeps its data in ./.usage, or where USAGE_HOME says. */
import { Console, Effect } from "effect"
import { Recorder, Reporter, Usage } from "../src/index.ts"

const program = Effect.gen(function* () {
  yield* (yield* Recorder).trackApiRequest({ customer: "acme", endpoint: "/users" })
  const report = yield* (yield* Reporter).usage({ customer: "acme", window: "today" })
  yield* Console.log(`${report.services[0]?.events} request today`)
})
await Effect.runPromise(Effect.provide(program, Usage.layerConfig()))
