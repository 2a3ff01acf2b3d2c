/**
 * The ways by which alerts reach somebody. A channel is a layer that registers itself; several layers are several channels.
 * Deliveries are stored in the database under the channel's name (`AlertDelivery`).
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Alert } from "../domain/Alert.ts"
import { InvalidInput } from "../domain/InvalidInput.ts"

/**
 * An alert could not be sent.
 *
 * - `problem`: has no secrets, because it is stored and shown
 * - `isRetryable`: whether another attempt may succeed
 *
 * @since 0.1.0
 */
export class ChannelError extends Schema.TaggedError<ChannelError>()("ChannelError", {
  channel: Schema.String,
  problem: Schema.String,
  isRetryable: Schema.Boolean
}) {
  override get message(): string {
    return `${this.channel}: ${this.problem}`
  }
}

/**
 * The delivery of an alert by a channel.
 *
 * - `id`: a UUID, the same at every attempt: a receiver that has seen it has the alert already
 * - `attempt`: 1 for the first
 *
 * @since 0.1.0
 */
export interface Delivery {
  readonly id: string
  readonly alert: Alert
  readonly attempt: number
}

/** @since 0.1.0 */
export interface AlertChannel {
  /** Unique among the channels and the same at every start of the application: deliveries are stored under it. */
  readonly name: string
  readonly send: (delivery: Delivery) => Effect.Effect<void, ChannelError>
}

/** @since 0.1.0 */
export class AlertChannels extends Context.Service<
  AlertChannels,
  {
    /** Adds a channel. */
    readonly register: (channel: AlertChannel) => Effect.Effect<void, InvalidInput>
    readonly all: Effect.Effect<ReadonlyArray<AlertChannel>>
  }
>()("effect-usage/AlertChannels") {
  static readonly layer: Layer.Layer<AlertChannels> = Layer.sync(AlertChannels, () => {
    const channels = new Map<string, AlertChannel>()
    return AlertChannels.of({
      all: Effect.sync(() => [...channels.values()]),
      register: (channel) =>
        Effect.suspend(() => {
          if (channels.has(channel.name)) {
            return Effect.fail(
              new InvalidInput({
                field: "channel",
                problem: `there are two channels named "${channel.name}"`,
                remedy: "Give one of them another name"
              })
            )
          }
          channels.set(channel.name, channel)
          return Effect.void
        })
    })
  })
}

/** The layer of a channel. @since 0.1.0 */
export const layerChannel = <E, R>(
  make: Effect.Effect<AlertChannel, E, R>
): Layer.Layer<never, E | InvalidInput, R | AlertChannels> =>
  Layer.effectDiscard(
    Effect.flatMap(Effect.all([AlertChannels, make]), ([channels, channel]) => channels.register(channel))
  )
