/**
 * Posts JSON to a configured URL, and cannot be used against the network that it runs in.
 *
 * - A name is resolved once; if any of its addresses is private, nothing is sent. The connection goes to the addresses that were
 *   checked, so a DNS answer that changes in between has no effect. Host and SNI keep the name.
 * - No redirect is followed and no proxy is used: either could choose an address that was not checked.
 * - One timeout covers the whole exchange, from the resolution to the end of the response. A few KB of the response are read, and
 *   none of it is shown.
 * - A problem names the host and the status, never the path or the query, which may be the secret.
 *
 * Hand-written: request-filtering-agent 3.2.1 checks addresses in the same place, but refuses those of networks without IPv4
 * (NAT64), takes no resolver that can be interrupted, and would leave the request, its limits and the URL's check here.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as dns from "node:dns"
import * as http from "node:http"
import * as https from "node:https"
import { isIP, type LookupFunction } from "node:net"
import { InvalidInput } from "../domain/InvalidInput.ts"
import { ChannelError } from "./AlertChannels.ts"
import { isPublicAddress } from "./PublicAddress.ts"

/** An address of a host. @since 0.1.0 */
export interface Address {
  readonly address: string
  readonly family: number
}

/** A host cannot be found or reached; `code` is Node's, such as `ENOTFOUND` or `ECONNREFUSED`. @since 0.1.0 */
export class HostUnreachable extends Schema.TaggedError<HostUnreachable>()("HostUnreachable", {
  code: Schema.String
}) {}

/** Finds a host's addresses. @since 0.1.0 */
export type Resolve = (host: string) => Effect.Effect<ReadonlyArray<Address>, HostUnreachable>

/**
 * How a channel sends over HTTP.
 *
 * - `allowPrivateAddresses` (false): whether the receiver may be in your network
 * - `timeout` (10 seconds): for the whole exchange
 * - `maxResponseBytes` (4096): how much of the response is read before the connection is closed
 * - `resolve`: finds addresses instead of the operating system
 *
 * @since 0.1.0
 */
export interface HttpOptions {
  readonly allowPrivateAddresses?: boolean | undefined
  readonly timeout?: Duration.Input | undefined
  readonly maxResponseBytes?: number | undefined
  readonly resolve?: Resolve | undefined
}

/** Posts a body with these headers. */
export type Post = (body: string, headers?: Readonly<Record<string, string>>) => Effect.Effect<void, ChannelError>

/** Of an error of Node only the code is kept: its message may contain what was sent. */
const fromNode = (cause: unknown): HostUnreachable =>
  new HostUnreachable({ code: (cause as NodeJS.ErrnoException).code ?? "failed" })

const resolveBySystem: Resolve = (host) =>
  Effect.tryPromise({
    try: () => dns.promises.lookup(host, { all: true }),
    catch: fromNode
  })

const refuse = (problem: string, remedy: string) => Effect.fail(new InvalidInput({ field: "url", problem, remedy }))

/** The host without the brackets of an IPv6 address. */
const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, "$1")

const privateRemedy =
  "Give one on the internet, or set allowPrivateAddresses (USAGE_ALERT_WEBHOOK_ALLOW_PRIVATE) if the receiver is in your network"

/** Checks the URL, which is in no message because it may be the secret. Numeric forms of IPv4 are read as browsers do. */
const parseUrl = (text: string, allowPrivate: boolean): Effect.Effect<URL, InvalidInput> => {
  const url = URL.parse(text)
  if (url === null) return refuse("is not a URL", "Give one such as https://hooks.example.com/usage")
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return refuse(`has the protocol ${url.protocol.slice(0, 20)}`, "Give a URL that begins with https:// or http://")
  }
  if (url.username !== "" || url.password !== "") {
    return refuse("contains a user name or a password", "Give the URL without them; receivers check the signature")
  }
  const host = hostOf(url)
  if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) {
    return refuse(`${host} is a private address`, privateRemedy)
  }
  return Effect.succeed(url)
}

