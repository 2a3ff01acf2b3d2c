/** The `usage` command: its tree, and how a run of it ends. */
import * as Cause from "effect/Cause"
import { CliConfig, CliError, CliOutput, Command, GlobalFlag } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import packageJson from "../../package.json" with { type: "json" }
import { aggregate } from "./commands/aggregate.ts"
import { alerts } from "./commands/alerts.ts"
import { archive } from "./commands/archive.ts"
import { archives } from "./commands/archives.ts"
import { batch } from "./commands/batch.ts"
import { customer } from "./commands/customer.ts"
import { database } from "./commands/database.ts"
import { doctor } from "./commands/doctor.ts"
import { exportUsage } from "./commands/export.ts"
import { forecast } from "./commands/forecast.ts"
import { importFiles } from "./commands/import.ts"
import { deadLetters } from "./commands/dead-letters.ts"
import { maintain } from "./commands/maintain.ts"
import { metrics } from "./commands/metrics.ts"
import { migrate } from "./commands/migrate.ts"
import { price } from "./commands/price.ts"
import { peaks } from "./commands/peaks.ts"
import { plan } from "./commands/plan.ts"
import { quota } from "./commands/quota.ts"
import { record } from "./commands/record.ts"
import { refresh } from "./commands/refresh.ts"
import { report } from "./commands/report.ts"
import { makeRun } from "./commands/run.ts"
import { retention } from "./commands/retention.ts"
import { service } from "./commands/service.ts"
import { shellInit } from "./commands/shell-init.ts"
import { stats } from "./commands/stats.ts"
import { subscribe } from "./commands/subscribe.ts"
import { track } from "./commands/track.ts"
import { trends } from "./commands/trends.ts"
import { printable, withoutPasswords } from "../domain/Shown.ts"
import { exitCodes, present, told } from "./shared/Failures.ts"
import * as Flags from "./shared/Flags.ts"

const usage = Command.make("usage").pipe(
  Command.withDescription(
    [
      "Usage metering for billing: record what customers use, exactly once, and report what it costs",
      "",
      "  Data goes to stdout, everything else to stderr. Exit codes: 0 done or nothing to do, 1 failure, 2 wrong usage,",
      "  3 done with findings, 75 try again later, 130 and 143 ended by a signal."
    ].join("\n")
  ),
  Command.withSubcommands([
    { group: "Record", commands: [track, record, batch, importFiles, deadLetters] },
    { group: "Report", commands: [report, aggregate, stats, trends, peaks, forecast, exportUsage] },
    { group: "Quotas and alerts", commands: [quota, plan, subscribe, alerts] },
    { group: "What is metered, at what price, for whom", commands: [service, price, customer] },
    {
      group: "Operate",
      commands: [migrate, maintain, refresh, archive, archives, retention, database, doctor, metrics]
    },
    {
      group: "Scripts",
      commands: [
        // Its lines are commands of this tree.
        makeRun((args): Effect.Effect<number, never, Command.Environment> => runCommand(args)),
        shellInit
      ]
    }
  ]),
  Command.withGlobalFlags(Flags.globals)
)

/** Help that was asked for goes to stdout. What is wrong with an invocation is one line and a hint on stderr. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    const command = event._tag === "Version" ? "usage" : event.commandPath.join(" ")
    if (event._tag === "InvalidInvocation") {
      const [first] = event.errors
      // Refusals of the command's own are explained as its failures are.
      if (first?._tag === "UserError") return Effect.void
      const message = (first?.message ?? "wrong usage")
        .split("\n")
        .filter((line) => line.trim() !== "")
        .join(" ")
      return Console.error(`${command}: ${message}\nHint: \`${command} --help\` shows what it takes`)
    }
    if (event._tag === "Help" && event.reason === "Implicit" && event.commandPath.length > 1) {
      const names = (event.helpDoc.subcommands ?? []).flatMap((group) => group.commands.map((_) => _.name))
      return Console.error(`${command}: name one of ${names.join(", ")}\nHint: \`${command} --help\` tells them apart`)
    }
    return CliOutput.defaultPresenter.present(event)
  }
}

const layer = Layer.mergeAll(
  CliOutput.layerPresenter(presenter),
  // The wizard asks for every flag in turn; it has no place among commands that scripts call.
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel] }),
  // Stdout is for data.
  Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]),
  Layer.succeed(References.MinimumLogLevel, "Warn")
)

/** Runs the command line `args`; gives the exit code and has said everything that there is to say. */
export const run = (args: ReadonlyArray<string>) =>
  runCommand(args).pipe(Effect.provide(layer), Effect.updateService(Console.Console, discreet))

/**
 * Whatever is said on stderr, by whomever: it goes to terminals and into logs, so it acts on none, and shows no password of an
 * address that stood where none was expected. Stdout is data, and stays as it is.
 */
const discreet = (console: Console.Console): Console.Console =>
  Object.assign(Object.create(console) as Console.Console, {
    log: console.log.bind(console),
    error: (...parts: ReadonlyArray<unknown>) =>
      console.error(withoutPasswords(parts.join(" ")).split("\n").map(printable).join("\n"))
  })

const runCommand = (args: ReadonlyArray<string>) =>
  Command.runWith(usage, { version: packageJson.version })(args).pipe(
    Effect.as(0),
    Effect.catchCause((cause) => Effect.suspend(() => explain(cause, args)))
  )

const explain = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>, args: ReadonlyArray<string>) {
  if (Cause.hasInterruptsOnly(cause)) return exitCodes.interrupted
  const error = Cause.squash(cause)
  const invalid = CliError.isCliError(error) && error._tag === "ShowHelp" ? error : undefined
  const refusal = invalid?.errors.find((one) => one._tag === "UserError")
  if (invalid !== undefined && refusal === undefined) {
    // The presenter has spoken.
    return args.length === 0 ? 0 : exitCodes.usage
  }
  const reason = refusal === undefined ? cause : Cause.fail(refusal.cause)
  const failure = present(reason)
  if (failure.line !== undefined) yield* Console.error(told(failure))
  if (wantsTrace(args)) yield* Console.error(Cause.pretty(reason))
  return failure.exitCode
})

const wantsTrace = (args: ReadonlyArray<string>): boolean =>
  args.some(
    (arg, index) =>
      /^--log-level=(debug|trace|all)$/.test(arg) ||
      (arg === "--log-level" && /^(debug|trace|all)$/.test(args[index + 1] ?? ""))
  )
