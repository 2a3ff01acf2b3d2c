/** `s3://bucket/key`: names of objects. */
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"

export interface ObjectUrl {
  readonly bucket: string
  readonly key: string
}

export const isObjectUrl = (text: string): boolean => /^s3:\/\//i.test(text)

export const parse = (url: string): Result.Result<ObjectUrl, InvalidInput> => {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.+)$/is.exec(url)
  // Dots would be resolved like those of a path, and name another object than intended.
  if (match === null || match[2]!.split("/").some((part) => part === "." || part === "..")) {
    return Result.fail(
      new InvalidInput({
        field: "file",
        problem: `${excerpt(url)} is not the name of an object`,
        remedy: "Give s3://bucket/name, or s3://bucket/folder/ for a name that says what is in it"
      })
    )
  }
  return Result.succeed({ bucket: match[1]!, key: match[2]! })
}
