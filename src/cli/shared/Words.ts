/**
 * Translates what the library says into the words of the command: an option is a flag, a method is a command. The library names
 * both as its callers write them, in backticks: `` See `Quotas.plans` ``.
 */

/** Flags that are spelled otherwise than the option. Other fields keep their names. */
const flags: Readonly<Record<string, string>> = {
  baseUnit: "base-unit",
  compression: "compress",
  directory: "out-dir",
  keys: "group-by",
  overageUnitCost: "overage-unit-cost",
  unitCost: "unit-cost",
  unitSize: "unit-size",
  withIds: "with-ids"
}

/** A field of a refusal as the command line has it. */
export const flagOf = (field: string): string => flags[field] ?? field

const words: Readonly<Record<string, string>> = {
  "Aggregator.rebuild": "`usage refresh --rebuild`",
  "Aggregator.retrySetAside": "`usage refresh --retry-set-aside`",
  "Archiver.list": "`usage archives list`",
  "Archiver.relocate(from, to)": "usage archives relocate <from> <to>",
  "Catalog.addService": "`usage service add`",
  "Catalog.setPrice": "`usage price set`",
  "DeadLetters.list": "`usage dead-letters list`",
  "Eraser.erase": "`usage customer erase`",
  "Migrations.migrate": "`usage migrate`",
  "Quotas.list": "`usage quota list`",
  "Quotas.plans": "`usage plan list`",
  "Quotas.setPlan": "`usage plan set`",
  "Quotas.subscribe": "`usage subscribe set`",
  "Quotas.subscriptions": "`usage subscribe list`",
  "Retention.rules": "`usage retention list`",
  "SpoolDelivery.deliverAll": "`usage batch flush`",
  customer: "--customer ID",
  customerFrom: "--customer-from user",
  force: "--force",
  plan: "--plan NAME",
  pseudonymise: "--pseudonymise"
}

/** A remedy as whoever types commands can follow it. */
export const inCommands = (text: string): string =>
  text.replace(/`([\w.]+(?:\(\w+, \w+\))?)(?:\(\{ name: "([^"]*)" \}\))?`/g, (code, said: string, name?: string) => {
    const word = words[said]
    return word === undefined ? code : name === undefined ? word : word.replace(/`$/, ` ${name}\``)
  })
