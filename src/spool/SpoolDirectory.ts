/**
 * The spool on disk: usage that is safe, but not in the database yet. Any number of processes share one directory.
 *
 *     inbox/<name>.ndjson        dropped here by anybody, by rename: one JSON object a line, as `usage import` reads it
 *     inbox/.shell-<pid>.open    lines that a shell with the functions of `usage shell-init` is adding
 *     open/<process>/            segments that a running process is writing, and `owner.json`, which says whose they are
 *     ready/<time>-<key>.segment sealed, to be stored by whoever comes first
 *     ready/<time>-<key>.claim/  files of the inbox that were claimed together: one batch, like a segment
 *     broken/                    what of a segment could not be read, kept for a person to look at
 *
 * A sealed segment and a sealed claim never change, and their name has the key of their batch. So it does not matter how
 * often, or by how many processes at once, one is stored: the ledger takes it once. It is removed after that.
 *
 * A claim is made under a name that is not sealed yet (`.claiming`), file by file, and sealed by renaming the directory.
 * Whatever a process that died left of either is sealed by the next as it is.
 *
 * Directories are 0700 and files 0600: usage is nobody else's business.
 */
import { randomUUID } from "node:crypto"
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { isMissing, makePrivateDirectory, syncDirectory, writeWhole } from "../system/Files.ts"
import * as ProcessOwner from "../system/ProcessOwner.ts"

/** A batch on disk. */
export interface SealedBatch {
  readonly kind: "segment" | "claim"
  readonly key: string
  readonly path: string
}

/**
 * What waits in a spool. `oldest`: when the longest waiting was put there, in milliseconds since 1970. `broken`: pieces of
 * segments that could not be read.
 */
export interface SpoolStatus {
  readonly inboxFiles: number
  readonly openSegments: number
  readonly readyBatches: number
  readonly bytes: number
  readonly oldest: number | undefined
  readonly broken: number
}

export interface SpoolDirectory {
  readonly path: string
  /** This process's own directory of segments that are being written. */
  readonly own: string
}

/** A file that a shell appends to, and the number of its process. */
const shellPattern = /^\.shell-(\d+)\.open$/

const sealedPattern = /^[0-9a-z]+-([0-9a-f-]{36})\.(segment|claim)$/

/** Makes a spool, or opens one that is there. */
export const openSpool = async (path: string): Promise<SpoolDirectory> => {
  const owner = ProcessOwner.self()
  const own = join(path, "open", `${owner.pid}-${randomUUID().slice(0, 8)}`)
  for (const directory of [path, join(path, "inbox"), join(path, "open"), join(path, "ready"), join(path, "broken")]) {
    await makePrivateDirectory(directory)
  }
  return { path, own }
}

/** A name under which segments and claims sort by age. */
const stampedName = (key: string): string => `${Date.now().toString(36).padStart(9, "0")}-${key}`

/** Says to whom the open segments belong; done before the first of them. */
export const announce = async (spool: SpoolDirectory): Promise<void> => {
  await makePrivateDirectory(spool.own)
  await writeWhole(join(spool.own, "owner.json"), JSON.stringify(ProcessOwner.self()))
  await syncDirectory(join(spool.path, "open"))
}

/** Where a new segment of this process is written. */
export const openSegmentPath = (spool: SpoolDirectory, key: string): string =>
  join(spool.own, `${stampedName(key)}.segment`)

/** Seals a segment: it is then anybody's to store. */
export const seal = async (spool: SpoolDirectory, openPath: string, key: string): Promise<SealedBatch> => {
  const path = join(spool.path, "ready", openPath.slice(openPath.lastIndexOf("/") + 1))
  await rename(openPath, path)
  await syncDirectory(join(spool.path, "ready"))
  return { kind: "segment", key, path }
}

/** Puts a whole segment where it is ready to be stored. */
export const putSealed = async (
  spool: SpoolDirectory,
  key: string,
  data: string | Uint8Array
): Promise<SealedBatch> => {
  const path = join(spool.path, "ready", `${stampedName(key)}.segment`)
  await writeWhole(path, data)
  return { kind: "segment", key, path }
}

/** Drops lines into the inbox, as a program that knows nothing of us would. */
export const drop = async (spool: SpoolDirectory, lines: string): Promise<void> => {
  await writeWhole(join(spool.path, "inbox", `${stampedName(randomUUID())}.ndjson`), lines)
}

