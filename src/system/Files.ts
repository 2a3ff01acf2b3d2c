/** Files that are there whole and stay there: written under another name, synced, renamed, and the directory synced. */
import { randomBytes } from "node:crypto"
import { link, mkdir, open, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"

/** Makes the names in a directory durable. */
export const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a directory that only its owner may enter. */
export const makePrivateDirectory = async (directory: string): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o700 })
}

/** Writes a file that is either there whole or not at all, readable by its owner only. */
export const writeWhole = (file: string, data: string | Uint8Array): Promise<void> => writeThen(file, data, rename)

/** As `writeWhole`, but rejects with `EEXIST` rather than take the place of another file, also of one that comes meanwhile. */
export const writeNew = (file: string, data: string | Uint8Array): Promise<void> =>
  writeThen(file, data, async (temporary, file) => {
    try {
      await link(temporary, file)
      await rm(temporary)
    } catch (cause) {
      if (!withoutLinks.has((cause as NodeJS.ErrnoException).code ?? "")) throw cause
      // The name is taken first, and is that of an empty file for a moment.
      await (await open(file, "wx", 0o600)).close()
      await rename(temporary, file)
    }
  })

/** What file systems answer that have no hard links. */
const withoutLinks: ReadonlySet<string> = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"])

const writeThen = async (
  file: string,
  data: string | Uint8Array,
  place: (temporary: string, file: string) => Promise<void>
): Promise<void> => {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`)
  try {
    const handle = await open(temporary, "wx", 0o600)
    try {
      await handle.writeFile(data)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await place(temporary, file)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw cause
  }
  await syncDirectory(dirname(file))
}

/** Whether an error says that a file is not there. */
export const isMissing = (cause: unknown): boolean => (cause as NodeJS.ErrnoException | undefined)?.code === "ENOENT"
