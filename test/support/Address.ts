/** An address on loopback behind which the server changes, as a name or a balancer does it at a fail-over. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"

export class Address {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #port: number

  private constructor(server: Server, port: number) {
    this.#server = server
    this.#port = port
  }

  static async start(port: number): Promise<Address> {
    const server = createServer()
    const address = new Address(server, port)
    server.on("connection", (client) => {
      const target = connect({ host: "127.0.0.1", port: address.#port })
      for (const socket of [client, target]) {
        address.#sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => {
          address.#sockets.delete(socket)
          client.destroy()
          target.destroy()
        })
      }
      client.pipe(target)
      target.pipe(client)
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return address
  }

  /** The same URL, at this address. */
  url(direct: string): string {
    const url = new URL(direct)
    url.port = `${(this.#server.address() as AddressInfo).port}`
    return url.href
  }

  /** From now on it is another server's. What is connected is cut. */
  switch(port: number): void {
    this.#port = port
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, "close")
  }
}
