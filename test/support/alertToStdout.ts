/** Sends an alert to stdout, when its stdin ends, and says on stderr what came of it. */
import * as Effect from "effect/Effect"
import { once } from "node:events"
import * as JsonLinesChannel from "../../src/alert/channels/JsonLinesChannel.ts"
import { channelOf, deliveryOf } from "./alertChannels.ts"

await once(process.stdin.resume(), "end")
const channel = await Effect.runPromise(channelOf(JsonLinesChannel.layer({ stdout: true })))
const sent = await Effect.runPromise(Effect.result(channel.send(deliveryOf())))
process.stderr.write(sent._tag === "Success" ? "sent" : `${sent.failure.message}, ${sent.failure.isRetryable}`)
