/**
 * The spool on disk: usage that is safe, but not yet in the database. Any number of processes may share one directory.
 *
 *     inbox/<name>.ndjson        moved here by any program: one JSON object a line, as the `Importer` reads it
 *     inbox/<name>.lines         lines that a shell with the functions of `usage shell-init` is adding (see `ShellLines`)
 *     open/<process>/            what a running process is writing: segments, and claims of the inbox (see `OwnDirectory`)
 *     ready/<time>-<key>.segment sealed, to be stored by whoever comes first
 *     ready/<time>-<key>.claim/  files of the inbox that were claimed together: one batch, like a segment
 *     ready/<time>-<key>.file/   a large file by itself: many batches, whose keys are derived from this one
 *     delivered/                 batches that were stored, kept for a while (see `Delivered`)
 *     broken/                    what could not be read, kept for a person to look at (see `Broken`)
 *     database                   the id of the database that it belongs to (see `SpoolOwner`)
 *
 * A sealed segment or claim never changes, and its name contains the key of its batch. So it may be stored any number of
 * times, by any number of processes at once: the ledger takes it once. It leaves `ready` after that.
 *
 * Both are created where only their process writes, and sealed by a rename. What a dead process left open is sealed as it is by
 * the next process.
 *
 * Directories are 0700 and files 0600: usage is nobody else's business.
 */
import { randomUUID } from "node:crypto"
import { lstat, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { contains, isMissing, isOlder, makePrivateDirectory, syncDirectory, writeWhole } from "../files/Files.ts"
import * as Broken from "./Broken.ts"
import * as Inbox from "./Inbox.ts"
import * as OwnDirectory from "./OwnDirectory.ts"
import { ignoreMissing, names, sealedPattern, stampedName } from "./SpoolNames.ts"

/** A batch on disk. */
export interface SealedBatch {
  readonly kind: "segment" | "claim" | "file"
  readonly key: string
  readonly path: string
}

/**
 * What waits in a spool. `oldest`: when the oldest of it was put there, in milliseconds since 1970. `broken`: how many pieces of
 * segments and files of the inbox could not be read. `database`: the id of the database that the spool belongs to.
 *
 * @since 0.1.0
 */
export interface SpoolStatus {
  readonly inboxFiles: number
  readonly openSegments: number
  readonly readyBatches: number
  readonly bytes: number
  readonly oldest: number | undefined
  readonly broken: number
  readonly database: string | undefined
}

export interface SpoolDirectory {
  readonly path: string
}

/** Opens a spool, and creates it if it is missing. */
export const openSpool = async (path: string): Promise<SpoolDirectory> => {
  for (const directory of [path, join(path, "inbox"), join(path, "open"), join(path, "ready"), join(path, "broken")]) {
    await makePrivateDirectory(directory)
  }
  return { path }
}

/** The name of a new segment. */
export const segmentName = (key: string): string => `${stampedName(key)}.segment`

/** Seals a segment: from then on any process may store it. */
export const seal = async (spool: SpoolDirectory, openPath: string, key: string): Promise<SealedBatch> => {
  const path = join(spool.path, "ready", basename(openPath))
  await rename(openPath, path)
  await syncDirectory(join(spool.path, "ready"))
  return { kind: "segment", key, path }
}

/** Adds a complete segment, sealed. */
export const putSealed = async (
  spool: SpoolDirectory,
  key: string,
  data: string | Uint8Array
): Promise<SealedBatch> => {
  const path = join(spool.path, "ready", segmentName(key))
  await writeWhole(path, data)
  return { kind: "segment", key, path }
}

/** Drops lines into the inbox, as any other program would. */
export const drop = async (spool: SpoolDirectory, lines: string): Promise<void> => {
  await writeWhole(join(spool.path, "inbox", `${stampedName(randomUUID())}.ndjson`), lines)
}

/** Seals what dead processes have left open. */
export const adoptOrphans = (spool: SpoolDirectory): Promise<void> => OwnDirectory.adoptAll(spool.path)

/** Claims files of the inbox; `undefined` if there are none. */
export const claimInbox = (spool: SpoolDirectory): Promise<SealedBatch | undefined> => Inbox.claim(spool.path)

/** The sealed batches, oldest first. */
export const ready = async (spool: SpoolDirectory): Promise<ReadonlyArray<SealedBatch>> => {
  const found: Array<SealedBatch> = []
  for (const name of (await names(join(spool.path, "ready"))).sort()) {
    const match = sealedPattern.exec(name)
    if (match === null) continue
    found.push({ kind: match[2] as SealedBatch["kind"], key: match[1]!, path: join(spool.path, "ready", name) })
  }
  return found
}

/** The content of a segment; `undefined` if somebody has stored and removed it. */
export const readSegment = (batch: SealedBatch): Promise<Uint8Array | undefined> =>
  readFile(batch.path).catch(ignoreMissing)

/** The id of the database that the spool belongs to; `undefined` before the first delivery. */
export const readOwner = async (spool: SpoolDirectory): Promise<string | undefined> =>
  (await readFile(join(spool.path, "database"), "utf8").catch(ignoreMissing))?.trim()

export const writeOwner = (spool: SpoolDirectory, id: string): Promise<void> =>
  writeWhole(join(spool.path, "database"), `${id}\n`)

/** Whether something waits to be delivered, apart from the batches in `except` and what is still open. */
export const isWaiting = async (spool: SpoolDirectory, except: ReadonlySet<string>): Promise<boolean> =>
  (await ready(spool)).some(({ key }) => !except.has(key)) ||
  (await names(join(spool.path, "inbox"))).some(Inbox.isMeant)

/** Removes a stored batch. A claim is renamed first: a half-removed one must never look complete. */
export const remove = async (batch: SealedBatch): Promise<void> => {
  if (batch.kind === "segment") return rm(batch.path, { force: true })
  const done = `${batch.path}.done`
  try {
    await rename(batch.path, done)
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  }
  await rm(done, { recursive: true, force: true })
}

/** The files of the spool that contain a text. */
export const filesWith = async (spool: SpoolDirectory, text: string): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const name of await readdir(spool.path, { recursive: true })) {
    const file = join(spool.path, name)
    // Opening a lock file of this process would release the lock; opening a pipe would block.
    if (OwnDirectory.isLock(name) || (await lstat(file).catch(ignoreMissing))?.isFile() !== true) continue
    if ((await contains(file, text).catch(ignoreMissing)) === true) found.push(file)
  }
  return found
}

