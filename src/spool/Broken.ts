/**
 * What could not be read from a spool, kept in `broken/` for a person to look at.
 *
 *     broken/<key>-<offset>     damaged bytes of a segment
 *     broken/<key>-<name>       a file of the inbox, or the rest of one, that does not contain usage
 *     broken/<key>-<name>.json  why: the verdict
 *     broken/left-<hash>.json   about something that cannot even be moved out of the inbox
 *
 * A verdict is written before anything else happens to the file, and whoever reads the claim again follows it. So a file is
 * never both stored and kept aside, whatever changes in between.
 */
import { createHash } from "node:crypto"
import { lstat, readFile, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { begin, syncDirectory, writeWhole } from "../files/Files.ts"
import { ignoreMissing, names } from "./SpoolNames.ts"

/**
 * Why a file is not read, from the byte `from` and the line `line` (from 1 on) to its end. `kept`: the whole file, or the
 * rest of it from there on.
 */
export interface Verdict {
  readonly file: string
  readonly kept: "whole" | "rest"
  readonly from: number
  readonly line: number
  readonly problem: string
}

/** Where a file of a claim is kept. Its name may be as long as the file system allows. */
export const pieceOf = (spool: string, key: string, name: string): string =>
  join(spool, "broken", Buffer.byteLength(name) > 150 ? `${key}-${hashOf(name)}` : `${key}-${name}`)

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16)

const suffix = ".json"

export const judge = (spool: string, key: string, verdict: Verdict): Promise<void> =>
  writeWhole(pieceOf(spool, key, verdict.file) + suffix, `${JSON.stringify(verdict)}\n`)

/** Moves a file of a claim, or whatever it is, into `broken/`. */
export const keep = async (
  spool: string,
  claim: { readonly key: string; readonly path: string },
  name: string
): Promise<void> => {
  await rename(join(claim.path, name), pieceOf(spool, claim.key, name)).catch(ignoreMissing)
  await syncDirectory(join(spool, "broken"))
}

/** Keeps what `copy` writes of a file; returns its result. */
export const keepRest = async <A>(
  spool: string,
  key: string,
  name: string,
  copy: (write: (block: Uint8Array) => Promise<void>) => Promise<A>
): Promise<A> => {
  const pending = await begin(pieceOf(spool, key, name))
  let copied: A
  try {
    copied = await copy(async (block) => void (await pending.handle.writeFile(block)))
  } catch (cause) {
    await pending.discard()
    throw cause
  }
  await pending.place(true)
  return copied
}

/** The verdicts on files of a claim. */
export const verdicts = async (spool: string, key: string): Promise<ReadonlyArray<Verdict>> => {
  const found: Array<Verdict> = []
  for (const name of await names(join(spool, "broken"))) {
    if (!name.startsWith(key) || !name.endsWith(suffix)) continue
    const text = await readFile(join(spool, "broken", name), "utf8").catch(ignoreMissing)
    if (text !== undefined) found.push(JSON.parse(text) as Verdict)
  }
  return found
}

const leftPrefix = "left-"

/** Records that something stays in the inbox because it cannot be moved. */
export const noteLeft = (spool: string, name: string, problem: string): Promise<void> =>
  writeWhole(
    join(spool, "broken", `${leftPrefix}${hashOf(name)}${suffix}`),
    `${JSON.stringify({ file: name, problem, remedy: `Remove it from ${join(spool, "inbox")}` })}\n`
  )

/** Forgets what somebody has removed from the inbox. */
export const tidyLeft = async (spool: string): Promise<void> => {
  for (const name of await names(join(spool, "broken"))) {
    if (!name.startsWith(leftPrefix)) continue
    const note = join(spool, "broken", name)
    const text = await readFile(note, "utf8").catch(ignoreMissing)
    if (text === undefined) continue
    const { file } = JSON.parse(text) as { readonly file: string }
    if ((await lstat(join(spool, "inbox", file)).catch(ignoreMissing)) === undefined) await rm(note, { force: true })
  }
}

/** The number of pieces that are kept, without the verdicts on them. */
export const count = async (spool: string): Promise<number> =>
  (await names(join(spool, "broken"))).filter((name) => !name.endsWith(suffix) || name.startsWith(leftPrefix)).length

/** Keeps the bytes of a segment that could not be read. */
export const keepBytes = (spool: string, key: string, offset: number, content: Uint8Array): Promise<void> =>
  writeWhole(join(spool, "broken", `${key}-${offset}`), content)

/** The largest file of lines that is rewritten. */
const mendableBytes = 67_108_864

/** Removes the bytes of segments, and the lines of files, that match; returns the number of files that had any. */
export const remove = async (spool: string, isMeant: (text: string) => boolean): Promise<number> => {
  const folder = join(spool, "broken")
  const all = await names(folder)
  const judged = new Set(all.filter((name) => name.endsWith(suffix)))
  let changed = 0
  for (const name of all) {
    const file = join(folder, name)
    const found = await lstat(file).catch(ignoreMissing)
    if (found?.isFile() !== true || found.size > mendableBytes) continue
    const text = await readFile(file, "utf8").catch(ignoreMissing)
    if (text === undefined) continue
    const lines = text.split("\n")
    const isOfLines = judged.has(name + suffix)
    if (!(isOfLines ? lines.some(isMeant) : isMeant(text))) continue
    if (judged.has(name)) await writeWhole(file, withoutWords(text))
    else if (isOfLines) await writeWhole(file, lines.filter((line) => !isMeant(line)).join("\n"))
    else await rm(file, { force: true })
    changed++
  }
  return changed
}

/** A verdict that quotes no data. */
const withoutWords = (verdict: string): string =>
  `${JSON.stringify({ ...(JSON.parse(verdict) as Verdict), problem: "cannot be read" })}\n`
