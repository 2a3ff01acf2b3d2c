/**
 * Usage as NDJSON: one object a line.
 *
 * A number keeps its digits and is never a double; metadata keeps its text, with key order, spacing and duplicate keys. So a
 * line is not read with `JSON.parse`: a scanner separates its members, strictly, and each value is checked where it is used.
 *
 * Hand-written: `JSON.parse` with a reviver that keeps digits (`context.source`, `JSON.rawJSON`) takes 1.7 to 3.4 times as long a line,
 * measured on Node 24; `npm run bench -- import` fell from 0.60 to 0.50 of COPY.
 */
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import type { UsageInput } from "../domain/UsageRecord.ts"
import {
  exactNumber,
  exactTime,
  type Field,
  fieldOf,
  type Found,
  ignoredNames,
  unknownName,
  usageOf
} from "./Fields.ts"
import { type FileFormat, notUtf8, type Parsed } from "./FileFormat.ts"
import * as Lines from "./Lines.ts"
import { printable } from "../domain/Shown.ts"

const quote = 0x22
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const comma = 0x2c
const colon = 0x3a
const backslash = 0x5c

/** `customer`: whose usage a line is if it names no customer. */
export const make = (customer: string | undefined): FileFormat => ({
  cut: Lines.cut,
  parse: (chunk, pieces) =>
    Lines.texts(chunk, pieces).map((text): Parsed => {
      if (text === undefined) return Result.fail(notUtf8)
      const usage = parseLine(text, customer)
      return Result.isFailure(usage) ? Result.fail(usage.failure) : Result.succeed([usage.success])
    }),
  spelled: (field, content) => {
    const text = content.toString("utf8")
    for (const [name, of] of fieldOf) if (of === field && text.includes(`"${name}"`)) return name
    return field
  }
})

/** Reads one line. */
export const parseLine = (text: string, customer: string | undefined): Result.Result<UsageInput, InvalidInput> => {
  const found: Found = {}
  let seen = 0
  let i = skipSpace(text, 0)
  if (text.charCodeAt(i) !== openBrace) return notAnObject(text)
  i = skipSpace(text, i + 1)
  if (text.charCodeAt(i) === closeBrace) i++
  else {
    for (;;) {
      if (text.charCodeAt(i) !== quote) return notJson(text)
      const keyEnd = stringEnd(text, i)
      const name = stringValue(text.slice(i, keyEnd))
      i = skipSpace(text, keyEnd)
      if (name === undefined || text.charCodeAt(i) !== colon) return notJson(text)
      i = skipSpace(text, i + 1)
      const end = valueEnd(text, i)
      if (end <= i) return notJson(text)
      const raw = text.slice(i, end)
      const field = fieldOf.get(name)
      if (field === undefined) {
        if (!ignoredNames.has(name)) return Result.fail(unknownName(name))
        if (!isJson(raw)) return notJson(text)
        // Exports have no such value: it is a mistake, or an attempt to hide something from a search.
        if (raw.startsWith("{") || raw.startsWith("[")) return Result.fail(noValue(name))
      } else {
        const bit = 1 << fieldBits[field]
        if ((seen & bit) !== 0) return twice(name)
        seen |= bit
        const problem = assign(found, field, name, raw)
        if (problem !== undefined) return problem === broken ? notJson(text) : Result.fail(problem)
      }
      i = skipSpace(text, end)
      const next = text.charCodeAt(i)
      if (next === closeBrace) {
        i++
        break
      }
      if (next !== comma) return notJson(text)
      i = skipSpace(text, i + 1)
    }
  }
  if (skipSpace(text, i) !== text.length) return notJson(text)
  return usageOf(found, customer)
}

const fieldBits: { readonly [name in Field]: number } = {
  customer: 0,
  service: 1,
  quantity: 2,
  amount: 3,
  recordedAt: 4,
  metadata: 5,
  unitCost: 6,
  idempotencyKey: 7
}

const broken = Symbol("not JSON")
const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

