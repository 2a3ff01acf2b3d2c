/**
 * A TCP proxy in front of a server, on loopback, that can lose what a network loses: the answer to a statement that was
 * carried out, a connection, or everything, without a word.
 */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"

export class Proxy {
  readonly #server: Server
  readonly #links = new Set<readonly [client: Socket, server: Socket]>()
  #lose: (sent: Buffer) => boolean = () => false
  #silence: (sent: Buffer) => boolean = () => false
  #rate: number | undefined
  #hold: (sent: Buffer) => "request" | "answers" | undefined = () => undefined
  /** Ends what is held. */
  readonly #held: Array<() => void> = []
  #onHeld: () => void = () => {}
  /** Answers that were lost. */
  lost = 0
  /** Connections that fell silent. */
  silenced = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(host: string, port: number): Promise<Proxy> {
    const server = createServer()
    const proxy = new Proxy(server)
    server.on("connection", (client) => {
      proxy.#join(client, connect({ host, port }))
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return proxy
  }

  /** The same URL, through this proxy. */
  url(direct: string): string {
    const url = new URL(direct)
    url.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
    return url.href
  }

  /** From the first data that `matches` on, a connection carries no answer: it is cut when the server has given one. */
  loseAnswers(matches: (sent: Buffer) => boolean): void {
    this.#lose = matches
  }

  /** A connection whose data `matches` falls silent in both directions, and stays open. That data is half delivered. */
  fallSilent(matches: (sent: Buffer) => boolean): void {
    this.#silence = matches
  }

  /**
   * From the first data that `matches` on, a connection's data or the answers to it are kept back until `release`. Resolves
   * when that has begun.
   */
  hold(what: "request" | "answers", matches: (sent: Buffer) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#hold = (sent) => (matches(sent) ? what : undefined)
      this.#onHeld = resolve
    })
  }

  /** Carries on what is held. Nothing more is. */
  release(): void {
    this.#hold = () => undefined
    for (const resume of this.#held.splice(0)) resume()
  }

  /** Lets only so many bytes a second through to the server, on each connection; `undefined`: all. */
  throttle(bytesPerSecond: number | undefined): void {
    this.#rate = bytesPerSecond
    for (const [client] of this.#links) if (bytesPerSecond === undefined) client.resume()
  }

  /** Cuts every connection. */
  cut(): void {
    for (const [client, server] of this.#links) {
      client.destroy()
      server.destroy()
    }
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, "close")
  }

  #join(client: Socket, server: Socket): void {
    const link = [client, server] as const
    this.#links.add(link)
    let losing = false
    let silent = false
    const end = () => {
      // A silent peer does not say that the other has gone, either.
      if (silent) return
      this.#links.delete(link)
      client.destroy()
      server.destroy()
    }
    for (const socket of link) {
      socket.on("error", () => {})
      socket.on("close", end)
    }
    client.on("data", (data: Buffer) => {
      if (silent) return
      const held = this.#hold(data)
      if (held !== undefined) {
        this.#hold = () => undefined
        if (held === "request") {
          client.pause()
          client.unshift(data)
        } else server.pause()
        this.#held.push(() => (held === "request" ? client : server).resume())
        this.#onHeld()
        if (held === "request") return
      }
      if (!losing && this.#silence(data)) {
        silent = true
        this.silenced++
        server.write(data.subarray(0, data.length >> 1))
        return
      }
      if (!losing && this.#lose(data)) {
        losing = true
        this.lost++
      }
      server.write(data)
      if (this.#rate === undefined) return
      // Nothing more is read until this much would have passed: the client's own buffers fill, as on a slow line.
      client.pause()
      setTimeout(() => client.resume(), (data.length / this.#rate) * 1_000)
    })
    server.on("data", (data: Buffer) => {
      if (silent) return
      if (losing) return end()
      client.write(data)
    })
  }
}
