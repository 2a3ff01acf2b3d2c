import { assert, describe, it } from "@effect/vitest"
import { excerpt } from "../../src/domain/InvalidInput.ts"
import { printable, withoutPasswords } from "../../src/domain/Shown.ts"

describe("printable", () => {
  it("shows what would act on a terminal, end a line or turn it round, and keeps everything else", () => {
    assert.strictEqual(
      printable("\u001b]0;owned\u0007\u009b31m\r\n\u007f"),
      "\\u001b]0;owned\\u0007\\u009b31m\\u000d\\u000a\\u007f"
    )
    assert.strictEqual(printable("a\u202eb\u2066c\u2028d\u200fe"), "a\\u202eb\\u2066c\\u2028d\\u200fe")
    assert.strictEqual(printable("é 日本 \u{1f600} \ud800"), "é 日本 \u{1f600} \ufffd")
    assert.strictEqual(printable(printable("\u001b")), "\\u001b")
  })
})

describe("withoutPasswords", () => {
  it.each([
    ["postgresql://usage:hunter2@db:5432/usage", "postgresql://usage:***@db:5432/usage"],
    ["at postgresql://usage:hunter2@db/x failed", "at postgresql://usage:***@db/x failed"],
    [
      "postgresql://u@db/x?user=u&password=hunter2&sslmode=require",
      "postgresql://u@db/x?user=u&password=***&sslmode=require"
    ],
    // Broken ones: signs that are not escaped, and no host.
    ["postgres://u:hun/te#r?2@x@db/x", "postgres://u:***@db/x"],
    ["postgres://u:12345@db", "postgres://u:***@db"],
    ["postgres://u:123hunter2", "postgres://u:***"],
    ["postgres://u:hun'ter2", "postgres://u:***"],
    ["s3://KEY:hunter2@bucket/file.csv", "s3://KEY:***@bucket/file.csv"],
    ["host=db password='hunter 2' user=u", "host=db password=*** user=u"],
    ["AWS_SECRET_ACCESS_KEY=hunter2", "AWS_SECRET_ACCESS_KEY=***"]
  ])("%s", (text, expected) => {
    assert.strictEqual(withoutPasswords(text), expected)
  })

  it.each([
    "http://127.0.0.1:9000/bucket",
    "http://[::1]:9000/bucket",
    "https://host:443, or another",
    '{"customer":"acme","at":"12:30"}',
    "the table billing_keys: 12:30",
    "postgresql://user:password@host:5432/database"
  ])("leaves %s", (text) => {
    assert.strictEqual(withoutPasswords(text), text)
  })

  it("takes no time over long text", () => {
    for (const text of ["a".repeat(100_000), "a://".repeat(25_000), "secret".repeat(20_000)])
      assert.isString(withoutPasswords(text))
  })
})

describe("excerpt", () => {
  it("quotes what was refused without its controls and its password, also where it is cut off", () => {
    assert.strictEqual(excerpt("a\u001b[2J\u009b\u202e"), '"a\\u001b[2J\\u009b\\u202e"')
    assert.strictEqual(excerpt("s3://key:hunter2@bucket"), '"s3://key:***@bucket"')
    assert.notInclude(excerpt(`postgresql://u:${"hunter2".repeat(20)}@db/x`), "hunter2")
  })
})
