/**
 * Alerts by mail, over SMTP.
 *
 * - Nodemailer is loaded with the layer. No header contains a customer's id.
 * - `Message-ID` is the delivery's and the same at every attempt: mailboxes show a repeated mail only once.
 * - A password is sent over TLS only, unless `requireTls` is `false`.
 * - A mail that the server accepted for some of the receivers is not sent again: the problem names the others.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { type Alert, sentence, customerText } from "../../domain/Alert.ts"
import { InvalidInput } from "../../domain/InvalidInput.ts"
import { printable } from "../../domain/Shown.ts"
import * as Instant from "../../domain/Instant.ts"
import type { NotInstalled } from "../../domain/NotInstalled.ts"
import { type AlertChannel, type AlertChannels, ChannelError, type Delivery, layerChannel } from "../AlertChannels.ts"
import * as Optional from "../../system/Optional.ts"

/** @since 0.1.0 */
export interface MailChannelOptions {
  /** Default: `mail`. */
  readonly name?: string | undefined
  readonly host: string
  readonly port: number
  /** TLS from the start, as on port 465; otherwise TLS begins when the server offers it. */
  readonly secure?: boolean | undefined
  /** Sends nothing without TLS. Default: whether there is a password. */
  readonly requireTls?: boolean | undefined
  readonly username?: string | undefined
  readonly password?: Redacted.Redacted | undefined
  /** `usage@example.com` or `Usage <usage@example.com>`. */
  readonly from: string
  readonly to: readonly [string, ...ReadonlyArray<string>]
  /** For the whole exchange. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g

const mailbox = /^(?:[^<>@,;]*<[^<>@\s,;]+@[^<>@\s,;]+>|[^<>@\s,;]+@[^<>@\s,;]+)$/

const check = (options: MailChannelOptions): Effect.Effect<void, InvalidInput> => {
  const refuse = (field: string, problem: string, remedy: string) =>
    Effect.fail(new InvalidInput({ field, problem, remedy }))
  if (options.host === "" || options.host.search(controls) >= 0) {
    return refuse("host", "is not a host's name", "Give the name of the SMTP server")
  }
  if (!Number.isInteger(options.port) || options.port < 1 || options.port > 65_535) {
    return refuse("port", "is not a port", "Give 587, 465 or 25, or what the SMTP server listens on")
  }
  if ((options.username === undefined) !== (options.password === undefined)) {
    return refuse("password", "user name and password go together", "Give both of them or neither")
  }
  const isWrong = (address: string) => address.search(controls) >= 0 || !mailbox.test(address)
  const wrong = isWrong(options.from) ? "from" : options.to.length === 0 || options.to.some(isWrong) ? "to" : undefined
  if (wrong === undefined) return Effect.void
  return refuse(wrong, "is not a mail address", "Give one such as ops@example.com or Operations <ops@example.com>")
}

const titleOf = ({ kind, level }: Alert): string => {
  if (kind === "spike") return "Usage spike"
  if (kind === "recovery") return "Quota recovered"
  return level === "exceeded"
    ? "URGENT: Quota Exceeded"
    : level === "critical"
      ? "WARNING: Quota Critical"
      : "Quota warning"
}

const textOf = (alert: Alert): string =>
  [
    sentence(alert),
    "",
    `Customer: ${customerText(alert)}`,
    `Service:  ${alert.service}`,
    `Period:   ${Instant.toIso(alert.period.start)} to ${Instant.toIso(alert.period.end)}`,
    `Raised:   ${Instant.toIso(alert.raisedAt)}`,
    `Alert:    ${alert.id}`,
    ""
  ].join("\n")

const messageOf = ({ from, to }: MailChannelOptions, { alert, id }: Delivery) => {
  const domain = /@([^@>\s]+)>?$/.exec(from)?.[1] ?? "localhost"
  return {
    from,
    to: [...to],
    subject: `${titleOf(alert)} - ${alert.service}`.replace(controls, " "),
    messageId: `<${id.replace(/[^A-Za-z0-9-]/g, "")}@${domain}>`,
    // Prevents out-of-office replies.
    headers: { "Auto-Submitted": "auto-generated" },
    text: textOf(alert)
  }
}

const transportOf = (options: MailChannelOptions, millis: number) => ({
  host: options.host,
  port: options.port,
  secure: options.secure ?? false,
  requireTLS: options.requireTls ?? options.password !== undefined,
  ...(options.username !== undefined &&
    options.password !== undefined && { auth: { user: options.username, pass: Redacted.value(options.password) } }),
  connectionTimeout: millis,
  greetingTimeout: millis,
  socketTimeout: millis,
  dnsTimeout: millis,
  // Messages are text only: nothing in them may name a file or a URL to attach.
  disableFileAccess: true,
  disableUrlAccess: true
})

/** Nodemailer's description of a failure. */
interface SmtpFailure {
  readonly code?: string
  readonly originalCode?: string
  readonly response?: string
  readonly responseCode?: number
}

/** Failures without a response of the server that another attempt would meet again. */
const lasting: ReadonlySet<string> = new Set(["EENVELOPE", "EMESSAGE", "EAUTH", "ENOAUTH", "ECONFIG"])

const explain = ({
  code = "failed",
  originalCode = code,
  response,
  responseCode
}: SmtpFailure): { problem: string; isRetryable: boolean } =>
  responseCode === undefined
    ? { problem: `did not take the mail (${originalCode})`, isRetryable: !lasting.has(code) }
    : {
        problem: `answered ${printable(response ?? `${responseCode}`).slice(0, 200)}`,
        isRetryable: responseCode < 500
      }

const make = Effect.fnUntraced(function* (
  options: MailChannelOptions
): Effect.fn.Return<AlertChannel, InvalidInput | NotInstalled> {
  yield* check(options)
  const { host, name = "mail" } = options
  const { createTransport } = yield* Optional.loaded("nodemailer", `the channel ${name}`, () => import("nodemailer"))
  const timeout = Duration.fromInputUnsafe(options.timeout ?? "30 seconds")
  const failed = ({ isRetryable, problem }: { problem: string; isRetryable: boolean }) =>
    new ChannelError({ channel: name, problem: `${host} ${problem}`, isRetryable })

  const send = Effect.fn("MailChannel.send")(function* (delivery: Delivery) {
    const transport = createTransport(transportOf(options, Duration.toMillis(timeout)))
    const sent = yield* Effect.tryPromise({
      try: (signal) => transport.sendMail({ ...messageOf(options, delivery), signal }),
      catch: (cause) => failed(explain(cause as SmtpFailure))
    })
    if (sent.rejected.length === 0) return
    const refused = printable(sent.rejected.join(", "))
    return yield* failed({ problem: `took the mail, but not for ${refused}`, isRetryable: false })
  })
  return {
    name,
    send: (delivery) =>
      Effect.timeoutOrElse(send(delivery), {
        duration: timeout,
        orElse: () =>
          Effect.fail(failed({ problem: `took longer than ${Duration.format(timeout)}`, isRetryable: true }))
      })
  }
})

/**
 * The channel `mail`. Fails with `InvalidInput` on the field that is wrong, and with `NotInstalled` without `nodemailer`.
 *
 * @since 0.1.0
 */
export const layer = (options: MailChannelOptions): Layer.Layer<never, InvalidInput | NotInstalled, AlertChannels> =>
  layerChannel(make(options))
