/** The address of a mail server as a URL: `smtp://user:password@host:587`, or `smtps://` for TLS from the start. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { InvalidInput } from "../domain/InvalidInput.ts"

export interface SmtpServer {
  readonly host: string
  readonly port: number
  readonly secure: boolean
  readonly username?: string
  readonly password?: Redacted.Redacted
}

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Parses a URL that was given as `field`. No message contains any of it. */
export const parseSmtpUrl = (field: string, text: Redacted.Redacted): Effect.Effect<SmtpServer, InvalidInput> => {
  const refuse = (problem: string, remedy: string) => Effect.fail(new InvalidInput({ field, problem, remedy }))
  const example = "Give one such as smtp://user:password@mail.example.com:587"
  const url = URL.parse(Redacted.value(text))
  if (url === null || url.hostname === "") return refuse("is not a URL of a mail server", example)
  if (url.protocol !== "smtp:" && url.protocol !== "smtps:") return refuse("does not begin with smtp://", example)
  // A setting that is ignored would be believed to be in force.
  if (url.search !== "" || url.hash !== "" || !["", "/"].includes(url.pathname)) {
    return refuse("has more than user, password, host and port", example)
  }
  const [username, password] = [decode(url.username), decode(url.password)]
  if (username === undefined || password === undefined) {
    return refuse(
      "has a user or a password that is not percent-encoded",
      "Write % as %25, @ as %40, / as %2F, : as %3A"
    )
  }
  const secure = url.protocol === "smtps:"
  return Effect.succeed({
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? (secure ? 465 : 587) : Number(url.port),
    secure,
    ...(username !== "" && { username }),
    ...(password !== "" && { password: Redacted.make(password, { label: "password" }) })
  })
}
