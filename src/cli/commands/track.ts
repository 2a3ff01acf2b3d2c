/** `usage track …`: the six typed trackers. */
import { Command } from "effect/cli"
import { apiRequest } from "./track/api-request.ts"
import { bandwidth } from "./track/bandwidth.ts"
import { compute } from "./track/compute.ts"
import { databaseQuery } from "./track/database-query.ts"
import { functionCall } from "./track/function.ts"
import { storage } from "./track/storage.ts"

export const track = Command.make("track").pipe(
  Command.withDescription("Record usage of one of the six services, with the units and metadata that belong to it"),
  Command.withSubcommands([apiRequest, storage, bandwidth, compute, databaseQuery, functionCall])
)
