/**
 * A transaction pooler in front of a server, on loopback, as pgbouncer is one: a client has a connection of the server from the
 * first message of a transaction to the ReadyForQuery that ends it. Connections go round, so a client's next transaction is on
 * another one: settings, named statements and locks of a session are not there any more, or are those of somebody else.
 *
 * It speaks the protocol's framing and nothing of its content. Whoever connects is let in.
 */
import { once } from "node:events"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import pg from "pg"

const sslRequest = 80_877_103
const cancelRequest = 80_877_102

/** What pgbouncer lets a client begin with, unless it was told to ignore others. */
const startupParameters = new Set([
  "user",
  "database",
  "client_encoding",
  "datestyle",
  "timezone",
  "standard_conforming_strings",
  "application_name"
])

const code = (letter: string) => letter.charCodeAt(0)

/** Messages that the server answers with a ReadyForQuery: Query, Sync, FunctionCall. */
const asks = new Set(["Q", "S", "F"].map(code))
const copying = new Set(["d", "c", "f"].map(code))

const message = (letter: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head[0] = code(letter)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const refusal = (problem: string): Buffer =>
  message("E", Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${problem}\0\0`, "utf8"))

/** Cuts a stream into messages, `headBytes` before the length of each. */
const cutter = (onMessage: (whole: Buffer) => void, headBytes: () => 0 | 1) => {
  let open: Buffer = Buffer.alloc(0)
  return (data: Buffer) => {
    open = open.length === 0 ? data : Buffer.concat([open, data])
    for (;;) {
      const head = headBytes()
      if (open.length < head + 4) return
      const length = open.readInt32BE(head) + head
      if (open.length < length) return
      const whole = open.subarray(0, length)
      open = open.subarray(length)
      onMessage(whole)
    }
  }
}

interface ServerConnection {
  readonly socket: Socket
  /** ParameterStatus messages of its start. */
  readonly parameters: Buffer
  client: Client | undefined
}

interface Client {
  readonly socket: Socket
  server: ServerConnection | undefined
  /** Messages that wait for a connection. */
  waiting: Array<Buffer>
  /** Answers that are still to come. */
  asked: number
}

export class Pooler {
  readonly #listener: Server
  readonly #direct: string
  readonly #size: number
  readonly #all = new Set<ServerConnection>()
  readonly #idle: Array<ServerConnection> = []
  readonly #queue: Array<Client> = []
  readonly #clients = new Set<Client>()
  #making = 0
  /** Times a client got a connection. */
  transactions = 0

  private constructor(listener: Server, direct: string, size: number) {
    this.#listener = listener
    this.#direct = direct
    this.#size = size
  }

  /** For one database, with `size` connections to it. */
  static async start(direct: string, size = 4): Promise<Pooler> {
    const listener = createServer({ noDelay: true })
    const pooler = new Pooler(listener, direct, size)
    listener.on("connection", (socket) => {
      pooler.#accept(socket)
    })
    listener.listen(0, "127.0.0.1")
    await once(listener, "listening")
    // All of them from the start, so that they go round from the start.
    for (let made = 0; made < size; made++) await pooler.#open()
    return pooler
  }

  get url(): string {
    const url = new URL(this.#direct)
    url.host = `127.0.0.1:${(this.#listener.address() as AddressInfo).port}`
    return url.href
  }

  async close(): Promise<void> {
    const closed = once(this.#listener, "close")
    this.#listener.close()
    for (const { socket } of this.#clients) socket.destroy()
    for (const { socket } of this.#all) socket.destroy()
    await closed
  }

  /** The driver logs in; from then on its socket is ours. */
  async #open(): Promise<void> {
    const driver = new pg.Client({ connectionString: this.#direct })
    driver.on("error", () => {})
    const { connection } = driver as unknown as {
      readonly connection: {
        readonly stream: Socket
        on: (event: "parameterStatus", listener: (_: { parameterName: string; parameterValue: string }) => void) => void
      }
    }
    const parameters: Array<Buffer> = []
    connection.on("parameterStatus", ({ parameterName, parameterValue }) =>
      parameters.push(message("S", Buffer.from(`${parameterName}\0${parameterValue}\0`)))
    )
    await driver.connect()
    const socket = connection.stream
    const server: ServerConnection = { socket, parameters: Buffer.concat(parameters), client: undefined }
    this.#all.add(server)
    socket.removeAllListeners("data")
    socket.on(
      "data",
      cutter(
        (whole) => {
          this.#answered(server, whole)
        },
        () => 1
      )
    )
    socket.on("close", () => {
      this.#all.delete(server)
      const at = this.#idle.indexOf(server)
      if (at >= 0) this.#idle.splice(at, 1)
      server.client?.socket.destroy()
      this.#handOut()
    })
    this.#idle.push(server)
    this.#handOut()
  }

  #accept(socket: Socket): void {
    const client: Client = { socket, server: undefined, waiting: [], asked: 0 }
    this.#clients.add(client)
    let started = false
    const start = (whole: Buffer) => {
      const kind = whole.readInt32BE(4)
      if (kind === sslRequest) return void socket.write("N")
      if (kind === cancelRequest) return void socket.end()
      const texts = whole.subarray(8).toString("utf8").split("\0")
      const names = texts.filter((_, i) => i % 2 === 0 && texts[i] !== "")
      const stranger = names.find((name) => !startupParameters.has(name.toLowerCase()))
      if (stranger !== undefined) return void socket.end(refusal(`unsupported startup parameter: ${stranger}`))
      started = true
      const [server] = this.#all
      socket.write(
        Buffer.concat([
          message("R", Buffer.alloc(4)),
          server?.parameters ?? Buffer.alloc(0),
          message("K", Buffer.alloc(8)),
          message("Z", Buffer.from("I"))
        ])
      )
    }
    socket.on(
      "data",
      cutter(
        (whole) => {
          if (started) this.#said(client, whole)
          else start(whole)
        },
        () => (started ? 1 : 0)
      )
    )
    socket.on("error", () => {})
    socket.on("close", () => {
      this.#clients.delete(client)
      const at = this.#queue.indexOf(client)
      if (at >= 0) this.#queue.splice(at, 1)
      // A transaction that nobody will end.
      client.server?.socket.destroy()
    })
  }

  #said(client: Client, whole: Buffer): void {
    const kind = whole[0]!
    if (kind === code("X")) return void client.socket.end()
    if (client.server === undefined) {
      // What is left of a COPY that failed: the server would drop it too.
      if (copying.has(kind) && client.waiting.length === 0) return
      client.waiting.push(whole)
      if (!this.#queue.includes(client)) this.#queue.push(client)
      return this.#handOut()
    }
    this.#send(client, client.server, whole)
  }

  #send(client: Client, server: ServerConnection, whole: Buffer): void {
    if (asks.has(whole[0]!)) client.asked++
    server.socket.write(whole)
  }

  #answered(server: ServerConnection, whole: Buffer): void {
    const { client } = server
    if (client === undefined) return
    client.socket.write(whole)
    if (whole[0] !== code("Z")) return
    client.asked--
    if (client.asked > 0 || whole[5] !== code("I")) return
    client.server = undefined
    server.client = undefined
    this.#idle.push(server)
    this.#handOut()
  }

  #handOut(): void {
    while (this.#queue.length > 0 && this.#idle.length > 0) {
      const client = this.#queue.shift()!
      const server = this.#idle.shift()!
      this.transactions++
      client.server = server
      server.client = client
      const waiting = client.waiting
      client.waiting = []
      for (const whole of waiting) this.#send(client, server, whole)
    }
    if (this.#queue.length === 0 || this.#all.size + this.#making >= this.#size) return
    this.#making++
    void this.#open()
      .catch(() => {})
      .finally(() => this.#making--)
  }
}
