/**
 * A line on a terminal's stderr that says how far long work is: redrawn in place, and gone when the work is done.
 *
 * Hand-written: `cli-progress` has not been released for years, and draws more than one line.
 */
import { printable } from "../../domain/Shown.ts"
import { humanBytes } from "./Numbers.ts"

export interface Progress {
  /** What is done so far, of `total` where that is known, and what else there is to say. */
  readonly show: (done: number, note: string, total?: number) => void
  readonly clear: () => void
}

const barWidth = 24
/** A terminal needs no more than this, and drawing is not what the time is for. */
const redrawMillis = 100

const seconds = (value: number): string =>
  value < 90
    ? `${Math.ceil(value)} s`
    : value < 5400
      ? `${Math.ceil(value / 60)} min`
      : `${(value / 3600).toFixed(1)} h`

/** Rows in a progress line: `812 rows`, `1.3M rows`. */
export const rows = (count: number): string =>
  `${count < 10_000 ? Math.round(count) : count < 1e6 ? `${Math.round(count / 1e3)}k` : `${(count / 1e6).toFixed(1)}M`} rows`

/** In place of what was drawn before, on one line of the terminal. */
const draw = (stream: NodeJS.WriteStream, line: string): void => {
  stream.write(`\r\u001b[2K${printable(line).slice(0, Math.max(20, (stream.columns ?? 80) - 1))}`)
}

/** `whole` is `undefined` where the end is not known, as for a pipe; `amount` says what is counted: bytes. */
export const make = (
  stream: NodeJS.WriteStream,
  whole: number | undefined,
  amount: (value: number) => string = humanBytes
): Progress => {
  const started = Date.now()
  let drawn = 0
  return {
    show: (done, note, total = whole) => {
      const now = Date.now()
      if (now - drawn < redrawMillis) return
      drawn = now
      const elapsed = Math.max(0.001, (now - started) / 1000)
      const rate = `${amount(done / elapsed)}/s`
      let line: string
      if (total === undefined || total === 0) {
        line = `${amount(done)}  ${rate}  ${note}`
      } else {
        const part = Math.min(1, done / total)
        const full = Math.floor(part * barWidth)
        const left = part > 0 ? `  ${seconds((elapsed / part) * (1 - part))} left` : ""
        line = `${"█".repeat(full)}${"░".repeat(barWidth - full)} ${Math.floor(part * 100)} %  ${rate}${left}  ${note}`
      }
      draw(stream, line)
    },
    clear: () => {
      if (drawn > 0) stream.write("\r\u001b[2K")
    }
  }
}

/** A line that counts steps: `12 of 31 days`. */
export const makeSteps = (stream: NodeJS.WriteStream, what: string) => {
  let drawn = 0
  return {
    show: (done: number, of: number, note = "") => {
      const now = Date.now()
      // What is said in words is said when it is so.
      if (note === "" && now - drawn < redrawMillis) return
      drawn = now
      const full = Math.floor((done / Math.max(1, of)) * barWidth)
      draw(stream, `${"█".repeat(full)}${"░".repeat(barWidth - full)} ${done} of ${of} ${what}  ${note}`.trimEnd())
    },
    clear: () => {
      if (drawn > 0) stream.write("\r\u001b[2K")
    }
  }
}

/** A line that says what is being done. */
export const makeNotes = (stream: NodeJS.WriteStream) => ({
  show: (note: string) => draw(stream, note),
  clear: () => void stream.write("\r\u001b[2K")
})
