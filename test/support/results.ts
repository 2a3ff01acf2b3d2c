/** What tests of the domain ask of a `Result`. */
import { assert } from "@effect/vitest"
import * as Result from "effect/Result"
import { InvalidInput } from "../../src/domain/InvalidInput.ts"

/** The value, or a failed test that says what was refused. */
export const accepted = <A>(result: Result.Result<A, InvalidInput>): A => {
  if (Result.isSuccess(result)) return result.success
  return assert.fail(`refused: ${result.failure.message}`)
}

/** The refusal; its parts are checked to be something that a person can act on. */
export const refused = (result: Result.Result<unknown, InvalidInput>): InvalidInput => {
  if (Result.isSuccess(result)) return assert.fail(`accepted: ${String(result.success)}`)
  const error = result.failure
  assert.instanceOf(error, InvalidInput)
  assert.isTrue(error.field.length > 0 && error.problem.length > 0 && error.remedy.length > 0, error.message)
  assert.isBelow(error.message.length, 600)
  // oxlint-disable-next-line no-control-regex -- a message is one line, whatever was refused
  assert.notMatch(error.message, /[\u0000-\u001f]/)
  return error
}

/** Asserts that it takes less than `millis` of this process's time, however busy the machine is: bad input must not become load. */
export const quickly = <A>(run: () => A, millis = 250): A => {
  const start = process.cpuUsage()
  const value = run()
  const { system, user } = process.cpuUsage(start)
  assert.isBelow((user + system) / 1000, millis)
  return value
}
