/**
 * How the tables name archives' files. What is in the directory of an embedded database is named as seen from there: it goes
 * with the directory, and belongs to whoever has that. All else is named in full.
 */
import { realpathSync, statSync } from "node:fs"
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path"
import { isObjectUrl } from "../files/ObjectUrl.ts"
import { isMissing } from "../files/Files.ts"

export interface Paths {
  /** As the tables have it. */
  readonly stored: (file: string) => string
  /** As the operating system has it. */
  readonly actual: (text: string) => string
  readonly isInHome: (file: string) => boolean
}

/** `home`: the directory of an embedded database. */
export const pathsOf = (home: string | undefined): Paths => {
  const within = (file: string) =>
    home === undefined || isObjectUrl(file) ? undefined : pathWithin(home, resolve(file))
  return {
    stored: (file) => within(file) ?? file,
    actual: (text) => (home === undefined || isObjectUrl(text) || isAbsolute(text) ? text : join(home, text)),
    isInHome: (file) => within(file) !== undefined
  }
}

/** Where links lead, as far as a path is there. */
const real = (path: string): { readonly path: string; readonly device: number } => {
  try {
    return { path: realpathSync(path), device: statSync(path).dev }
  } catch (cause) {
    if (!isMissing(cause) || dirname(path) === path) throw cause
    const above = real(dirname(path))
    return { path: join(above.path, basename(path)), device: above.device }
  }
}

/** A link or a mount that leads out of the home leads to what a copy of the home would share. */
const pathWithin = (home: string, file: string): string | undefined => {
  const [from, folder] = [real(home), real(dirname(file))]
  const path = relative(from.path, join(folder.path, basename(file)))
  return from.device === folder.device && path !== "" && !path.startsWith("..") && !isAbsolute(path) ? path : undefined
}