/** Removes this process's directory when nothing is left in it. */
export const retire = async (spool: SpoolDirectory): Promise<void> => {
  const left = await readdir(spool.own).catch(() => [])
  if (left.every((name) => name === "owner.json")) await rm(spool.own, { recursive: true, force: true })
}

/** Seals what processes that are gone have left open, and claims that they did not finish. */
export const adoptOrphans = async (spool: SpoolDirectory): Promise<void> => {
  const inbox = join(spool.path, "inbox")
  for (const name of await names(inbox)) {
    const pid = shellPattern.exec(name)?.[1]
    if (pid === undefined || ProcessOwner.isAlive({ pid: Number(pid), started: "", host: ProcessOwner.self().host }))
      continue
    await rename(join(inbox, name), join(inbox, `${stampedName(randomUUID())}.ndjson`)).catch(ignoreMissing)
  }
  for (const name of await names(join(spool.path, "open"))) {
    const directory = join(spool.path, "open", name)
    if (directory === spool.own || (await isOwned(directory))) continue
    for (const file of await names(directory)) {
      if (!file.endsWith(".segment")) continue
      await rename(join(directory, file), join(spool.path, "ready", file)).catch(ignoreMissing)
    }
    await rm(directory, { recursive: true, force: true })
  }
  for (const name of await names(join(spool.path, "ready"))) {
    const match = /^(.*\.claim)\.(\d+)-(\d*)\.claiming$/.exec(name)
    if (match === null) continue
    if (ProcessOwner.isAlive({ pid: Number(match[2]), started: match[3]!, host: ProcessOwner.self().host })) continue
    await rename(join(spool.path, "ready", name), join(spool.path, "ready", match[1]!)).catch(ignoreMissing)
  }
}

/** How long a directory may be without its owner's name: it is made first, and the name a moment later. */
const anonymousMillis = 10_000

const isOwned = async (directory: string): Promise<boolean> => {
  try {
    const owner = JSON.parse(await readFile(join(directory, "owner.json"), "utf8")) as ProcessOwner.ProcessOwner
    return ProcessOwner.isAlive(owner)
  } catch (cause) {
    if (!isMissing(cause)) return false
    const found = await stat(directory).catch(() => undefined)
    return found !== undefined && Date.now() - found.mtimeMs < anonymousMillis
  }
}

/** Files of the inbox in one claim: a batch of a size that goes well in one transaction. */
const filesInClaim = 1_000
/** Bytes after which a claim takes no further file. */
const bytesInClaim = 4_194_304

/** Claims files of the inbox as one batch; `undefined` if there are none. A file is claimed by one process only. */
export const claimInbox = async (spool: SpoolDirectory): Promise<SealedBatch | undefined> => {
  const inbox = join(spool.path, "inbox")
  const waiting = (await names(inbox)).filter((name) => name.endsWith(".ndjson") && !name.startsWith(".")).sort()
  if (waiting.length === 0) return undefined
  const key = randomUUID()
  const path = join(spool.path, "ready", `${stampedName(key)}.claim`)
  const { pid, started } = ProcessOwner.self()
  const claiming = `${path}.${pid}-${started}.claiming`
  await makePrivateDirectory(claiming)
  let files = 0
  let bytes = 0
  for (const name of waiting) {
    try {
      bytes += (await stat(join(inbox, name))).size
      await rename(join(inbox, name), join(claiming, name))
      files++
    } catch (cause) {
      // Another process has it.
      if (!isMissing(cause)) throw cause
    }
    if (files === filesInClaim || bytes >= bytesInClaim) break
  }
  if (files === 0) {
    await rm(claiming, { recursive: true, force: true })
    return undefined
  }
  await syncDirectory(claiming)
  await rename(claiming, path)
  await syncDirectory(join(spool.path, "ready"))
  return { kind: "claim", key, path }
}

/** What is sealed, the oldest first. */
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

/** A file that was dropped into the inbox. `modified`: when it was written, in milliseconds since 1970. */
export interface ClaimedFile {
  readonly name: string
  readonly data: Uint8Array
  readonly modified: number
}