/** What a response's status means. Receivers that are overloaded or not ready are tried again. */
const problemOf = (status: number): { readonly problem: string; readonly isRetryable: boolean } | undefined => {
  if (status >= 200 && status < 300) return undefined
  if (status >= 300 && status < 400) {
    return { problem: `answered ${status}, a redirect, which is not followed`, isRetryable: false }
  }
  const isRetryable = status >= 500 || status === 408 || status === 425 || status === 429
  return { problem: `answered ${status}`, isRetryable }
}

/** Sends one request to the given addresses; returns the status once the response has ended or enough of it is read. */
const exchange = (
  url: URL,
  addresses: ReadonlyArray<Address>,
  body: Buffer,
  headers: Readonly<Record<string, string>>,
  maxResponseBytes: number
): Effect.Effect<number, HostUnreachable> =>
  Effect.callback((resume, signal) => {
    const lookup: LookupFunction = (_host, options, callback) => {
      // Asynchronous like a real lookup: the socket's listeners are attached by then.
      process.nextTick(() => {
        if (options.all === true) return callback(null, [...addresses])
        return callback(null, addresses[0]!.address, addresses[0]!.family)
      })
    }
    const request = (url.protocol === "https:" ? https : http).request({
      method: "POST",
      protocol: url.protocol,
      hostname: hostOf(url),
      ...(url.port !== "" && { port: Number(url.port) }),
      path: `${url.pathname}${url.search}`,
      headers: { ...headers, "content-length": body.length },
      // No connection is reused: the address of a pooled one was checked for another request.
      agent: false,
      lookup,
      signal
    })
    const fail = (cause: unknown) => resume(Effect.fail(fromNode(cause)))
    request.on("error", fail)
    request.on("response", (response) => {
      const done = () => {
        resume(Effect.succeed(response.statusCode ?? 0))
        request.destroy()
      }
      let read = 0
      response.on("data", (chunk: Buffer) => {
        read += chunk.length
        if (read >= maxResponseBytes) done()
      })
      response.on("end", done)
      response.on("error", fail)
    })
    request.end(body)
  })

/** Checks a URL, and returns what posts to it. */
export const make = Effect.fnUntraced(function* (
  channel: string,
  url: string | Redacted.Redacted,
  options: HttpOptions
): Effect.fn.Return<Post, InvalidInput> {
  const allowPrivate = options.allowPrivateAddresses ?? false
  const { maxResponseBytes = 4096, resolve = resolveBySystem, timeout = "10 seconds" } = options
  const target = yield* parseUrl(Redacted.isRedacted(url) ? Redacted.value(url) : url, allowPrivate)
  const host = hostOf(target)
  const failed = (problem: string, isRetryable: boolean) =>
    new ChannelError({ channel, problem: `${host} ${problem}`, isRetryable })
  const unreachable = ({ code }: HostUnreachable) => failed(`cannot be reached (${code})`, true)

  const addresses = isIP(host) === 0 ? resolve(host) : Effect.succeed([{ address: host, family: isIP(host) }])

  const send = Effect.fnUntraced(function* (body: string, headers: Readonly<Record<string, string>>) {
    const found = yield* Effect.mapError(addresses, unreachable)
    if (found.length === 0) return yield* failed("has no address", true)
    if (!allowPrivate && !found.every(({ address }) => isPublicAddress(address))) {
      return yield* failed("has a private address, and those are not allowed", false)
    }
    const status = yield* exchange(target, found, Buffer.from(body), headers, maxResponseBytes).pipe(
      Effect.mapError(unreachable)
    )
    const answer = problemOf(status)
    if (answer !== undefined) return yield* failed(answer.problem, answer.isRetryable)
  })

  return (body, headers = {}) =>
    Effect.timeoutOrElse(send(body, { "content-type": "application/json", "user-agent": "effect-usage", ...headers }), {
      duration: timeout,
      orElse: () => Effect.fail(failed(`took longer than ${Duration.format(Duration.fromInputUnsafe(timeout))}`, true))
    })
})
