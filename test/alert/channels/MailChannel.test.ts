import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { once } from "node:events"
import * as MailChannel from "../../../src/alert/channels/MailChannel.ts"
import { InvalidInput } from "../../../src/domain/InvalidInput.ts"
import type { ServiceName } from "../../../src/domain/Service.ts"
import { channelOf, customer, deliveryOf, failureOf } from "../../support/alertChannels.ts"
import { smtpServer, stalled } from "../../support/mailServers.ts"

const options = (port: number): MailChannel.MailChannelOptions => ({
  host: "127.0.0.1",
  port,
  from: "Usage <usage@example.com>",
  to: ["ops@example.com", "Boss <boss@example.com>"],
  timeout: "3 seconds"
})

const mailChannel = (port: number, changes: Partial<MailChannel.MailChannelOptions> = {}) =>
  channelOf(MailChannel.layer({ ...options(port), ...changes }))

const answering = (responseCode: number, message: string) => Object.assign(new Error(message), { responseCode })

describe("MailChannel", () => {
  it.live("sends a mail that says what is used of what", () =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer()
      const delivery = deliveryOf()
      yield* (yield* mailChannel(port)).send(delivery)
      const [mail] = mails
      assert.deepStrictEqual(mail!.to, ["ops@example.com", "boss@example.com"])
      assert.includeMembers(
        [...mail!.headers],
        [
          "From: Usage <usage@example.com>",
          "To: ops@example.com, Boss <boss@example.com>",
          "Subject: Quota warning - api",
          `Message-ID: <${delivery.id}@example.com>`,
          "Auto-Submitted: auto-generated"
        ]
      )
      assert.match(mail!.text, /^WARNING: api usage at 78% - 78000\/100000\r\n\r\nCustomer: acme\r\n/)
    })
  )

  it.live("the subject says how urgent it is", () =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer()
      const { send } = yield* mailChannel(port)
      const alerts = [
        deliveryOf({ level: "exceeded" }),
        deliveryOf({ level: "critical" }),
        deliveryOf({ kind: "recovery", level: "critical" }),
        deliveryOf({ kind: "spike", level: undefined })
      ]
      yield* Effect.forEach(alerts, send, { concurrency: "unbounded" })
      assert.sameMembers(
        mails.map(({ headers }) => headers.find((header) => header.startsWith("Subject:"))),
        [
          "Subject: URGENT: Quota Exceeded - api",
          "Subject: WARNING: Quota Critical - api",
          "Subject: Quota recovered - api",
          "Subject: Usage spike - api"
        ]
      )
    })
  )

  it.live("hostile names add no header, no receiver and no end of the mail", () =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer()
      const { send } = yield* mailChannel(port)
      const hostile = "x\r\nBcc: thief@example.com\r\n\r\n.\r\nRCPT TO:<thief@example.com>\r\n\u2028y"
      const delivery = deliveryOf({ ...customer(hostile), service: hostile as ServiceName })
      yield* send({ ...delivery, id: `1\r\nBcc: thief@example.com` })
      const [mail, ...others] = mails
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(mail!.to, ["ops@example.com", "boss@example.com"])
      assert.isFalse(mail!.headers.some((header) => /^bcc/i.test(header)))
      assert.include([...mail!.headers], "Message-ID: <1Bccthiefexamplecom@example.com>")
      yield* send(deliveryOf(customer("Größe ü <b> =?utf-8?q?x?=")))
      assert.strictEqual(mails.length, 2)
    })
  )

  it.live.each([
    [450, "4.2.1 mailbox busy", true],
    [550, "5.1.1 no such user", false]
  ] as const)("an answer of %d %s: retryable %s", ([code, message, isRetryable]) =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer({ onRcptTo: (_, __, done) => done(answering(code, message)) })
      const error = yield* failureOf(yield* mailChannel(port))
      assert.strictEqual(error.problem, `127.0.0.1 answered ${code} ${message}`)
      assert.strictEqual(error.isRetryable, isRetryable)
      assert.deepStrictEqual(mails, [])
    })
  )

  it.live("what was refused for some of the receivers is told, and not sent again to the others", () =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer({
        onRcptTo: ({ address }, _, done) => done(address.startsWith("boss") ? answering(450, "full") : null)
      })
      const error = yield* failureOf(yield* mailChannel(port))
      assert.strictEqual(error.problem, "127.0.0.1 took the mail, but not for boss@example.com")
      assert.isFalse(error.isRetryable)
      assert.deepStrictEqual(mails[0]?.to, ["ops@example.com"])
    })
  )

  it.live("gives a password to nobody without TLS, unless told to", () =>
    Effect.gen(function* () {
      const attempts: Array<string | null | undefined> = []
      const server = yield* smtpServer({
        authMethods: ["PLAIN"],
        onAuth: ({ password, username }, _, done) => {
          attempts.push(password)
          if (password === "right") return done(null, { user: username ?? "" })
          done(answering(535, "wrong password"))
        }
      })
      const login = (password: string) => ({ username: "usage", password: Redacted.make(password) })
      const withoutTls = yield* failureOf(yield* mailChannel(server.port, login("right")))
      assert.deepStrictEqual(attempts, [])
      assert.notInclude(withoutTls.message, "right")
      yield* (yield* mailChannel(server.port, { ...login("right"), requireTls: false })).send(deliveryOf())
      assert.strictEqual(server.mails.length, 1)
      const wrong = yield* failureOf(yield* mailChannel(server.port, { ...login("s3cret"), requireTls: false }))
      assert.include(wrong.problem, "535")
      assert.notInclude(wrong.problem, "s3cret")
      assert.isFalse(wrong.isRetryable)
    })
  )

  it.live("a certificate that nobody vouches for is not trusted", () =>
    Effect.gen(function* () {
      const { mails, port } = yield* smtpServer({ disabledCommands: [] })
      assert.isTrue((yield* failureOf(yield* mailChannel(port))).isRetryable)
      assert.deepStrictEqual(mails, [])
    })
  )

  it.live("a server that stalls, before or after its greeting, times out; one that is gone is tried again", () =>
    Effect.gen(function* () {
      for (const greeting of ["", "220 mail ESMTP\r\n"]) {
        const { port, sockets } = yield* stalled(greeting)
        const error = yield* failureOf(yield* mailChannel(port, { timeout: "150 millis" }))
        assert.isTrue(error.isRetryable)
        yield* Effect.promise(() => Promise.all(sockets.map((socket) => socket.closed || once(socket, "close"))))
      }
      const { port } = yield* Effect.scoped(stalled(""))
      const gone = yield* failureOf(yield* mailChannel(port))
      assert.strictEqual(gone.problem, "127.0.0.1 did not take the mail (ECONNREFUSED)")
      assert.isTrue(gone.isRetryable)
    })
  )

  it.effect.each<readonly [string, Partial<MailChannel.MailChannelOptions>]>([
    ["host", { host: "" }],
    ["host", { host: "a\r\nb" }],
    ["port", { port: 0 }],
    ["port", { port: 70_000 }],
    ["from", { from: "usage" }],
    ["from", { from: "a@example.com\r\nBcc: b@example.com" }],
    ["to", { to: ["ops@example.com, thief@example.com"] }],
    ["to", { to: ["ops@example.com", ""] }],
    ["password", { username: "usage" }]
  ])("refuses a wrong %s", ([field, changes]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(mailChannel(25, changes))
      assert.instanceOf(error, InvalidInput)
      assert.strictEqual(error.field, field)
    })
  )
})
