import { assert, describe, it } from "@effect/vitest"
import * as AccessLog from "../../src/import/AccessLog.ts"
import { accepted, quickly, refused } from "../support/results.ts"

const acme = { customer: "acme" }
const parse = (line: string, customer: AccessLog.Customer = acme) => accepted(AccessLog.parseLine(line, customer))

/** Endpoint, method, status and bytes of a line. */
const facts = (line: string) => {
  const [api, bandwidth] = parse(line)
  const { endpoint, method, status } = JSON.parse(api!.metadata as string) as Record<string, unknown>
  return [endpoint, method, status, bandwidth!.amount]
}

const withRequest = (request: string, rest = "200 12") =>
  `203.0.113.7 - - [17/May/2015:10:05:03 +0000] "${request}" ${rest}`

describe("AccessLog.parseLine", () => {
  it("makes a request and its bytes of a line in the combined format", () => {
    const line =
      '83.149.9.216 - frank [17/May/2015:10:05:03 +0000] "GET /users?page=2#x HTTP/1.1" 304 2326 "http://a.test/?q=\\"x\\"" "Mozilla/5.0 [x] \\\\"'
    const recordedAt = Date.UTC(2015, 4, 17, 10, 5, 3)
    assert.deepStrictEqual(parse(line), [
      {
        customer: "acme",
        service: "api",
        amount: 1,
        recordedAt,
        metadata: '{"endpoint":"/users","method":"GET","status":304}'
      },
      {
        customer: "acme",
        service: "bandwidth",
        amount: 2326,
        recordedAt,
        metadata: '{"bytes":2326,"direction":"egress"}'
      }
    ])
  })

  it.each([
    ["+0000", 0],
    ["+0530", -330],
    ["-0800", 480],
    ["+1400", -840],
    ["-0330", 210]
  ])("reads the offset %s", (offset, minutes) => {
    const [api] = parse(`h - - [17/May/2015:10:05:03 ${offset}] "GET / HTTP/1.1" 200 1`)
    assert.strictEqual(api!.recordedAt, Date.UTC(2015, 4, 17, 10, 5, 3) + minutes * 60_000)
  })

  it.each([
    ['GET /a\\"b HTTP/1.1', '/a"b', "GET"],
    ["GET /a\\x22b HTTP/1.1", '/a"b', "GET"],
    ["GET /caf\\xc3\\xa9 HTTP/1.1", "/café", "GET"],
    ["GET /a\\\\ HTTP/1.1", "/a\\", "GET"],
    ['GET /a"b HTTP/1.1', '/a"b', "GET"],
    ['GET /a" 200 b HTTP/1.1', '/a" 200 b', "GET"],
    ["GET /a b c HTTP/1.1", "/a b c", "GET"],
    ["GET /%E2%82%AC?x HTTP/2.0", "/%E2%82%AC", "GET"],
    ["GET http://a.test/path?x=1 HTTP/1.1", "/path", "GET"],
    ["GET http://a.test HTTP/1.1", "/", "GET"],
    ["OPTIONS * HTTP/1.1", "*", "OPTIONS"],
    ["CONNECT a.test:443 HTTP/1.1", "a.test:443", "CONNECT"],
    ["GET /", "/", "GET"],
    ["M-SEARCH /x HTTP/1.1", "/x", "M-SEARCH"],
    ["-", "-", "-"],
    ["", "-", "-"],
    ["\\x16\\x03\\x01\\x02\\x00\\x01", "-", "-"],
    ["GET /\\x00 HTTP/1.1", "-", "-"],
    ["GET /\\xff\\xfe HTTP/1.1", "-", "-"],
    ["GET /\u0000 HTTP/1.1", "-", "-"],
    ["\u0016\u0003\u0001", "-", "-"],
    ["GET ?x=1 HTTP/1.1", "-", "-"],
    ["GET  HTTP/1.1", "HTTP/1.1", "GET"]
  ])("reads the request %j", (request, endpoint, method) => {
    assert.deepStrictEqual(facts(withRequest(request)), [endpoint, method, 200, 12])
  })

  it("counts a request whose bytes are no text", () => {
    const format = AccessLog.make(acme)
    const line = Buffer.from(withRequest("\xff\xfe", '400 226 "-" "-"'), "latin1")
    const [parsed] = format.parse(line, [{ line: 0, start: 0, end: line.length, refusal: undefined }])
    assert.strictEqual(accepted(parsed!)[0]!.metadata, '{"endpoint":"-","method":"-","status":400}')
  })

  it("reads bytes that are -, that begin with zero, and that no double holds", () => {
    assert.deepStrictEqual(facts(withRequest("-", "408 -")), ["-", "-", 408, 0])
    assert.deepStrictEqual(facts(withRequest("-", "000 007")), ["-", "-", 0, 7])
    const [, bandwidth] = parse(withRequest("GET / HTTP/1.1", "200 9007199254740993"))
    assert.strictEqual(bandwidth!.amount, "9007199254740993")
    assert.strictEqual(bandwidth!.metadata, '{"bytes":9007199254740993,"direction":"egress"}')
  })

  it.each([
    ["203.0.113.7 - -", "203.0.113.7", undefined, undefined],
    ["203.0.113.7 - frank", "203.0.113.7", "frank", undefined],
    ["203.0.113.7 - Frank Miller", "203.0.113.7", "Frank Miller", undefined],
    ["2001:db8::1 - -", "2001:db8::1", undefined, undefined],
    ["::ffff:10.0.0.1 - frank", "::ffff:10.0.0.1", "frank", undefined],
    ["unix: - frank", "unix:", "frank", undefined],
    ["host.test - frank", "host.test", "frank", undefined],
    ["example.com:443 203.0.113.7 - -", "203.0.113.7", undefined, "example.com"],
    ["example.com 2001:db8::1 - frank", "2001:db8::1", "frank", "example.com"],
    ["[::1]:8080 ::1 - frank", "::1", "frank", "[::1]"],
    ["example.com:80 host.test - frank", "host.test", "frank", "example.com"]
  ])("finds address, user and virtual host in %j", (head, ip, user, vhost) => {
    const line = `${head} [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 12`
    for (const [from, expected] of [
      ["ip", ip],
      ["user", user],
      ["vhost", vhost]
    ] as const) {
      const result = AccessLog.parseLine(line, { from })
      if (expected === undefined) assert.strictEqual(refused(result).field, "customer")
      else assert.strictEqual(accepted(result)[0]!.customer, expected)
    }
    assert.strictEqual(parse(line)[0]!.customer, "acme")
  })

  it.each([
    ["time", ""],
    ["time", "garbage"],
    ["time", '203.0.113.7 - - [17/Mai/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 12'],
    ["time", '203.0.113.7 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 12'],
    ["time", '203.0.113.7 - - [17/May/2015:24:05:03 +0000] "GET / HTTP/1.1" 200 12'],
    ["time", '203.0.113.7 - - [30/Jun/2015:23:59:60 +0000] "GET / HTTP/1.1" 200 12'],
    ["time", '203.0.113.7 - - [17/May/2015:10:05:03 +9900] "GET / HTTP/1.1" 200 12'],
    ["time", '203.0.113.7 - - [17/May/0001:10:05:03 +0000] "GET / HTTP/1.1" 200 12'],
    ["status", '203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" - 12'],
    ["status", '203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200'],
    ["status", '203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 -12'],
    ["status", '203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET / HT'],
    ["status", `203.0.113.7 - - [17/May/2015:10:05:03 +0000] "${'"'.repeat(100_000)}`],
    ["status", `203.0.113.7 - - [17/May/2015:10:05:03 +0000] "${"\\".repeat(100_000)}"`]
  ])("refuses a line whose %s cannot be read: %#", (field, line) => {
    assert.strictEqual(quickly(() => refused(AccessLog.parseLine(line, acme)), 2_000).field, field)
  })

  it("cuts an endpoint that nobody would group by", () => {
    const [endpoint] = facts(withRequest(`GET /${"x".repeat(100_000)} HTTP/1.1`))
    assert.strictEqual((endpoint as string).length, 2048)
    const pairs = facts(withRequest(`GET /${"😀".repeat(5_000)} HTTP/1.1`))
    assert.isTrue((pairs[0] as string).isWellFormed())
  })
})
