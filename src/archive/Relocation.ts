/** Archives whose files were moved by people: where they lie now. */
import { isObjectUrl } from "../files/ObjectUrl.ts"
import type { Archive } from "./Archive.ts"
import { at } from "./Names.ts"

/** An archive, and its file's name from now on. */
export interface Relocation {
  readonly archive: Archive
  readonly file: string
}

/** A path from the root or a URL, without a slash at its end. */
const plain = (place: string): string => (isObjectUrl(place) ? place.replace(/\/+$/, "") : at(".", place))

/** Archives in a directory, or of a file, and their names in another. */
export const relocationsOf = (
  archives: ReadonlyArray<Archive>,
  from: string,
  to: string
): ReadonlyArray<Relocation> => {
  const [old, now] = [plain(from), plain(to)]
  return archives
    .filter(({ file }) => file === old || file.startsWith(`${old}/`))
    .map((archive) => ({ archive, file: `${now}${archive.file.slice(old.length)}` }))
}
