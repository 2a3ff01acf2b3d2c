/**
 * Files to which several processes append lines at the same time.
 *
 * A line is one write at the end of the file, so lines of different processes never mix. After half a line that a full
 * disk left, the next line starts on its own. A line is on disk when `appendLine` resolves. A new file has mode 0600.
 */
import { type FileHandle, open } from "node:fs/promises"
import { dirname } from "node:path"
import { setTimeout } from "node:timers/promises"
import { isMissing, makePrivateDirectory } from "./Files.ts"

const openToAppend = async (file: string): Promise<FileHandle> => {
  try {
    return await open(file, "a+", 0o600)
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    await makePrivateDirectory(dirname(file))
    return await open(file, "a+", 0o600)
  }
}

const endsWithHalfALine = async (handle: FileHandle): Promise<boolean> => {
  const { size } = await handle.stat()
  if (size === 0) return false
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, size - 1)
  return bytesRead === 1 && buffer[0] !== 0x0a
}

/** Another process's write may be seen half done: only what stays that way was left that way. */
const isTorn = async (handle: FileHandle): Promise<boolean> => {
  if (!(await endsWithHalfALine(handle))) return false
  await setTimeout(20)
  return endsWithHalfALine(handle)
}

/** Appends `line` and a line end; creates the file and its directory if needed. */
export const appendLine = async (file: string, line: string): Promise<void> => {
  const handle = await openToAppend(file)
  try {
    // Terminals and pipes can be neither read nor synced.
    const isFile = (await handle.stat()).isFile()
    const torn = isFile && (await isTorn(handle))
    const data = Buffer.from(`${torn ? "\n" : ""}${line}\n`)
    const { bytesWritten } = await handle.write(data)
    if (bytesWritten < data.length) {
      throw Object.assign(new Error("the line was written in part"), { code: "ENOSPC" })
    }
    if (isFile) await handle.datasync()
  } finally {
    await handle.close()
  }
}
