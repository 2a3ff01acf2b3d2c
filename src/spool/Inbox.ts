/**
 * The inbox of a spool: files that others have put there, claimed as batches.
 *
 * A claim is a directory, made where only its process writes and sealed by a rename; a file is in one claim only.
 */
import { randomUUID } from "node:crypto"
import { mkdir, readdir, readFile, rename, rmdir, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { isMissing, syncDirectory } from "../system/Files.ts"
import * as OwnDirectory from "./OwnDirectory.ts"
import * as ShellLines from "./ShellLines.ts"
import { names, stampedName } from "./SpoolNames.ts"

/** Files of the inbox in one claim: a batch of a size that goes well in one transaction. */
const filesInClaim = 1_000
/** Bytes after which a claim takes no further file. */
const bytesInClaim = 4_194_304

/** Whether a file of this name was put into the inbox to be taken. */
export const isMeant = (name: string): boolean =>
  !name.startsWith(".") && (name.endsWith(".ndjson") || ShellLines.isName(name))

/** Claims files as one batch, and gives where it is; `undefined` if there are none. */
export const claim = async (spool: string): Promise<{ readonly key: string; readonly path: string } | undefined> => {
  const inbox = join(spool, "inbox")
  const waiting = (await names(inbox)).filter(isMeant).sort()
  if (waiting.length === 0) return undefined
  const own = await OwnDirectory.make(spool)
  try {
    const key = randomUUID()
    const making = join(own.path, `${stampedName(key)}.claim`)
    await mkdir(making, { mode: 0o700 })
    let files = 0
    let bytes = 0
    for (const name of waiting) {
      try {
        bytes += (await stat(join(inbox, name))).size
        await rename(join(inbox, name), join(making, name))
        files++
      } catch (cause) {
        // Another process has it.
        if (!isMissing(cause)) throw cause
      }
      if (files === filesInClaim || bytes >= bytesInClaim) break
    }
    if (files === 0) {
      await rmdir(making)
      return undefined
    }
    await syncDirectory(making)
    const path = join(spool, "ready", basename(making))
    await rename(making, path)
    await syncDirectory(join(spool, "ready"))
    return { key, path }
  } finally {
    await own.retire()
  }
}

/** A file that was dropped into the inbox. `modified`: when it was written, in milliseconds since 1970. */
export interface ClaimedFile {
  readonly name: string
  readonly data: Uint8Array
  readonly modified: number
}

/** The files of a claim, in order; `undefined` if somebody has stored and removed it. */
export const read = async (path: string): Promise<ReadonlyArray<ClaimedFile> | undefined> => {
  try {
    const contents: Array<ClaimedFile> = []
    for (const name of (await readdir(path)).sort()) {
      const file = join(path, name)
      const { mtimeMs: modified } = await stat(file)
      contents.push({ name, data: await (ShellLines.isName(name) ? ShellLines.read(file) : readFile(file)), modified })
    }
    return contents
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
}
