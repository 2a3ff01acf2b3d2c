/** `usage alerts test` */
import { Argument, Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { AlertDelivery } from "../../../alert/AlertDelivery.ts"
import { channelTable } from "../../../alert/channels/ChannelConfig.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Session from "../../shared/Session.ts"

const help = [
  "Send a test alert through one channel:",
  "",
  ...Object.entries(channelTable).flatMap(([channel, { does, variables }]) => [
    `  ${channel}: ${does}`,
    ...variables.map(({ means, name }) => `    ${name}: ${means}`)
  ])
]
  .join("\n")
  .replaceAll("`", "")

export const test = Command.make(
  "test",
  {
    channel: Argument.Literals("channel", Object.keys(channelTable)).pipe(
      Argument.withDescription("One of USAGE_ALERT_CHANNELS")
    )
  },
  Effect.fnUntraced(function* ({ channel }) {
    yield* (yield* AlertDelivery).test(channel)
    yield* Session.confirm(`a test alert was sent by ${channel}`)
  })
).pipe(
  Command.provide(Layers.alerts()),
  Command.withDescription(help),
  Command.withShortDescription("Send a test alert through one channel")
)
