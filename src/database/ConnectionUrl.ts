/**
 * A connection URL, read once for both drivers: `@effect/sql-pg` and `pg` interpret `sslmode` differently.
 *
 * `sslmode` means what it means to libpq: `disable`, `prefer` (TLS if the server has it), `require` (TLS, any
 * certificate), `verify-ca`, `verify-full`. Without it, connections to this machine are unencrypted, and others as with
 * `prefer`. `sslrootcert` names a file of certificates to trust. `prepare=false` (or `pgbouncer=true`, as others
 * spell it) is for a transaction pooler in between.
 */
import { readFile } from "node:fs/promises"
import * as Net from "node:net"
import type { ConnectionOptions } from "node:tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { excerpt, InvalidInput } from "../domain/InvalidInput.ts"
import { DatabaseError, Unreachable } from "./DatabaseError.ts"

export interface ConnectionTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: Redacted.Redacted | undefined
  readonly sslmode: SslMode
  readonly sslRootCert: string | undefined
  readonly startupOptions: string | undefined
  /** Whether statements may be prepared by name: not through a transaction pooler. */
  readonly prepare: boolean
}

const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const
export type SslMode = (typeof sslModes)[number]

const refuse = (problem: string, remedy: string) => Result.fail(new InvalidInput({ field: "url", problem, remedy }))

const shape = "Give postgresql://user:password@host:5432/database?sslmode=require"

/** Whether a host is this machine: a loopback address or a directory of Unix sockets. */
export const isLocal = (host: string): boolean =>
  host === "localhost" || host === "::1" || host.startsWith("127.") || host.startsWith("/")

/** Reads a connection URL. Errors never include the URL's text, which may hold a password. */
export const parse = (url: Redacted.Redacted): Result.Result<ConnectionTarget, InvalidInput> => {
  const parsed = URL.parse(Redacted.value(url))
  if (parsed === null) return refuse("is not a URL", shape)
  if (parsed.protocol !== "postgres:" && parsed.protocol !== "postgresql:") {
    return refuse(`has the protocol ${excerpt(parsed.protocol)}`, shape)
  }
  const query = parsed.searchParams
  let username, password, database, host
  try {
    username = decodeURIComponent(parsed.username) || query.get("user") || process.env["USER"] || "postgres"
    password = decodeURIComponent(parsed.password) || query.get("password") || undefined
    database = decodeURIComponent(parsed.pathname.replace(/^\//, "")) || query.get("dbname") || username
    host = query.get("host") || decodeURIComponent(parsed.hostname).replace(/^\[(.*)\]$/, "$1") || "localhost"
  } catch {
    return refuse("has a broken %-escape", "Write %25 for a per cent sign in a name or password")
  }
  const port = Number(query.get("port") || parsed.port || 5432)
  if (!Number.isInteger(port) || port < 1 || port > 65535) return refuse("has no valid port", shape)
  const mode =
    query.get("sslmode") === "allow" ? "prefer" : (query.get("sslmode") ?? (isLocal(host) ? "disable" : "prefer"))
  if (!isSslMode(mode)) {
    return refuse("has an unknown sslmode", `Use one of ${sslModes.join(", ")}`)
  }
  return Result.succeed({
    host,
    port,
    database,
    username,
    password: password === undefined ? undefined : Redacted.make(password),
    sslmode: mode,
    sslRootCert: query.get("sslrootcert") ?? undefined,
    startupOptions: query.get("options") ?? undefined,
    prepare: query.get("prepare") !== "false" && query.get("pgbouncer") !== "true"
  })
}

/** The address without the password, for people. */
export const describe = ({
  database,
  host,
  port,
  username
}: Pick<ConnectionTarget, "database" | "host" | "port" | "username">): string => {
  const [user, name] = [encodeURIComponent(username), encodeURIComponent(database)]
  // A directory of sockets is not a valid host in a URL.
  if (host.startsWith("/")) return `postgresql://${user}@/${name}?host=${host}&port=${port}`
  return `postgresql://${user}@${host.includes(":") ? `[${host}]` : host}:${port}/${name}`
}

const isSslMode = (text: string): text is SslMode => (sslModes as ReadonlyArray<string>).includes(text)

/** TLS options for both drivers, or `false`. With `prefer` the server is asked once whether it speaks TLS. */
export const resolveTls = Effect.fnUntraced(function* (
  target: ConnectionTarget,
  timeoutMillis: number
): Effect.fn.Return<false | ConnectionOptions, DatabaseError> {
  if (target.sslmode === "disable" || target.host.startsWith("/")) return false
  const servername = Net.isIP(target.host) === 0 ? { servername: target.host } : {}
  if (target.sslmode === "prefer") {
    return (yield* speaksTls(target, timeoutMillis)) ? { ...servername, rejectUnauthorized: false } : false
  }
  const certificates = target.sslRootCert
  const ca =
    certificates === undefined
      ? {}
      : {
          ca: yield* Effect.tryPromise({ try: () => readFile(certificates), catch: unreachable })
        }
  switch (target.sslmode) {
    case "require":
      return { ...servername, ...ca, rejectUnauthorized: certificates !== undefined, checkServerIdentity: anyName }
    case "verify-ca":
      return { ...servername, ...ca, rejectUnauthorized: true, checkServerIdentity: anyName }
    case "verify-full":
      return { ...servername, ...ca, rejectUnauthorized: true }
  }
})

const anyName = () => undefined

const unreachable = (cause: unknown): DatabaseError => {
  const error = cause as NodeJS.ErrnoException
  return new DatabaseError({ reason: new Unreachable({ detail: error.message, code: error.code ?? "", cause }) })
}

/** The SSLRequest message: its length, and the code 80877103. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

const speaksTls = (target: ConnectionTarget, timeoutMillis: number): Effect.Effect<boolean, DatabaseError> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ host: target.host, port: target.port, timeout: timeoutMillis })
    socket.once("connect", () => socket.write(sslRequest))
    socket.once("data", (answer) => {
      resume(Effect.succeed(answer[0] === 0x53))
      socket.destroy()
    })
    socket.once("timeout", () => socket.destroy(new Error("timed out")))
    socket.once("close", () => resume(Effect.fail(unreachable(new Error("closed before it answered")))))
    socket.once("error", (error) => resume(Effect.fail(unreachable(error))))
    return Effect.sync(() => socket.destroy())
  })
