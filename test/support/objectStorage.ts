/** A server that speaks S3, on loopback, with one bucket. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import S3rver from "s3rver"
import type { ObjectStore } from "../../src/files/S3.ts"

/** How a store on a port of this machine is reached; it has the server's key. */
export const storeAt = (port: number): ObjectStore => ({
  endpoint: `http://127.0.0.1:${port}`,
  credentials: { accessKeyId: "S3RVER", secretAccessKey: Redacted.make("S3RVER") }
})

/** Starts the server, for the scope; its bucket is `billing`. */
export const objectStorage = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const directory = mkdtempSync(join(tmpdir(), "effect-usage-s3-"))
      const server = new S3rver({
        port: 0,
        address: "127.0.0.1",
        silent: true,
        directory,
        configureBuckets: [{ name: "billing", configs: [] }]
      })
      return { directory, server, port: (await server.run()).port }
    }),
    ({ directory, server }) =>
      Effect.promise(async () => {
        await server.close()
        rmSync(directory, { recursive: true, force: true })
      })
  ),
  ({ port }) => storeAt(port)
)

/** The same as AWS's variables have it. */
export const variablesOf = ({ credentials, endpoint }: ObjectStore) => ({
  AWS_ENDPOINT_URL: endpoint!,
  AWS_ACCESS_KEY_ID: credentials!.accessKeyId,
  AWS_SECRET_ACCESS_KEY: Redacted.value(credentials!.secretAccessKey)
})
