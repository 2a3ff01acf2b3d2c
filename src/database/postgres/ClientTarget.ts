/**
 * The address of an application's own `PgClient`, for the driver that does COPY.
 *
 * It is read as `@effect/sql-pg` reads it: single settings take precedence over the URL, and TLS is used if the client uses it,
 * accepting the same certificates.
 */
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { ConnectionOptions } from "node:tls"
import { basename, dirname } from "node:path"
import { excerpt, InvalidInput } from "../../domain/InvalidInput.ts"
import * as ConnectionUrl from "../ConnectionUrl.ts"
import type { DatabaseError } from "../DatabaseError.ts"

type Password = NonNullable<PgClientConfig["password"]>

/** `host`: a name, an address, or a directory of Unix sockets. */
export interface ClientTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: Password | undefined
  readonly ssl: boolean | ConnectionOptions
  readonly startupOptions: string | undefined
}

/** A password as `pg` accepts it: text, or a function called for each connection. */
export const passwordOf = (password: Password): string | (() => Promise<string>) =>
  Redacted.isRedacted(password)
    ? Redacted.value(password)
    : () => Effect.runPromise(Effect.map(password, Redacted.value))

const refuse = (problem: string) =>
  Result.fail(
    new InvalidInput({
      field: "client",
      problem,
      remedy: "Give the application's client a host or a url, or connect with Usage.layerPostgres({ url })"
    })
  )

/** The port in a socket's name, `.s.PGSQL.5432`. */
const socketPattern = /^\.s\.PGSQL\.(\d+)$/

const fromPath = (path: string): Result.Result<{ host: string; port: number }, InvalidInput> => {
  const port = socketPattern.exec(basename(path))?.[1]
  return port === undefined
    ? refuse(`connects to the socket ${excerpt(path)}, whose name is not .s.PGSQL.<port>`)
    : Result.succeed({ host: dirname(path), port: Number(port) })
}

const fromSettings = (config: PgClientConfig) =>
  Result.gen(function* () {
    if (config.stream !== undefined)
      return yield* refuse("has no address: it speaks over a stream of the application's")
    const url = config.url === undefined ? undefined : yield* ConnectionUrl.parse(config.url)
    const { host, port } =
      config.path === undefined
        ? { host: config.host ?? url?.host ?? "localhost", port: config.port ?? url?.port ?? 5432 }
        : yield* fromPath(config.path)
    const username = config.username ?? url?.username ?? process.env["USER"] ?? process.env["USERNAME"] ?? "postgres"
    return {
      url,
      target: {
        host,
        port,
        username,
        database: config.database ?? url?.database ?? username,
        password: config.password ?? url?.password,
        startupOptions: config.startupOptions ?? url?.startupOptions
      }
    }
  })

/** Fails with `InvalidInput` if the client has no address. */
export const fromConfig = Effect.fnUntraced(function* (
  config: PgClientConfig,
  timeoutMillis: number
): Effect.fn.Return<ClientTarget, InvalidInput | DatabaseError> {
  const { target, url } = yield* Effect.fromResult(fromSettings(config))
  if (config.ssl !== undefined) return { ...target, ssl: config.ssl }
  // Without a word in its URL the client is unencrypted, and it accepts only certificates that it can verify.
  const said = config.url === undefined ? null : new URL(Redacted.value(config.url)).searchParams.get("sslmode")
  if (url === undefined || said === null || said === "disable") return { ...target, ssl: false }
  if (url.sslmode !== "prefer") return { ...target, ssl: true }
  const found = yield* ConnectionUrl.resolveTls({ ...url, host: target.host, port: target.port }, timeoutMillis)
  return { ...target, ssl: found !== false }
})
