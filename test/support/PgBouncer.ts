/** The real pgbouncer in transaction mode, where it is installed. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort, identity } from "./PostgresServer.ts"

/** What it says of its version; `undefined` where it is not installed. */
export const pgBouncerVersion = (): string | undefined => {
  const { status, stdout } = spawnSync("pgbouncer", ["--version"], { encoding: "utf8" })
  return status === 0 ? stdout.split("\n")[0] : undefined
}

export class PgBouncer {
  readonly url: string
  readonly #child: ChildProcess
  readonly #directory: string

  private constructor(url: string, child: ChildProcess, directory: string) {
    this.url = url
    this.#child = child
    this.#directory = directory
  }

  /** For one database, with `size` connections to it, and otherwise as it comes. */
  static async start(direct: string, size = 4): Promise<PgBouncer> {
    const target = new URL(direct)
    const name = target.pathname.slice(1)
    const port = await freePort()
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-pgbouncer-"))
    chmodSync(directory, 0o755)
    const file = join(directory, "pgbouncer.ini")
    const login = `user=${target.username} password=${target.password}`
    writeFileSync(
      file,
      `[databases]
${name} = host=${target.hostname} port=${target.port} dbname=${name} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${size}
server_round_robin = 1
`
    )
    const child = spawn("pgbouncer", ["-q", file], { ...identity, cwd: "/", stdio: ["ignore", "ignore", "pipe"] })
    let log = ""
    child.stderr!.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-5_000)))
    target.host = `127.0.0.1:${port}`
    const deadline = Date.now() + 20_000
    while (!(await listens(port))) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`pgbouncer did not start: ${log}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return new PgBouncer(target.href, child, directory)
  }

  async close(): Promise<void> {
    const exited = once(this.#child, "exit")
    this.#child.kill("SIGTERM")
    await exited
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ host: "127.0.0.1", port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })
