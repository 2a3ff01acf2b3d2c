/**
 * Files that appear whole and durably: written under another name, synced, renamed, and the directory synced.
 *
 * Here and wherever files are used it is `node:fs`, and not Effect's `FileSystem`: that one has no `fdatasync`, and every
 * application would have to provide it, from `@effect/platform-node`.
 */
import { randomBytes } from "node:crypto"
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"

/** Makes the entries of a directory durable. */
export const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Creates a directory with mode 0700. */
export const makePrivateDirectory = async (directory: string): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
}

/** A file that is not visible yet: it has another name, in the same directory. */
export interface PendingFile {
  readonly handle: FileHandle
  /** Syncs it and gives it its name; rejects with `EEXIST` rather than `replace` another. */
  readonly place: (replace: boolean) => Promise<void>
  readonly discard: () => Promise<void>
}

/** The prefix of a file's name while it is being written. */
const halfOf = (file: string): string => `.${basename(file).slice(0, 200)}.`

/** A name that any file has while it is written. */
export const halfPattern = /^\..+\.[0-9a-f]{12}\.tmp$/

/** Removes the half-written remains of a file. */
export const removeHalves = async (file: string): Promise<void> => {
  const names = await readdir(dirname(file)).catch((cause: unknown) => {
    if (isMissing(cause)) return []
    throw cause
  })
  const halves = names.filter((name) => name.startsWith(halfOf(file)) && halfPattern.test(name))
  for (const name of halves) await rm(join(dirname(file), name), { force: true })
}

/** Begins a file that appears whole or not at all, with mode 0600. */
export const begin = async (file: string): Promise<PendingFile> => {
  const temporary = join(dirname(file), `${halfOf(file)}${randomBytes(6).toString("hex")}.tmp`)
  const handle = await open(temporary, "wx", 0o600)
  const discard = async () => {
    await handle.close().catch(() => {})
    await rm(temporary, { force: true })
  }
  return {
    handle,
    place: async (replace) => {
      try {
        await handle.sync()
        await handle.close()
        await (replace ? rename : takeName)(temporary, file)
      } catch (cause) {
        await discard()
        throw cause
      }
      await syncDirectory(dirname(file))
    },
    discard
  }
}

/** Begins a file in a directory that nobody sees yet: it has its name at once, and whoever shows the directory syncs that. */
export const beginHidden = async (file: string): Promise<PendingFile> => {
  const handle = await open(file, "wx", 0o600)
  return {
    handle,
    place: async () => {
      try {
        await handle.sync()
      } finally {
        await handle.close()
      }
    },
    discard: async () => {
      await handle.close().catch(() => {})
      await rm(file, { force: true })
    }
  }
}

/** Writes a file that appears whole or not at all, with mode 0600. */
export const writeWhole = (file: string, data: string | Uint8Array): Promise<void> => write(file, data, true)

/** As `writeWhole`, but rejects with `EEXIST` rather than replace a file, even one that appears meanwhile. */
export const writeNew = (file: string, data: string | Uint8Array): Promise<void> => write(file, data, false)

const write = async (file: string, data: string | Uint8Array, replace: boolean): Promise<void> => {
  const pending = await begin(file)
  try {
    await pending.handle.writeFile(data)
  } catch (cause) {
    await pending.discard()
    throw cause
  }
  await pending.place(replace)
}

/** Moves a file to an unused name. */
export const takeName = async (temporary: string, file: string): Promise<void> => {
  try {
    await link(temporary, file)
    await rm(temporary)
  } catch (cause) {
    if (!withoutLinks.has(codeOf(cause))) throw cause
    // The name is reserved first: for a moment it is an empty file's.
    await (await open(file, "wx", 0o600)).close()
    await rename(temporary, file).catch(async (failure: unknown) => {
      await rm(file, { force: true })
      throw failure
    })
  }
}

/** The errors of file systems without hard links. */
const withoutLinks: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"])

/**
 * Whether a file was last written more than so many milliseconds ago, by this machine's clock and by that of the file system,
 * which may be another machine's. A file that cannot be examined is not old.
 */
export const isOlder = async (file: string, millis: number): Promise<boolean> => {
  const probe = join(dirname(file), `.clock.${randomBytes(6).toString("hex")}.tmp`)
  try {
    const { mtimeMs } = await stat(file)
    if (Date.now() - mtimeMs <= millis) return false
    await writeFile(probe, "", { flag: "wx", mode: 0o600 })
    return (await stat(probe)).mtimeMs - mtimeMs > millis
  } catch {
    return false
  } finally {
    await rm(probe, { force: true }).catch(() => {})
  }
}

/** Whether an error says that a file does not exist. */
export const isMissing = (cause: unknown): boolean => codeOf(cause) === "ENOENT"

/** The operating system's code of an error; empty if it has none. */
export const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** Whether a file holds a text. It is read a block at a time, however large it is. */
export const contains = async (file: string, text: string): Promise<boolean> => {
  const handle = await open(file, "r")
  try {
    const wanted = Buffer.from(text)
    let view = Buffer.alloc(0)
    for (;;) {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(blockBytes), 0, blockBytes)
      if (bytesRead === 0) return false
      view = Buffer.concat([view, buffer.subarray(0, bytesRead)])
      if (view.includes(wanted)) return true
      view = view.subarray(Math.max(0, view.length - wanted.length))
    }
  } finally {
    await handle.close()
  }
}

const blockBytes = 1_048_576
