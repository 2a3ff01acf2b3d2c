/** Mail servers on this machine: one that keeps what it takes, and one that says nothing. */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { SMTPServer, type SMTPServerOptions } from "smtp-server"

interface Mail {
  readonly to: ReadonlyArray<string>
  readonly headers: ReadonlyArray<string>
  readonly text: string
}

/** As it is written, with folded headers joined. */
const parse = (raw: string): Pick<Mail, "headers" | "text"> => {
  const end = raw.indexOf("\r\n\r\n")
  return {
    headers: raw
      .slice(0, end)
      .replaceAll(/\r\n[ \t]+/g, " ")
      .split("\r\n"),
    text: raw.slice(end + 4)
  }
}

export const smtpServer = (options: SMTPServerOptions = {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const mails: Array<Mail> = []
      const server = new SMTPServer({
        authOptional: true,
        disabledCommands: ["STARTTLS"],
        disableReverseLookup: true,
        logger: false,
        closeTimeout: 1,
        onData: (stream, session, done) => {
          let raw = ""
          stream.on("data", (chunk: Buffer) => (raw += chunk.toString()))
          stream.on("end", () => {
            mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), ...parse(raw) })
            done()
          })
        },
        ...options
      })
      const listener = server.listen(0, "127.0.0.1")
      await once(listener, "listening")
      server.on("error", () => {})
      return { mails, server, port: (listener.address() as AddressInfo).port }
    }),
    ({ server }) => Effect.promise(() => new Promise<void>((done) => server.close(() => done())))
  )

/** A server that says this and then nothing. */
export const stalled = (greeting: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets: Array<Socket> = []
      const server = createServer((socket) => {
        sockets.push(socket.on("error", () => {}).on("data", () => {}))
        socket.write(greeting)
      }).listen(0, "127.0.0.1")
      await once(server, "listening")
      return { server, sockets, port: (server.address() as AddressInfo).port }
    }),
    ({ server }) => Effect.sync(() => void server.close())
  )
