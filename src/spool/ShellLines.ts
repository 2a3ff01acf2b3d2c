/**
 * Files of the inbox to which a shell adds lines, and which may be taken from it at any moment.
 *
 * A shell can append, and look whether a name is there; it holds no lock. So who takes its file renames it first, and then
 * appends a mark. What is before the first mark is the file's content, for ever and for whoever reads it; of anything behind
 * it the shell knows that nobody reads it:
 *
 * - After each line the shell looks whether the file still has its name. If so, no mark was there yet, and the line counts.
 * - If not, it looks in the file, which it still has open, whether its line is before the mark or behind it; it sets the
 *   mark itself if there is none. A line behind it goes into the shell's next file.
 *
 * So nothing depends on which shells are alive, and a line counts once however long either side rests in between. What is
 * between the last line's end and the mark is half a line, of a shell that was killed or of one that adds it again: no
 * shell has said that it was added.
 */
import type { FileHandle } from "node:fs/promises"

export const isName = (name: string): boolean => name.endsWith(".lines")

/** No line of JSON can be this one. */
const mark = "\nclosed\n"

/** More than a hundred lines of the longest that a shell lets through. */
export const maxBytes = 67_108_864

/** The content of a shell's file, open to be read and appended to, which ends with this. */
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
