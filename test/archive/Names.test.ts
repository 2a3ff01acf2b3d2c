import { assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { nameBeside, namesFor } from "../../src/archive/Names.ts"
import type { Month } from "../../src/domain/Month.ts"
import { pathsOf } from "../../src/archive/ArchivePath.ts"

const january = "2026-01" as Month
const own = /-[0-9a-f]{12}(?=\.|$)/

describe("names of archives", () => {
  it("have a part of their own, but for a file on disk that somebody has named", () => {
    const named = (options: Parameters<typeof namesFor>[0], months = 1) => namesFor(options, january, months)
    for (const [options, plain] of [
      [{ directory: "/a" }, "/a/usage_2026-01.csv.gz"],
      [{ directory: "/a", format: "parquet" }, "/a/usage_2026-01.parquet"],
      [{ directory: "s3://b/c/", compression: "none" }, "s3://b/c/usage_2026-01.csv"],
      [{ directory: "/a", file: "s3://b/january.csv.zst" }, "s3://b/january.csv.zst"]
    ] as const) {
      const [first, second] = [1, 2].map(named(options))
      assert.match(first!.file, own)
      assert.strictEqual(first!.file.replace(own, ""), plain)
      assert.isTrue(first!.isOurs)
      assert.notStrictEqual(first!.file, second!.file)
    }
    const file = named({ directory: "/a", file: "/b/january.csv.gz" })
    assert.deepStrictEqual(file(1), { file: "/b/january.csv.gz", isOurs: false })
    assert.deepStrictEqual(file(2), { file: "/b/january.2.csv.gz", isOurs: false })
    assert.strictEqual(named({ directory: "/a", file: "b.csv" }, 3)(1).file, resolve("b_2026-01.csv"))
    const beside = nameBeside("/b/acme.csv.gz", january).file
    assert.strictEqual(beside.replace(own, ""), "/b/usage_2026-01.csv.gz")
  })

  it("are as seen from the home, where they are in it and no link leads out of it", () => {
    const root = realpathSync(mkdtempSync(join(tmpdir(), "effect-usage-names-")))
    try {
      const home = join(root, "home")
      mkdirSync(join(home, "archives"), { recursive: true })
      mkdirSync(join(root, "shared"))
      symlinkSync(join(root, "shared"), join(home, "linked"))
      symlinkSync(home, join(root, "other-name"))
      const { actual, isInHome, stored } = pathsOf(join(root, "other-name"))
      for (const file of [join(home, "archives", "a.csv"), join(root, "other-name", "archives", "a.csv")]) {
        assert.strictEqual(stored(file), "archives/a.csv")
        assert.isTrue(isInHome(file))
      }
      assert.strictEqual(actual("archives/a.csv"), join(root, "other-name", "archives", "a.csv"))
      assert.strictEqual(stored(join(home, "new", "folder", "a.csv")), "new/folder/a.csv")
      for (const file of [
        join(home, "linked", "a.csv"),
        join(root, "shared", "a.csv"),
        join(root, "home-2", "a.csv"),
        "s3://b/c"
      ]) {
        assert.strictEqual(stored(file), file)
        assert.isFalse(isInHome(file))
        assert.strictEqual(actual(file), file)
      }
      assert.strictEqual(pathsOf(undefined).stored(join(home, "a.csv")), join(home, "a.csv"))
    } finally {
      rmSync(root, { recursive: true })
    }
  })
})
