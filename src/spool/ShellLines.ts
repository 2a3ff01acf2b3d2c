/**
 * Files in the inbox to which a shell adds lines, and which may be claimed at any moment.
 *
 * A shell can append, and check whether a name exists; it holds no lock. So a claim renames the file first, and then appends a
 * mark. Everything before the first mark is the file's content, for ever and for every reader; the shell knows that anything
 * after it is never read:
 *
 * - After each line the shell checks whether the file still has its name. If so, there was no mark yet, and the line counts.
 * - If not, it checks in the file, which it still has open, whether its line is before or after the mark, and sets the mark
 *   itself if there is none. It adds a line that is after the mark again, to its next file.
 *
 * So nothing depends on which shells are alive, and a line counts once however long either side pauses. Between the last line
 * end and the mark there may be half a line, of a shell that was killed or that adds it again: no shell has acknowledged it.
 */
import type { FileHandle } from "node:fs/promises"

export const isName = (name: string): boolean => name.endsWith(".lines")

/** Not a line of JSON. */
const mark = "\nclosed\n"

/** More than a hundred of the longest lines that a shell adds. */
export const maxBytes = 67_108_864

/** Ends a shell's file, which is open to be read and appended to, with the mark, and returns its content. */
export const read = async (file: FileHandle): Promise<Uint8Array> => {
  const all = async () => {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size), 0, size, 0)
    return buffer.subarray(0, bytesRead)
  }
  let content = await all()
  if (!content.includes(mark)) {
    await file.write(mark)
    await file.datasync()
    content = await all()
  }
  const lines = content.subarray(0, content.indexOf(mark))
  return lines.subarray(0, lines.lastIndexOf(lineFeed) + 1)
}

const lineFeed = 0x0a
