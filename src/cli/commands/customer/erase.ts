/** `usage customer erase` */
import { Command } from "effect/cli"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync } from "node:fs"
import { excerpt, InvalidInput } from "../../../domain/InvalidInput.ts"
import { printable } from "../../../domain/Shown.ts"
import { writeNew } from "../../../files/Files.ts"
import { Eraser } from "../../../retention/Eraser.ts"
import * as Settings from "../../../system/Settings.ts"
import { Findings } from "../../shared/Failures.ts"
import * as Flags from "../../shared/Flags.ts"
import * as Json from "../../render/Json.ts"
import * as Progress from "../../render/Progress.ts"
import * as Session from "../../shared/Session.ts"
import * as Customers from "./Customers.ts"

const writeCertificate = (file: string, text: string) =>
  Effect.tryPromise({
    try: () => writeNew(file, `${text}\n`),
    catch: (cause) =>
      new InvalidInput({
        field: "certificate",
        problem: `it could not be written: ${cause instanceof Error ? cause.message : String(cause)}`,
        remedy: "The customer is erased; run it again to get the certificate"
      })
  })

export const erase = Command.make(
  "erase",
  {
    id: Customers.id,
    confirm: Flags.text("confirm", "id", "The same id once more: this cannot be undone"),
    pseudonymise: Flags.on(
      "pseudonymise",
      "Keep the usage under a random name, without its metadata, so that totals stay"
    ),
    certificate: Flags.text("certificate", "file", "A new file for the certificate, JSON; default stdout")
  },
  Effect.fnUntraced(function* ({ certificate: file, id, pseudonymise }) {
    const eraser = yield* Eraser
    const directory = yield* Settings.archiveDirectory
    const certificate = yield* Session.watched(Progress.makeNotes, (progress) =>
      eraser.erase(id, {
        pseudonymise,
        directories: [directory],
        onStep: (step) => Effect.sync(() => progress?.show(step))
      })
    )
    const text = Json.render(certificate)
    if (file === undefined) yield* Console.log(text)
    else {
      yield* writeCertificate(file, text)
      yield* Session.confirm(`the certificate is in ${printable(file)}`)
    }
    if (certificate.left.length > 0) {
      return yield* new Findings({
        summary: `something could not be reached: ${certificate.left.join("; ")}. Run it again after that`
      })
    }
  })
).pipe(
  Command.provide(Layer.provide(Eraser.layer, Layer.merge(Session.layerArchives, Session.layerSpool))),
  Flags.check(({ certificate, confirm, id }) => {
    if (confirm !== id) {
      return new InvalidInput({
        field: "confirm",
        problem: "it is not the customer's id",
        remedy: "Give --confirm with the same id: what is erased cannot be brought back"
      })
    }
    if (certificate === undefined || !existsSync(certificate)) return undefined
    return new InvalidInput({
      field: "certificate",
      problem: `${excerpt(certificate)} is there already`,
      remedy: "Give a new file's name"
    })
  }),
  Command.withDescription(
    "Erase a customer: usage, in the table, archives and spool, rollups, keys, alerts, quotas, prices, dead letters; with a certificate that does not say who it was. Run again, it finishes what was interrupted. Exit code 3 if something could not be reached"
  ),
  Command.withExamples([
    { command: "usage customer erase acme --confirm acme --certificate erased.json", description: "All of it" },
    { command: "usage customer erase acme --confirm acme --pseudonymise", description: "Totals stay" }
  ])
)
