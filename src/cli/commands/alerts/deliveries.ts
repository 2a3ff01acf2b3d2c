/** `usage alerts deliveries` */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import { AlertDelivery } from "../../../alert/AlertDelivery.ts"
import type { DeliveryStatus } from "../../../alert/DeliveryStore.ts"
import { sentence } from "../../../domain/Alert.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Layers from "../../shared/Layers.ts"
import * as Period from "../../shared/Period.ts"
import * as Listing from "../../render/Listing.ts"

const { column, time } = Listing

const listing = Listing.make<DeliveryStatus>("deliveries", [
  column("delivery_id", ({ id }) => id),
  column("channel", ({ channel }) => channel),
  column("state", ({ state }) => state),
  column("attempts", ({ attempt }) => attempt),
  time("due", ({ due, state }) => (state === "pending" ? due : undefined)),
  time("sent_at", ({ sentAt }) => sentAt),
  column("problem", ({ problem }) => problem),
  column("customer_id", ({ alert }) => alert.customer),
  column("text", ({ alert }) => sentence(alert))
])

export const deliveries = Command.make(
  "deliveries",
  {
    days: Period.days(7),
    retry: Flags.on("retry", "Retry those that were given up, and send what is due"),
    format: Flags.format
  },
  Effect.fnUntraced(function* (input) {
    const delivery = yield* AlertDelivery
    if (input.retry) {
      yield* delivery.retry
      yield* delivery.deliver
    }
    yield* Listing.print(listing, input, yield* delivery.list(input.days))
  })
).pipe(
  Command.provide(Layers.alerts()),
  Command.withDescription("What was sent through which channel, what is waiting, and what was given up and why")
)
