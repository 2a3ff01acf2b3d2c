/** Checks for every text that reaches the database: PostgreSQL stores neither U+0000 nor a lone surrogate. */
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "./InvalidInput.ts"

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/

/**
 * An identifier: one line of text without control characters, not padded with spaces, at most `maxLength` characters.
 * Case matters: `Acme` and `acme` differ.
 */
export const parseIdentifier = (
  field: string,
  input: unknown,
  maxLength: number
): Result.Result<string, InvalidInput> => {
  if (typeof input !== "string") return refuse(field, `${excerpt(input)} is not text`, maxLength)
  if (input === "") return refuse(field, "is empty", maxLength)
  if (input.length > maxLength) return refuse(field, `has ${input.length} characters`, maxLength)
  if (controlCharacter.test(input)) return refuse(field, `${excerpt(input)} contains a control character`, maxLength)
  if (!input.isWellFormed()) return refuse(field, `${excerpt(input)} is not well-formed Unicode`, maxLength)
  if (input.trim() !== input) return refuse(field, `${excerpt(input)} begins or ends with a space`, maxLength)
  return Result.succeed(input)
}

const refuse = (field: string, problem: string, maxLength: number) =>
  Result.fail(
    new InvalidInput({
      field,
      problem,
      remedy: `Give 1 to ${maxLength} characters without line breaks, tabs or other control characters`
    })
  )
