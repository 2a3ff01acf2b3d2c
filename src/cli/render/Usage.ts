/** What is said of usage, wherever it is listed. */
import type { ServiceUsage } from "../../report/Reporter.ts"
import { cell, type Column, column, field } from "./Listing.ts"
import { tableCost, tableQuantity } from "./Numbers.ts"

export const service: Column<ServiceUsage> = column("service", (usage) => usage.service)
/** JSON names the unit before the quantity, tables behind it. */
export const unitField: Column<ServiceUsage> = field("unit", (usage) => usage.unit)
export const quantity: Column<ServiceUsage> = column("quantity", (usage) => usage.quantity, { show: tableQuantity })
export const unitCell: Column<ServiceUsage> = cell("unit", (usage) => usage.unit)
export const cost: Column<ServiceUsage> = column("cost", (usage) => usage.cost, { show: tableCost })
export const events: Column<ServiceUsage> = column("events", (usage) => usage.events)

export const columns: ReadonlyArray<Column<ServiceUsage>> = [service, unitField, quantity, unitCell, cost, events]
