/**
 * Makes the sample log of the demo: two thousand requests of three customers to an imaginary API in January 2026, in
 * combined format. The same numbers come out every time.
 */
import { writeFileSync } from "node:fs"

let seed = 20260101
/** A linear congruential generator is all that a sample needs. */
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
const pick = <A>(choices: ReadonlyArray<A>): A => choices[Math.floor(random() * choices.length)]!

const customers = ["acme", "acme", "acme", "globex", "globex", "initech"]
const agents = ["curl/8.11.0", "python-requests/2.32", "Mozilla/5.0 (X11; Linux x86_64) Firefox/134.0"]
const endpoints = [
  { method: "GET", path: () => "/api/users", bytes: 2_400 },
  { method: "GET", path: () => `/api/users/${Math.floor(random() * 400)}`, bytes: 900 },
  { method: "POST", path: () => "/api/orders", bytes: 600 },
  { method: "GET", path: () => `/api/orders?page=${Math.floor(random() * 20)}`, bytes: 14_000 },
  { method: "GET", path: () => "/files/report.pdf", bytes: 1_800_000 },
  { method: "DELETE", path: () => `/api/orders/${Math.floor(random() * 900)}`, bytes: 0 }
]

const two = (value: number) => `${value}`.padStart(2, "0")
const count = 2_000
const lines: Array<string> = []
const start = Date.UTC(2026, 0, 1)
for (let index = 0; index < count; index++) {
  const at = new Date(start + Math.floor(((index + random()) / count) * 31 * 86_400_000))
  const { bytes, method, path } = pick(endpoints)
  const status = random() < 0.03 ? pick([400, 404, 500]) : method === "POST" ? 201 : method === "DELETE" ? 204 : 200
  const sent = bytes === 0 ? "-" : `${Math.floor(bytes * (0.5 + random()))}`
  const time = `${two(at.getUTCDate())}/Jan/2026:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`
  lines.push(
    `198.51.100.${1 + Math.floor(random() * 250)} - ${pick(customers)} [${time}] "${method} ${path()} HTTP/1.1" ${status} ${sent} "-" "${pick(agents)}"`
  )
}
writeFileSync(new URL("../examples/data/access.log", import.meta.url), `${lines.join("\n")}\n`)
