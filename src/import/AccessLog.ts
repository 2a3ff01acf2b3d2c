/**
 * Access logs of web servers, in the common and the combined format, also with the virtual host in front:
 *
 *     203.0.113.7 - frank [17/May/2015:10:05:03 +0000] "GET /users?page=2 HTTP/1.1" 200 2326 "referer" "agent"
 *     example.com:443 203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 304 -
 *
 * A line counts as one request of `api` and as its response's bytes of `bandwidth`. A client may send anything: if its request
 * cannot be read, endpoint and method are `-` and the line counts all the same. What the server wrote (time, status, bytes) must
 * be present, or the line is refused.
 *
 * Hand-written: no parser of access logs on npm is maintained.
 */
import * as Result from "effect/Result"
import { isUtf8 } from "node:buffer"
import { isIP } from "node:net"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import { exactNumber } from "./Fields.ts"
import { type FileFormat, type Parsed } from "./FileFormat.ts"
import * as Lines from "./Lines.ts"

/** The part of a line that names the customer: the client's address, the user who logged in, or the virtual host. */
export type CustomerFrom = "ip" | "user" | "vhost"

/** Whose usage a log is: one customer's, or that of the customer whom each line names. */
export type Customer = { readonly customer: string } | { readonly from: CustomerFrom }

export const make = (customer: Customer): FileFormat => ({
  cut: Lines.cut,
  parse: (chunk, pieces) =>
    Lines.texts(chunk, pieces).map((text, index) => {
      if (text !== undefined) return parseLine(text, customer)
      // Some servers log a request's bytes unchanged.
      const { end, start } = pieces[index]!
      return parseLine(chunk.toString("utf8", start, end), customer)
    }),
  spelled: (field) => (field === "recordedAt" ? "time" : field === "amount" ? "bytes" : field)
})

const timePattern = /\[(\d{2})\/([A-Z][a-z]{2})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-]\d{2})(\d{2})\] "/
const answerPattern = / (\d{3}) (\d+|-)(?: |$)/y

/** Reads one line. */
export const parseLine = (line: string, customer: Customer): Parsed => {
  const time = timePattern.exec(line)
  if (time === null) return refuse("time", "there is none such as [17/May/2015:10:05:03 +0000]")
  const recordedAt = millisOf(time)
  if (typeof recordedAt === "string") return refuse("time", `${excerpt(time[0].slice(0, -2))} ${recordedAt}`)
  const requestStart = time.index + time[0].length
  let requestEnd = quoteAfter(line, requestStart)
  let answer: RegExpExecArray | null = null
  // A server that does not escape quotes leaves more of them: the request ends where status and bytes follow.
  for (; requestEnd >= 0; requestEnd = line.indexOf('"', requestEnd + 1)) {
    answerPattern.lastIndex = requestEnd + 1
    answer = answerPattern.exec(line)
    if (answer !== null) break
  }
  if (answer === null) return refuse("status", "no status and bytes follow the request")
  const who = customerOf(line.slice(0, time.index).trimEnd(), customer)
  if (who instanceof InvalidInput) return Result.fail(who)
  const { endpoint, method } = requestOf(line.slice(requestStart, requestEnd))
  const bytes = exactNumber(answer[2] === "-" ? "0" : answer[2]!.replace(/^0+(?=\d)/, ""))
  return Result.succeed([
    {
      customer: who,
      service: "api",
      amount: 1,
      recordedAt,
      metadata: `{"endpoint":${JSON.stringify(endpoint)},"method":"${method}","status":${Number(answer[1])}}`
    },
    {
      customer: who,
      service: "bandwidth",
      amount: bytes,
      recordedAt,
      metadata: `{"bytes":${bytes},"direction":"egress"}`
    }
  ])
}

const refuse = (field: string, problem: string) =>
  Result.fail(
    new InvalidInput({
      field,
      problem,
      remedy: 'Give lines such as 203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 512'
    })
  )

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

let lastDay = ""
let lastDayMillis = 0

/** The start of a day in milliseconds since 1970, as a clock without an offset shows it; NaN if there is no such day. */
const dayMillis = (day: string, month: string, year: string): number => {
  // Lines come in the order of time.
  const text = year + month + day
  if (text !== lastDay) {
    const index = months.indexOf(month)
    const millis = Date.UTC(Number(year), index, Number(day))
    const isDay = index >= 0 && Number(year) >= 1000 && new Date(millis).getUTCDate() === Number(day)
    lastDay = text
    lastDayMillis = isDay ? millis : NaN
  }
  return lastDayMillis
}

