/**
 * Stdout, where a write that fails is a failure of the command.
 *
 * Through Node's own stream a file may get less than it was given, unnoticed: a short write counts as complete, and the console
 * swallows every error. So files (and devices other than terminals) are written here, each text to its end. Pipes and
 * terminals get Node's stream, which does that, and whose errors are events.
 */
import { fstatSync, writeSync } from "node:fs"
import { Writable } from "node:stream"
import { isatty } from "node:tty"
import { Unwritable } from "./NewFile.ts"

const fd = 1

const isFile = (): boolean => {
  const stat = fstatSync(fd)
  return !(stat.isFIFO() || stat.isSocket() || isatty(fd))
}

const unwritable = (cause: unknown) => Unwritable.of("stdout", cause)

const writeWhole = (data: Uint8Array): void => {
  for (let written = 0; written < data.length;) written += writeSync(fd, data, written)
}

const printToFile = (line: string): void => {
  try {
    writeWhole(Buffer.from(`${line}\n`))
  } catch (cause) {
    throw unwritable(cause)
  }
}

/**
 * Writes a line. Throws `Unwritable` if that fails; where stdout is a pipe or a terminal, its stream has the event `error`
 * instead.
 */
export const print = (line: string): void => {
  if (isFile()) printToFile(line)
  else process.stdout.write(`${line}\n`)
}

/** Writes a line, and resolves when the system has taken it; rejects with `Unwritable`. */
export const printed = async (line: string): Promise<void> => {
  if (isFile()) return printToFile(line)
  await new Promise<void>((resolve, reject) => {
    const { stdout } = process
    stdout.write(`${line}\n`, (cause) => {
      if (!cause) return resolve()
      // The error is reported here; without a listener its event would end the process.
      if (stdout.listenerCount("error") === 0) stdout.once("error", () => {})
      reject(unwritable(cause))
    })
  })
}

/** For data that is written as a stream. Do not end it. */
export const stream = (): Writable => (isFile() ? new FileStream() : process.stdout)

class FileStream extends Writable {
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (cause?: Error) => void): void {
    try {
      writeWhole(chunk)
    } catch (cause) {
      return done(cause as Error)
    }
    done()
  }
}
