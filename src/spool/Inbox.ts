/**
 * The inbox of a spool: whatever others have put there, claimed to be delivered.
 *
 * A claim is a directory, made where only its process writes and sealed by a rename; a file is in one claim only. Anything
 * can lie in an inbox. What is no file, or cannot be read, is claimed like the rest, so that it is in nobody's way, and
 * only told from a file when it is read: nothing but a regular file is ever opened.
 */
import { randomUUID } from "node:crypto"
import { constants } from "node:fs"
import { type FileHandle, lstat, mkdir, open, readdir, rename, rmdir } from "node:fs/promises"
import { join } from "node:path"
import { ByteWindow } from "../import/ByteWindow.ts"
import { isMissing, syncDirectory } from "../files/Files.ts"
import * as Broken from "./Broken.ts"
import * as OwnDirectory from "./OwnDirectory.ts"
import * as ShellLines from "./ShellLines.ts"
import type { SealedBatch } from "./SpoolDirectory.ts"
import { ignoreMissing, names, stampedName } from "./SpoolNames.ts"

/** Files of the inbox in one claim: a batch of a size that goes well in one transaction. */
const filesInClaim = 1_000
/** Bytes after which a claim takes no further file. A larger file has a claim to itself, and as many batches as it takes. */
const bytesInClaim = 4_194_304

/** Whether something of this name was put into the inbox to be taken. */
export const isMeant = (name: string): boolean =>
  !name.startsWith(".") && (name.endsWith(".ndjson") || ShellLines.isName(name))

/** Claims what is in the inbox, or a part of it; `undefined` if nothing is, or nothing that can be moved. */
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

/** Makes a claim of files, of those that can be had. */
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

/** What a rename answers that is about the one thing, and not about the inbox. */
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

/** What is in a claim, in order; `undefined` if somebody has stored and removed it. */
export const list = (path: string): Promise<ReadonlyArray<string> | undefined> =>
  readdir(path).then((found) => found.sort(), ignoreMissing)

/** The text of a file of a claim. `modified`: when it was written, in milliseconds since 1970. */
export interface OpenFile {
  readonly window: ByteWindow
  readonly modified: number
  readonly handle: FileHandle
}

/** Why something in a claim is not read, and never will be. */
export class Unreadable extends Error {}

/** What the system answers about a file; anything else is about us, or for now. */
const aboutFile: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EIO", "ELOOP", "ENXIO", "ENODEV", "EISDIR"])

/** The same error as `Unreadable`, if it says something about the file. */
export const unreadable = (cause: unknown): unknown => {
  if (cause instanceof Unreadable) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  // Without a code it is what the first bytes say.
  return code === undefined || aboutFile.has(code) ? new Unreadable(`cannot be read: ${message}`, { cause }) : cause
}

/**
 * Opens a file of a claim. Rejects with `Unreadable` for what is no file of text, or what the system does not let us read.
 * `isAlone`: it may have any size.
 */
export const openFile = async (file: string, isAlone: boolean): Promise<OpenFile> => {
  const kind = kindOf(await lstat(file))
  if (kind !== undefined) throw new Unreadable(`is ${kind}, and no file`)
  const isShells = ShellLines.isName(file)
  const access = isShells ? constants.O_RDWR | constants.O_APPEND : constants.O_RDONLY
  let handle: FileHandle | undefined
  try {
    // What it was a moment ago is only a hint.
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
