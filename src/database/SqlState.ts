/**
 * What PostgreSQL's error codes mean for storing usage: whether the data is at fault, or the moment.
 *
 * Only `Refused` is the data's fault, and only it may produce a dead letter or set a batch aside. When in doubt, a code is not the
 * data's fault: usage that is tried once too often is stored, usage that is refused once too often is lost.
 */

/** The reasons of `DatabaseError` that a code can mean; codes in no list are `Unexpected`. */
export type Sort = "Unreachable" | "Busy" | "Refused" | "NotMigrated" | "Denied"

/** By class, the first two characters of a code. */
const classes: Readonly<Record<string, Sort>> = {
  // Connection exception; a pooler's own errors are of this class too.
  "08": "Unreachable",
  // Data exception, integrity constraint violation, check option of a view.
  "22": "Refused",
  "23": "Refused",
  "44": "Refused",
  // Invalid authorization, invalid catalog name: there is no such database.
  "28": "Denied",
  "3D": "Denied",
  // Invalid schema name.
  "3F": "NotMigrated",
  // Transaction rollback: deadlock, serialization.
  "40": "Busy",
  // Insufficient resources: full disk, memory, connections.
  "53": "Busy",
  // Object not in prerequisite state: lock not available, object in use, a database that takes no connections now.
  "55": "Busy",
  // Operator intervention: statements that were cancelled, a server that starts up or recovers.
  "57": "Busy",
  // System error: the server's own files and disk.
  "58": "Busy",
  // Snapshot too old.
  "72": "Busy"
}

/** Codes that differ from their class. */
const codes: Readonly<Record<string, Sort | "Unexpected">> = {
  // A standby, a demoted primary, or one that is kept from writing for a while.
  "25006": "Busy",
  // An earlier statement of the transaction failed: the whole transaction may be retried.
  "25P02": "Busy",
  // The server ended the session: idle in its transaction for too long, or with one that took too long.
  "25P03": "Unreachable",
  "25P04": "Unreachable",
  // A prepared statement is missing, or there already: the session behind the connection is another one.
  "26000": "Busy",
  "42P05": "Busy",
  "42501": "Denied",
  // Undefined table, undefined column.
  "42P01": "NotMigrated",
  "42703": "NotMigrated",
  // A row that is too long for an index, JSON that is nested too deeply.
  "54000": "Refused",
  "54001": "Refused",
  // A setting that cannot be changed, a value of an enumeration that is too new: a mistake of ours.
  "55P02": "Unexpected",
  "55P04": "Unexpected",
  // The server shut down, crashed, dropped the database, or ended an idle session.
  "57P01": "Unreachable",
  "57P02": "Unreachable",
  "57P04": "Unreachable",
  "57P05": "Unreachable",
  // A user's trigger refused it.
  P0001: "Refused",
  // Internal error, such as `tuple concurrently updated`. XX001 and XX002 say that data is corrupt, and stay unexpected.
  XX000: "Busy"
}

/** The operating system's codes for a connection that cannot be made or is lost. */
const networkCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
  "ECONNABORTED",
  "EADDRNOTAVAIL"
])

/** The machine lacks something: disk space, open files. */
const shortages = new Set(["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"])

/** A statement was planned for a table that has changed since: another attempt plans it again. */
const plannedForOther = (code: string, routine: string): boolean =>
  code === "0A000" && routine === "RevalidateCachedQuery"

/** Classifies an SQLSTATE, or a code of the operating system. `routine`: where in the server it came from. */
export const sortOf = (code: string, routine = ""): Sort | "Unexpected" => {
  if (networkCodes.has(code) || /^ERR_(STREAM|SOCKET)/.test(code)) return "Unreachable"
  if (shortages.has(code)) return "Busy"
  if (plannedForOther(code, routine)) return "Busy"
  if (!/^[0-9A-Z]{5}$/.test(code)) return "Unexpected"
  return codes[code] ?? classes[code.slice(0, 2)] ?? "Unexpected"
}
