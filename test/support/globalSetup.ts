/**
 * Starts what all test files share: one PostgreSQL server with a migrated template database, and the bytes of a migrated
 * embedded database. Each suite then has its own copy in a fraction of a second.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"
import * as Embedded from "../../src/database/embedded/Embedded.ts"
import * as Migrations from "../../src/database/Migrations.ts"
import * as Postgres from "../../src/database/postgres/Postgres.ts"
import { PostgresServer } from "./PostgresServer.ts"
import { templateDatabase } from "./template.ts"

const makeTemplate = async (server: PostgresServer): Promise<void> => {
  await server.query(`create database ${templateDatabase}`)
  await Effect.runPromise(
    Effect.provide(
      Migrations.migrate,
      Layer.fresh(Postgres.layer({ url: Redacted.make(server.url(templateDatabase)), maxConnections: 1 }))
    )
  )
}

export default async (project: TestProject): Promise<() => Promise<void>> => {
  const directory = mkdtempSync(join(tmpdir(), "effect-usage-test-"))
  const snapshotFile = join(directory, "snapshot.tar")
  // Most of what a process of a test does is to load the same modules: the second takes half the time.
  process.env["NODE_COMPILE_CACHE"] ??= join(directory, "compile-cache")
  // Most tests need no durability; those that pull the plug start a server of their own.
  const starting = PostgresServer.start(["fsync=off", "synchronous_commit=on", "max_connections=200"])
  const tearDown = async () => {
    await (await starting).destroy()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const [server, snapshot] = await Promise.all([
      starting.then(async (server) => {
        await makeTemplate(server)
        return server
      }),
      Effect.runPromise(Embedded.snapshot)
    ])
    writeFileSync(snapshotFile, snapshot)
    project.provide("postgresUrl", server.url())
    project.provide("snapshotFile", snapshotFile)
    return tearDown
  } catch (cause) {
    await tearDown()
    throw cause
  }
}