/** Removes what an interrupted removal or an interrupted writer left. */
export const tidy = async (spool: SpoolDirectory): Promise<void> => {
  await Broken.tidyLeft(spool.path)
  for (const name of await names(join(spool.path, "ready"))) {
    if (name.endsWith(".done")) await rm(join(spool.path, "ready", name), { recursive: true, force: true })
  }
  for (const folder of ["ready", "inbox"]) {
    for (const name of await names(join(spool.path, folder))) {
      if (!name.startsWith(".") || !name.endsWith(".tmp")) continue
      const file = join(spool.path, folder, name)
      if (await isOlder(file, 3_600_000)) await rm(file, { force: true })
    }
  }
}

/** Rejects if no file can be written. Removes what it writes at once; else `tidy` does. */
export const probe = async (spool: SpoolDirectory): Promise<void> => {
  const file = join(spool.path, "inbox", `.probe.${randomUUID()}.tmp`)
  await writeFile(file, "written to see whether it can be\n", { mode: 0o600 })
  await rm(file, { force: true })
}

export const status = async (spool: SpoolDirectory): Promise<SpoolStatus> => {
  let bytes = 0
  let oldest: number | undefined
  const look = async (file: string) => {
    const found = await lstat(file).catch(() => undefined)
    if (found === undefined) return
    if (found.isFile()) bytes += found.size
    oldest = Math.min(oldest ?? Infinity, found.mtimeMs)
  }
  const lookInto = async (directory: string) => {
    for (const name of await names(directory)) await look(join(directory, name))
  }
  const inbox = (await names(join(spool.path, "inbox"))).filter(Inbox.isMeant)
  for (const name of inbox) await look(join(spool.path, "inbox", name))
  let openSegments = 0
  for (const owner of await names(join(spool.path, "open"))) {
    for (const name of await ofAnybody(join(spool.path, "open", owner))) {
      if (!name.endsWith(".segment")) continue
      openSegments++
      await look(join(spool.path, "open", owner, name))
    }
  }
  const sealed = await ready(spool)
  for (const { kind, path } of sealed) await (kind === "segment" ? look(path) : lookInto(path))
  const broken = await Broken.count(spool.path)
  const database = await readOwner(spool)
  return { inboxFiles: inbox.length, openSegments, readyBatches: sealed.length, bytes, oldest, broken, database }
}

/** The contents of a directory in `open/`; empty if it is another user's and cannot be read. */
const ofAnybody = (directory: string): Promise<ReadonlyArray<string>> =>
  names(directory).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === "EACCES") return []
    throw cause
  })