/** Assigns a member's value to its field. */
const assign = (found: Found, field: Field, name: string, raw: string): InvalidInput | typeof broken | undefined => {
  if (raw.charCodeAt(0) === quote) {
    const value = stringValue(raw)
    if (value === undefined) return broken
    found[field] = field === "recordedAt" ? exactTime(value) : value
    return undefined
  }
  switch (field) {
    case "customer":
    case "service":
    case "idempotencyKey": {
      // Not text: `Intake` refuses it, in its own words.
      const value = jsonOf(raw)
      if (value === broken) return broken
      found[field] = value
      return undefined
    }
    case "metadata":
      // `Metadata` checks the text and refuses anything but an object.
      if (raw !== "null") found.metadata = raw
      return undefined
    default:
      if (raw === "null") return undefined
      if (number.test(raw)) {
        found[field] = field === "recordedAt" ? Number(raw) : exactNumber(raw)
        return undefined
      }
      if (!isJson(raw)) return broken
      return new InvalidInput({
        field: name,
        problem: `${excerpt(raw)} is not a ${field === "recordedAt" ? "time" : "number"}`,
        remedy: field === "recordedAt" ? "Give text such as 2026-01-30T16:45:23Z" : "Give a number such as 1 or 0.25"
      })
  }
}

const skipSpace = (text: string, from: number): number => {
  let i = from
  for (;;) {
    const code = text.charCodeAt(i)
    if (code !== 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d) return i
    i++
  }
}

/** Where the string that begins at `start` ends, its quotes included; 0 if it does not. */
const stringEnd = (text: string, start: number): number => {
  for (let i = text.indexOf('"', start + 1); i >= 0; i = text.indexOf('"', i + 1)) {
    let before = i - 1
    while (text.charCodeAt(before) === backslash) before--
    if (((i - before) & 1) === 1) return i + 1
  }
  return 0
}

const valueEnd = (text: string, start: number): number => {
  const first = text.charCodeAt(start)
  if (first === quote) return stringEnd(text, start)
  if (first === openBrace || first === openBracket) return nestedEnd(text, start)
  let i = start
  for (; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === comma || code === closeBrace || code === closeBracket || code <= 0x20) break
  }
  return i
}

const nestedEnd = (text: string, start: number): number => {
  let depth = 0
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === quote) {
      const end = stringEnd(text, i)
      if (end === 0) return 0
      i = end - 1
    } else if (code === openBrace || code === openBracket) depth++
    else if ((code === closeBrace || code === closeBracket) && --depth === 0) return i + 1
  }
  return 0
}

// oxlint-disable-next-line no-control-regex -- JSON strings hold no control characters
const notPlain = /[\\\u0000-\u001f]/

/** What a string says, or `undefined` if it is not a JSON string. */
const stringValue = (raw: string): string | undefined => {
  if (raw.length < 2) return undefined
  if (!notPlain.test(raw)) return raw.slice(1, -1)
  const value = jsonOf(raw)
  return typeof value === "string" ? value : undefined
}

const jsonOf = (raw: string): unknown => {
  try {
    return JSON.parse(raw)
  } catch {
    return broken
  }
}

const isJson = (raw: string): boolean => jsonOf(raw) !== broken

const remedy = 'Give one object a line, such as {"customer":"acme","service":"api","quantity":1}'

const notJson = (text: string) => {
  let reason = "it is not written as JSON is"
  try {
    JSON.parse(text)
  } catch (cause) {
    // The parser's message quotes the text, including control characters.
    if (cause instanceof Error) reason = printable(cause.message)
  }
  return Result.fail(new InvalidInput({ field: "line", problem: `is not JSON: ${reason.slice(0, 120)}`, remedy }))
}

const notAnObject = (text: string) =>
  isJson(text)
    ? Result.fail(new InvalidInput({ field: "line", problem: `${excerpt(text)} is not a JSON object`, remedy }))
    : notJson(text)

const noValue = (name: string) =>
  new InvalidInput({
    field: name,
    problem: "is neither a number nor a text",
    remedy: "Leave it out: it follows from the rest"
  })

const twice = (name: string) =>
  Result.fail(
    new InvalidInput({ field: name, problem: "is given twice, or under two names", remedy: "Give each field once" })
  )
