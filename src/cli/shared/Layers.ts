/**
 * The services of commands, on the database that the flags and the environment name. A leaf provides those that it uses by
 * `Command.provide`, under what reads its flags: nothing is opened for a command that is wrong.
 */
import { Command } from "effect/cli"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AlertChannels } from "../../alert/AlertChannels.ts"
import { AlertDelivery } from "../../alert/AlertDelivery.ts"
import { AlertMonitor } from "../../alert/AlertMonitor.ts"
import { layerConfig as layerChannels } from "../../alert/channels/ChannelConfig.ts"
import { Catalog } from "../../catalog/Catalog.ts"
import { DeadLetters } from "../../import/DeadLetters.ts"
import { Quotas } from "../../quota/Quotas.ts"
import { Analytics } from "../../report/Analytics.ts"
import { Archiver } from "../../retention/Archiver.ts"
import { Retention } from "../../retention/Retention.ts"
import { Aggregator } from "../../rollup/Aggregator.ts"
import * as Session from "./Session.ts"
import * as Whose from "./Whose.ts"

export const aggregator = Layer.provide(Aggregator.layer, Session.layerDatabase)
export const analytics = Layer.provide(Analytics.layer, Session.layerArchives)
export const archiver = Layer.provide(Archiver.layer, Session.layerArchives)
export const catalog = Layer.provide(Catalog.layer, Session.layerDatabase)
export const deadLetters = Layer.provide(DeadLetters.layer, Session.layerDatabase)
export const quotas = Layer.provide(Quotas.layer, Session.layerDatabase)
export const retention = Layer.provide(Retention.layerConfig, Session.layerDatabase)

/** Alerts, and those who are told; `customer`: the only one that is looked at. */
export const alerts = (customer?: string) =>
  Layer.mergeAll(AlertMonitor.layerConfig, AlertDelivery.layer, layerChannels(customer)).pipe(
    Layer.provide(AlertChannels.layer),
    Layer.provide(Session.layerDatabase)
  )

/** Provides alerts of the customer, or of all of them, that the flags name. */
export const withAlerts = <const Name extends string, Input extends Whose.Named, Shared, E, R>(
  self: Command.Command<Name, Input, Shared, E, R>
) =>
  self.pipe(Command.provide(Layer.unwrap(Effect.map(Whose.Whose, ({ customer }) => alerts(customer)))), Whose.fromFlags)
