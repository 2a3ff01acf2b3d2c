/** `usage track api-request` */
import { Command, Param } from "effect/cli"
import * as Tracking from "../../../domain/Tracking.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Recording from "../../shared/Recording.ts"

export const apiRequest = Command.make(
  "api-request",
  {
    endpoint: Flags.required("endpoint", "Path or route: /api/users"),
    method: Flags.argument("method", "HTTP method; default GET"),
    status: Flags.argument("status", "HTTP status; default 200").pipe(
      Param.map((text) => (text === undefined ? undefined : Number(text)))
    ),
    ...Recording.flags
  },
  ({ endpoint, method, status, ...flags }) =>
    Recording.record(flags, (common) => Tracking.apiRequest({ ...common, endpoint, method, status }))
).pipe(
  Command.withDescription("One request to an API"),
  Command.withExamples([
    { command: "usage track api-request /api/users GET 200 --customer acme", description: "A successful GET" }
  ])
)
