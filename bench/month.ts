/** The window of what is reported. */
import * as Result from "effect/Result"
import * as Window from "../src/domain/Window.ts"
import { month } from "./workload.ts"

/** The month that all records are in, in UTC. */
export const wholeMonth = (): Window.Window => {
  const window = Window.resolve({ period: month.slice(0, 7), now: Date.parse(month) })
  return Result.getOrThrow(window)
}
