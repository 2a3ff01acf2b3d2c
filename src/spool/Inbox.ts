/**
 * The inbox of a spool: other programs drop files here, which are claimed and then delivered.
 *
 * A claim is a directory, created where only its process writes and sealed by a rename; each file is in one claim only.
 * Anything may lie in an inbox. What is not a file, or cannot be read, is claimed like the rest, so that it is not in the
 * way, and is recognised when it is read: only regular files are ever opened.
 */
import { randomUUID } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, lstat, mkdir, open, readdir, rename, rmdir } from "node:fs/promises"
import { join } from "node:path"
import { isMissing, syncDirectory } from "../files/Files.ts"
import { ByteWindow } from "../import/ByteWindow.ts"
import * as Broken from "./Broken.ts"
import * as OwnDirectory from "./OwnDirectory.ts"
import * as ShellLines from "./ShellLines.ts"
import type { SealedBatch } from "./SpoolDirectory.ts"
import { ignoreMissing, names, stampedName } from "./SpoolNames.ts"

/** Files in one claim: a batch that suits one transaction. */
const filesInClaim = 1_000
/** Bytes after which a claim takes no further file. A larger file has a claim to itself, and several batches. */
const bytesInClaim = 4_194_304

/** Whether a file of this name is complete, and meant to be claimed. */
export const isMeant = (name: string): boolean =>
  !name.startsWith(".") && (name.endsWith(".ndjson") || ShellLines.isName(name))

/** Claims the files of the inbox, or a part of them; `undefined` if there are none that can be moved. */
export const claim = async (spool: string): Promise<SealedBatch | undefined> => {
  const large: Array<string> = []
  const others: Array<string> = []
  let bytes = 0
  for (const name of (await names(join(spool, "inbox"))).filter(isMeant).sort()) {
    const found = await lstat(join(spool, "inbox", name)).catch(ignoreMissing)
    if (found === undefined) continue
    const size = found.isFile() ? found.size : 0
    if (size > bytesInClaim && !ShellLines.isName(name)) large.push(name)
    else {
      others.push(name)
      bytes += size
    }
    if (others.length === filesInClaim || bytes >= bytesInClaim) break
  }
  if (others.length + large.length === 0) return undefined
  const own = await OwnDirectory.make(spool)
  try {
    const together = others.length === 0 ? undefined : await seal(spool, own, "claim", others)
    if (together !== undefined) return together
    for (const name of large) {
      const alone = await seal(spool, own, "file", [name])
      if (alone !== undefined) return alone
    }
    return undefined
  } finally {
    await own.retire()
  }
}

/** Makes a claim of those files that can be moved. */
const seal = async (
  spool: string,
  own: OwnDirectory.OwnDirectory,
  kind: "claim" | "file",
  wanted: ReadonlyArray<string>
): Promise<SealedBatch | undefined> => {
  const key = randomUUID()
  const name = `${stampedName(key)}.${kind}`
  const making = join(own.path, name)
  await mkdir(making, { mode: 0o700 })
  let files = 0
  for (const file of wanted) if (await take(spool, file, making)) files++
  if (files === 0) {
    await rmdir(making)
    return undefined
  }
  await syncDirectory(making)
  const path = join(spool, "ready", name)
  await rename(making, path)
  await syncDirectory(join(spool, "ready"))
  return { kind, key, path }
}

/** Error codes of a rename that concern the one file, and not the whole inbox. */
const immovable: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EBUSY", "EXDEV"])

const take = async (spool: string, name: string, to: string): Promise<boolean> => {
  try {
    await rename(join(spool, "inbox", name), join(to, name))
    return true
  } catch (cause) {
    // Another process has it.
    if (isMissing(cause)) return false
    if (!immovable.has((cause as NodeJS.ErrnoException).code)) throw cause
    await Broken.noteLeft(spool, name, `cannot be moved: ${(cause as Error).message}`)
    return false
  }
}

/** The contents of a claim, in order; `undefined` if somebody has stored and removed it. */
export const list = (path: string): Promise<ReadonlyArray<string> | undefined> =>
  readdir(path).then((found) => found.sort(), ignoreMissing)

/** The text of a file of a claim. `modified`: when it was written, in milliseconds since 1970. */
export interface OpenFile {
  readonly window: ByteWindow
  readonly modified: number
  readonly handle: FileHandle
}

/** Something in a claim can never be read, for a reason that lies in it. */
export class Unreadable extends Error {}

/** Error codes that concern the file; any other concerns this process, or is temporary. */
const aboutFile: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EIO", "ELOOP", "ENXIO", "ENODEV", "EISDIR"])

/** The same error as `Unreadable`, if it says something about the file. */
export const unreadable = (cause: unknown): unknown => {
  if (cause instanceof Unreadable) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  // Errors without a code are about the first bytes.
  return code === undefined || aboutFile.has(code) ? new Unreadable(`cannot be read: ${message}`, { cause }) : cause
}

/**
 * Opens a file of a claim. Rejects with `Unreadable` if it is not a text file, or the system does not let us read it.
 * `isAlone`: it may have any size.
 */
export const openFile = async (file: string, isAlone: boolean): Promise<OpenFile> => {
  const kind = kindOf(await lstat(file))
  if (kind !== undefined) throw new Unreadable(`is ${kind}, and no file`)
  const isShells = ShellLines.isName(file)
  const access = isShells ? constants.O_RDWR | constants.O_APPEND : constants.O_RDONLY
  let handle: FileHandle | undefined
  try {
    // What it was a moment ago is only a hint: look again.
    handle = await open(file, access | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const found = await handle.stat()
    if (!found.isFile()) throw new Unreadable("is no file")
    if (found.size > (isShells ? ShellLines.maxBytes : bytesInClaim) && !isAlone) {
      throw new Unreadable("has grown since it was put there")
    }
    const source = isShells
      ? inMemory(await ShellLines.read(handle))
      : handle.createReadStream({ highWaterMark: 262_144, autoClose: false })
    return { window: await ByteWindow.open(source, { compressed: false }), modified: found.mtimeMs, handle }
  } catch (cause) {
    await handle?.close()
    throw unreadable(cause)
  }
}

async function* inMemory(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content
}

const kindOf = (found: Awaited<ReturnType<typeof lstat>>): string | undefined => {
  if (found.isFile()) return undefined
  if (found.isDirectory()) return "a directory"
  if (found.isSymbolicLink()) return "a link"
  if (found.isFIFO()) return "a pipe"
  return found.isSocket() ? "a socket" : "a device"
}