/** The files of a claim, in order; `undefined` if somebody has stored and removed it. */
export const readClaim = async (batch: SealedBatch): Promise<ReadonlyArray<ClaimedFile> | undefined> => {
  try {
    const contents: Array<ClaimedFile> = []
    for (const name of (await readdir(batch.path)).sort()) {
      const file = join(batch.path, name)
      contents.push({ name, data: await readFile(file), modified: (await stat(file)).mtimeMs })
    }
    return contents
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
}

/** Removes a batch that is stored. A claim is renamed first: half of one must never look like a whole. */
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

/** Keeps what could not be read of a segment. */
export const keepBroken = async (
  spool: SpoolDirectory,
  key: string,
  offset: number,
  content: Uint8Array
): Promise<void> => {
  await writeWhole(join(spool.path, "broken", `${key}-${offset}`), content)
}

/** Removes those of the kept pieces whose text is meant; gives their number. */
export const removeBroken = async (spool: SpoolDirectory, isMeant: (text: string) => boolean): Promise<number> => {
  let removed = 0
  for (const name of await names(join(spool.path, "broken"))) {
    const file = join(spool.path, "broken", name)
    const data = await readFile(file).catch(ignoreMissing)
    if (data === undefined || !isMeant(data.toString("utf8"))) continue
    await rm(file, { force: true })
    removed++
  }
  return removed
}

/** Files that hold a text, wherever they are. */
export const filesWith = async (spool: SpoolDirectory, text: string): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const name of await readdir(spool.path, { recursive: true })) {
    const file = join(spool.path, name)
    const data = await readFile(file).catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code !== "EISDIR") return ignoreMissing(cause)
      return undefined
    })
    if (data?.includes(text) === true) found.push(file)
  }
  return found
}

/** Removes what an interrupted removal or an interrupted writer left. */
export const tidy = async (spool: SpoolDirectory): Promise<void> => {
  for (const name of await names(join(spool.path, "ready"))) {
    if (name.endsWith(".done")) await rm(join(spool.path, "ready", name), { recursive: true, force: true })
  }
  for (const folder of ["ready", "inbox"]) {
    for (const name of await names(join(spool.path, folder))) {
      if (!name.startsWith(".") || !name.endsWith(".tmp")) continue
      const file = join(spool.path, folder, name)
      const found = await stat(file).catch(() => undefined)
      if (found !== undefined && Date.now() - found.mtimeMs > 3_600_000) await rm(file, { force: true })
    }
  }
}

/** Rejects if no file can be written. What it writes is removed at once, or by `tidy`. */
export const probe = async (spool: SpoolDirectory): Promise<void> => {
  const file = join(spool.path, "inbox", `.probe.${randomUUID()}.tmp`)
  await writeFile(file, "written to see whether it can be\n", { mode: 0o600 })
  await rm(file, { force: true })
}

export const status = async (spool: SpoolDirectory): Promise<SpoolStatus> => {
  let bytes = 0
  let oldest: number | undefined
  const look = async (file: string) => {
    const found = await stat(file).catch(() => undefined)
    if (found === undefined) return
    if (found.isDirectory()) {
      for (const name of await names(file)) await look(join(file, name))
      return
    }
    bytes += found.size
    oldest = Math.min(oldest ?? Infinity, found.mtimeMs)
  }
  const dropped = await names(join(spool.path, "inbox"))
  const inbox = dropped.filter((name) => name.endsWith(".ndjson") && !name.startsWith("."))
  const shells = dropped.filter((name) => shellPattern.test(name))
  for (const name of [...inbox, ...shells]) await look(join(spool.path, "inbox", name))
  let openSegments = shells.length
  for (const owner of await names(join(spool.path, "open"))) {
    for (const name of await names(join(spool.path, "open", owner))) {
      if (!name.endsWith(".segment")) continue
      openSegments++
      await look(join(spool.path, "open", owner, name))
    }
  }
  const sealed = await ready(spool)
  for (const batch of sealed) await look(batch.path)
  const broken = (await names(join(spool.path, "broken"))).length
  return { inboxFiles: inbox.length, openSegments, readyBatches: sealed.length, bytes, oldest, broken }
}

const names = (directory: string): Promise<Array<string>> =>
  readdir(directory).catch((cause: unknown) => {
    if (isMissing(cause)) return []
    throw cause
  })

const ignoreMissing = (cause: unknown): undefined => {
  if (!isMissing(cause)) throw cause
  return undefined
}
