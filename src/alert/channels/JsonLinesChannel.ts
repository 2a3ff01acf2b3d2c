/**
 * Alerts as lines of JSON for other programs, in a file as `LogFileChannel` writes it or on stdout: the alert's data and
 * `delivery_id`, which is the same if an alert is written again.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import { type AlertChannel, type AlertChannels, layerChannel } from "../AlertChannels.ts"
import { jsonOf } from "../AlertText.ts"
import * as LineFile from "../LineFile.ts"

/** `name`: `json` by default. @since 0.1.0 */
export type JsonLinesChannelOptions = { readonly name?: string | undefined } & (
  | { readonly file: string; readonly stdout?: undefined }
  | { readonly stdout: true; readonly file?: undefined }
)

/** The channel `json`. Fails with `InvalidInput` on the field `file`. @since 0.1.0 */
export const layer = (options: JsonLinesChannelOptions): Layer.Layer<never, InvalidInput, AlertChannels> => {
  const { file, name = "json" } = options
  const append = file === undefined ? Effect.succeed(LineFile.stdout(name)) : LineFile.make(name, file)
  return layerChannel(
    Effect.map(append, (append): AlertChannel => ({ name, send: (delivery) => append(jsonOf(delivery)) }))
  )
}
