/**
 * Metering without Effect: a Hono application whose requests are metered. It starts a server on a port of its own, calls it
 * as two customers, and prints what they used. Its data is where the USAGE_… variables say, ./.usage without any.
 *
 *     node examples/hono.ts
 */
import { serve } from "@hono/node-server"
import { Hono } from "hono"
import { routePath } from "hono/route"
import type { AddressInfo } from "node:net"
import { createUsage, UsageError } from "../src/index.ts"

const usage = await createUsage()
const app = new Hono()

app.use("/api/*", async (c, next) => {
  // Here an application has its authentication.
  const customer = c.req.header("x-customer")
  if (customer === undefined) return c.text("who are you?", 401)
  try {
    await usage.enforceQuota(customer, "api")
  } catch (error) {
    if (error instanceof UsageError && error.code === "QuotaExceeded") return c.text(error.message, 429)
    throw error
  }
  await next()
  const request = { customer, endpoint: routePath(c, -1), method: c.req.method, status: c.res.status }
  // Nobody waits for it, and a request does not fail because it cannot be metered.
  usage.trackApiRequest(request).catch((error) => process.stderr.write(`${error.message}\n`))
})
app.get("/api/users/:id", (c) => c.json({ id: c.req.param("id") }))

const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 })
await new Promise((resolve) => server.once("listening", resolve))

const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
for (const path of ["/users/1", "/users/2", "/nobody"]) await fetch(url + path, { headers: { "x-customer": "acme" } })
await fetch(`${url}/users/1`, { headers: { "x-customer": "globex" } })
await fetch(`${url}/users/1`)

await usage.flush()
for (const customer of ["acme", "globex"]) {
  const { services, totalCost } = await usage.report({ customer, period: "today" })
  for (const { quantity, service, unit } of services)
    process.stdout.write(`${customer}: ${quantity} ${unit} of ${service}\n`)
  process.stdout.write(`${customer} pays ${totalCost}\n`)
}
// Requests that are under way are answered, and then what they used is stored.
await new Promise((resolve) => server.close(resolve))
await usage.close()
