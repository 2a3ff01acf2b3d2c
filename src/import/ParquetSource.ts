/**
 * A Parquet file as lines of NDJSON, read by a process of its own (`parquetReader`), which waits for whoever takes them.
 *
 * Memory is that of a row group there, and of a pipe here.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { stat } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { InvalidInput } from "../domain/InvalidInput.ts"
import * as Optional from "../system/Optional.ts"

/** What the process says of a file that it does not read to its end, with this exit code. */
export type Verdict =
  | { readonly kind: "refused"; readonly field: string; readonly problem: string; readonly remedy: string }
  | { readonly kind: "failed"; readonly detail: string }

export const verdict = 3

/** Memory that the process may take for values, in MB; the bytes that they come from are bounded by themselves. */
const defaultHeap = 1_024

/** How long the process may take for its next rows: what a file says of itself may keep it busy for ever. */
const silentMillis = 120_000

/** What is kept of what the process says. */
const maxMessage = 16_384

/** Opens a file. Rejects with `InvalidInput` for one that holds no usage, or is larger in some way than is read. */
export const open = async (
  file: string,
  options: { readonly heap?: number | undefined; readonly ended?: AbortSignal | undefined } = {}
): Promise<AsyncIterable<Uint8Array>> => {
  const { ended: unwanted, heap = defaultHeap } = options
  if (!(await stat(file)).isFile()) throw notAFile
  // The process would say so too, in words that nobody understands.
  await Optional.load("hyparquet", "a Parquet file", () => import("hyparquet"))
  // Beside this module: a source file in a checkout, a bundled one in the package.
  const script = import.meta.url.endsWith(".ts") ? "./ParquetReader.ts" : "./parquet-reader.js"
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${heap}`, fileURLToPath(new URL(script, import.meta.url)), file],
    // It has no need of what else is in the environment.
    { stdio: ["ignore", "pipe", "pipe"], env: {} }
  )
  let said = ""
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (said.length < maxMessage) said += text
  })
  const ended = once(child, "close") as Promise<[code: number | null, signal: string | null]>
  ended.catch(() => {})
  const output = child.stdout[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  /** Rejects when the process has not read the file to its end. */
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const patience = setTimeout(close, silentMillis)
    const block = await output.next().finally(() => clearTimeout(patience))
    if (block.done === true) {
      const [code, signal] = await ended
      if (code !== 0) throw failureOf(code ?? signal, said, heap)
    }
    return block
  }
  const close = () => void child.kill("SIGKILL")
  unwanted?.addEventListener("abort", close, { once: true })
  if (unwanted?.aborted === true) close()
  let first: IteratorResult<Uint8Array> | undefined
  try {
    // What is refused is refused before the first line.
    first = await next()
  } catch (cause) {
    close()
    throw cause
  }
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => {
        const block = first ?? (await next())
        first = undefined
        return block
      },
      return: async () => {
        close()
        return { done: true, value: undefined }
      }
    })
  }
}

const notAFile = new InvalidInput({
  field: "file",
  problem: "is no regular file, and Parquet is read from its end",
  remedy: "Write it to a file first"
})

const failureOf = (end: number | string | null, said: string, heap: number): Error => {
  if (end === verdict) {
    const verdict = JSON.parse(said) as Verdict
    return verdict.kind === "refused" ? new InvalidInput(verdict) : new Error(verdict.detail)
  }
  if (end === "SIGKILL") return new Error(`its reader was ended, or gave no rows for ${silentMillis / 1_000} seconds`)
  return new Error(
    /heap/i.test(said)
      ? `it takes more than ${heap} MB of memory: write it with smaller row groups`
      : `the process that reads it ended with ${end}: ${said.slice(0, 300)}`
  )
}
