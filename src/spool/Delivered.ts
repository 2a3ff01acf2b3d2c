/**
 * Delivered batches, kept for a while: a database may lose what it had committed when it fails over to a lagging standby or is
 * restored.
 *
 *     delivered/<database>/<name>            delivered, and not confirmed since
 *     delivered/<database>/<server>/<name>   confirmed: found in the ledger in this run of the server
 *
 * A name contains the time of delivery, the size in bytes, and the batch's name in `ready`, where it returns to if the ledger
 * lacks it. The folder of a database is named by the database's id.
 */
import { rename, rm, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { isMissing, makePrivateDirectory } from "../files/Files.ts"
import type { SealedBatch, SpoolDirectory } from "./SpoolDirectory.ts"
import { names, sealedPattern } from "./SpoolNames.ts"

/** A batch that is kept. `server`: the run of the server in which it was confirmed, if any. */
export interface KeptBatch {
  readonly key: string
  readonly path: string
  readonly owner: string
  readonly server: string | undefined
  readonly deliveredAt: number
  readonly bytes: number
}

const keptPattern = /^([0-9a-z]+)~([0-9a-z]+)~(.*)$/

const root = (spool: SpoolDirectory): string => join(spool.path, "delivered")

/** Keeps a batch that was delivered to a database. */
export const keep = async (spool: SpoolDirectory, owner: string, batch: SealedBatch, now: number): Promise<void> => {
  const directory = join(root(spool), owner)
  await makePrivateDirectory(directory)
  const bytes = await sizeOf(batch.path)
  if (bytes === undefined) return
  const name = `${now.toString(36).padStart(9, "0")}~${bytes.toString(36)}~${basename(batch.path)}`
  await move(batch.path, join(directory, name))
}

/** Everything that is kept, oldest first. */
export const list = async (spool: SpoolDirectory): Promise<ReadonlyArray<KeptBatch>> => {
  const found: Array<KeptBatch> = []
  const add = (directory: string, name: string, owner: string, server: string | undefined) => {
    const [, at, bytes, batch] = keptPattern.exec(name) ?? []
    const key = sealedPattern.exec(batch ?? "")?.[1]
    if (key === undefined) return false
    const path = join(directory, name)
    found.push({ key, path, owner, server, deliveredAt: parseInt(at!, 36), bytes: parseInt(bytes!, 36) })
    return true
  }
  for (const owner of await names(root(spool))) {
    const directory = join(root(spool), owner)
    for (const name of await names(directory)) {
      if (add(directory, name, owner, undefined)) continue
      const inner = join(directory, name)
      for (const each of await names(inner)) add(inner, each, owner, name)
    }
  }
  return found.sort((a, b) => a.deliveredAt - b.deliveredAt)
}

/** Marks a batch as found in the ledger. */
export const confirm = async (spool: SpoolDirectory, kept: KeptBatch, owner: string, server: string): Promise<void> => {
  const directory = join(root(spool), owner, server)
  await makePrivateDirectory(directory)
  await move(kept.path, join(directory, basename(kept.path)))
}

/** Moves a batch back to be delivered again. */
export const takeBack = (spool: SpoolDirectory, kept: KeptBatch): Promise<void> =>
  move(kept.path, join(spool.path, "ready", keptPattern.exec(basename(kept.path))![3]!))

/** Removes what was delivered before a time, and the oldest batches beyond a number of bytes. */
export const prune = async (spool: SpoolDirectory, before: number, mostBytes: number): Promise<void> => {
  const kept = await list(spool)
  let bytes = kept.reduce((sum, each) => sum + each.bytes, 0)
  for (const each of kept) {
    if (each.deliveredAt >= before && bytes <= mostBytes) return
    await rm(each.path, { recursive: true, force: true })
    bytes -= each.bytes
  }
}

/** Removes everything. */
export const clear = (spool: SpoolDirectory): Promise<void> => rm(root(spool), { recursive: true, force: true })

/** Another process may have moved it already. */
const move = async (from: string, to: string): Promise<void> => {
  try {
    await rename(from, to)
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  }
}

const sizeOf = async (path: string): Promise<number | undefined> => {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory() !== true) return found?.size
  let bytes = 0
  for (const name of await names(path)) bytes += (await sizeOf(join(path, name))) ?? 0
  return bytes
}