const millisOf = (time: RegExpExecArray): number | string => {
  const day = dayMillis(time[1]!, time[2]!, time[3]!)
  if (Number.isNaN(day)) return "is a day that does not exist"
  const [hours, minutes, seconds] = [Number(time[4]), Number(time[5]), Number(time[6])]
  if (hours > 23 || minutes > 59 || seconds > 59) return "is not a time of day"
  const offset = Number(time[7]!.slice(1)) * 60 + Number(time[8])
  if (offset > 15 * 60 + 59) return "has no such offset from UTC"
  const local = day + (hours * 3600 + minutes * 60 + seconds) * 1000
  return local - (time[7]!.startsWith("-") ? -offset : offset) * 60_000
}

/** The next quote that is not escaped. */
const quoteAfter = (line: string, from: number): number => {
  for (let i = line.indexOf('"', from); i >= 0; i = line.indexOf('"', i + 1)) {
    let before = i - 1
    while (before >= from && line.charCodeAt(before) === 0x5c) before--
    if (((i - before) & 1) === 1) return i
  }
  return -1
}

const isAddress = (text: string): boolean => text === "unix:" || isIP(text) !== 0

const customerOf = (head: string, customer: Customer): string | InvalidInput => {
  if ("customer" in customer) return customer.customer
  const words = head.split(" ")
  // Three words are address, identity and user; a user's name may have spaces, and a virtual host may come first.
  const hasHost = words.length > 3 && (isAddress(words[1]!) || (/:\d+$/.test(words[0]!) && !isAddress(words[0]!)))
  const [address, , ...user] = hasHost ? words.slice(1) : words
  switch (customer.from) {
    case "ip":
      return address!
    case "user": {
      const name = user.join(" ")
      return name === "" || name === "-" || name === '""' ? unnamed("names no user") : name
    }
    case "vhost":
      return hasHost ? words[0]!.replace(/:\d+$/, "") : unnamed("does not begin with a virtual host")
  }
}

const unnamed = (problem: string) =>
  new InvalidInput({
    field: "customer",
    problem: `the line ${problem}`,
    remedy: "Name the customer of the whole log, or take it from another part of the lines"
  })

const nothing = { endpoint: "-", method: "-" }
const requestPattern = /^([A-Za-z][A-Za-z_-]{0,31}) +(\S.*?)(?: +HTTP\/\d(?:\.\d)?)?$/
// oxlint-disable-next-line no-control-regex -- no request that a server could read has control characters
const unreadable = /[\u0000-\u001f\u007f\ufffd]/

/** Longest endpoint that is kept; what is longer is cut. */
const endpointLength = 2048

const requestOf = (escaped: string): { readonly endpoint: string; readonly method: string } => {
  const request = escaped.includes("\\") ? unescape(escaped) : escaped
  if (request === undefined || unreadable.test(request)) return nothing
  const match = requestPattern.exec(request)
  if (match === null) return nothing
  const [, method, target] = match as unknown as [string, string, string]
  const path = pathOf(target)
  if (path === "") return nothing
  return { endpoint: path.length > endpointLength ? path.slice(0, endpointLength).toWellFormed() : path, method }
}

/** The path of a request's target, which a proxy is given with scheme and host. */
const pathOf = (target: string): string => {
  const query = target.search(/[?#]/)
  const address = query < 0 ? target : target.slice(0, query)
  if (address.startsWith("/")) return address
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/[^/]*(.*)$/i.exec(address)
  return absolute === null ? address : absolute[1] === "" ? "/" : absolute[1]!
}

const named: Record<string, string> = { n: "\n", r: "\r", t: "\t", b: "\b", v: "\v", f: "\f" }

/** Undoes what servers do to quotes, backslashes and bytes. `undefined`: those bytes are no text. */
const unescape = (escaped: string): string | undefined => {
  const parts: Array<Buffer> = []
  let done = 0
  for (const match of escaped.matchAll(/\\(?:x([0-9A-Fa-f]{2})|(.))/gs)) {
    const [whole, hex, other] = match
    parts.push(Buffer.from(escaped.slice(done, match.index)))
    if (hex !== undefined) parts.push(Buffer.of(Number.parseInt(hex, 16)))
    else parts.push(Buffer.from(named[other!] ?? other!))
    done = match.index + whole.length
  }
  const bytes = Buffer.concat([...parts, Buffer.from(escaped.slice(done))])
  return isUtf8(bytes) ? bytes.toString("utf8") : undefined
}
