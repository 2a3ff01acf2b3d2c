/** `usage alerts …`: what has reached its quota, and who was told. */
import { Command } from "effect/cli"
import { check } from "./alerts/check.ts"
import { deliveries } from "./alerts/deliveries.ts"
import { history } from "./alerts/history.ts"
import { test } from "./alerts/test.ts"
import { watch } from "./alerts/watch.ts"

export const alerts = Command.make("alerts").pipe(
  Command.withDescription("What has reached its quota, which alerts were raised, and who was told"),
  Command.withSubcommands([check, history, watch, deliveries, test])
)
