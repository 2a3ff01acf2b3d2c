/**
 * Alerts as lines of a log file, as the shell system wrote them, followed by the customer:
 * `[2026-01-30 14:23:45] warning ALERT for api: 78000/100000 (78%) [acme]`.
 *
 * The file is readable by its owner only. Any number of processes may append to it; `logrotate` may move it away at any time.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { logLine } from "../../domain/Alert.ts"
import type { InvalidInput } from "../../domain/InvalidInput.ts"
import { type AlertChannels, layerChannel } from "../AlertChannels.ts"
import { withCustomer, type ShowCustomer } from "../AlertText.ts"
import * as LineFile from "../LineFile.ts"

/** @since 0.1.0 */
export interface LogFileChannelOptions {
  /** Default: `log`. */
  readonly name?: string | undefined
  readonly file: string
  /** Whether ` [customer]` is appended. Default: `true`. */
  readonly showCustomer?: ShowCustomer | undefined
}

/** The channel `log`. Fails with `InvalidInput` on the field `file`. @since 0.1.0 */
export const layer = (options: LogFileChannelOptions): Layer.Layer<never, InvalidInput, AlertChannels> => {
  const { file, name = "log", showCustomer } = options
  return layerChannel(
    Effect.map(LineFile.make(name, file), (append) => ({
      name,
      send: ({ alert }) => append(withCustomer(logLine(alert), alert, showCustomer))
    }))
  )
}
