/**
 * How benchmarks are run: ours and its peers one after the other, round after round, from the same state of the same
 * server, so that whatever else the machine does meets all of them. What is compared is the ratio within a round.
 *
 * Ours runs in a process of its own (`contestant.ts`), which lives through all rounds: its peak memory is that of the
 * measured code, and the first round, which is not counted, warms it up.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { PostgresServer } from "../test/support/PostgresServer.ts"

/** One run: how long it took, and other figures that the benchmark looks at. */
export interface Measurement {
  readonly millis: number
  readonly figures?: { readonly [name: string]: number } | undefined
}

export interface Contestant {
  readonly name: string
  readonly run: () => Promise<Measurement>
}

/** A line of the table. */
export interface Row {
  readonly benchmark: string
  readonly case: string
  readonly ours: string
  readonly peer: string
  /** In each round; empty if the peer could not be run. */
  readonly ratios: ReadonlyArray<number>
  readonly aim: string
  /** Of the process that ours runs in, in bytes. */
  readonly peakMemory: number | undefined
}

export interface Setting {
  /** A migrated database with the month's partition. */
  readonly server: PostgresServer
  /** Empties the tables, and leaves nothing to write back: both sides start from the same state. */
  readonly reset: () => Promise<void>
  /** A file with an embedded database that has its tables. */
  readonly snapshot: () => Promise<string>
  /** An empty folder. */
  readonly directory: string
  readonly runs: number
  /** A size, scaled down as the command line says. */
  readonly size: (full: number) => number
  readonly progress: (text: string) => void
}

export interface Benchmark {
  readonly name: string
  readonly run: (setting: Setting) => Promise<ReadonlyArray<Row>>
}

/** Ours, in its process. */
export interface Contest {
  readonly run: (name: string) => Promise<Measurement>
  readonly close: () => Promise<void>
}

export type Reply =
  | { readonly ok: true; readonly measurement: Measurement; readonly peakMemory: number }
  | { readonly ok: false; readonly error: string }

export interface Process {
  readonly contestant: (name: string) => Contestant
  readonly peakMemory: () => number
  readonly close: () => Promise<void>
}

/** Starts the `contest` of a benchmark's module with options. */
export const startProcess = (module: string, options: unknown): Process => {
  const child = fork(new URL("./contestant.ts", import.meta.url), [module, JSON.stringify(options)], {
    stdio: ["ignore", 2, 2, "ipc"]
  })
  let peakMemory = 0
  return {
    contestant: (name) => ({
      name,
      run: async () => {
        child.send(name)
        const reply = await nextReply(child, module)
        if (!reply.ok) throw new Error(`${module}, ${name}: ${reply.error}`)
        peakMemory = Math.max(peakMemory, reply.peakMemory)
        return reply.measurement
      }
    }),
    peakMemory: () => peakMemory,
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, "exit")
      child.disconnect()
      await exited
    }
  }
}

const nextReply = async (child: ChildProcess, module: string): Promise<Reply> => {
  const ended = new AbortController()
  try {
    return await Promise.race([
      once(child, "message", { signal: ended.signal }).then(([reply]) => reply as Reply),
      once(child, "exit", { signal: ended.signal }).then(([code]) => ({
        ok: false as const,
        error: `the process of ${module} ended with ${code}`
      }))
    ])
  } finally {
    ended.abort()
  }
}

/** Runs all contestants in turn, `runs` times after a warm-up. Gives each one's measurements, round by round. */
export const interleave = async (
  setting: Setting,
  benchmark: string,
  contestants: ReadonlyArray<Contestant>,
  reset: () => Promise<void>
): Promise<ReadonlyMap<string, ReadonlyArray<Measurement>>> => {
  const results = new Map(contestants.map(({ name }): [string, Array<Measurement>] => [name, []]))
  for (let round = 0; round <= setting.runs; round++) {
    for (const contestant of contestants) {
      await reset()
      const measurement = await contestant.run()
      const label = round === 0 ? "warm-up" : `${round} of ${setting.runs}`
      setting.progress(`${benchmark} ${label}: ${contestant.name} ${measurement.millis.toFixed(0)} ms`)
      if (round > 0) results.get(contestant.name)!.push(measurement)
    }
  }
  return results
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const millisOf = (measurements: ReadonlyArray<Measurement>): ReadonlyArray<number> =>
  measurements.map(({ millis }) => millis)

/** Ours ÷ peer in speed, round by round. */
export const speedRatios = (
  ours: ReadonlyArray<Measurement>,
  peer: ReadonlyArray<Measurement>
): ReadonlyArray<number> => ours.map(({ millis }, round) => peer[round]!.millis / millis)

/** Median throughput in words: `118k rows/s`. */
export const rate = (measurements: ReadonlyArray<Measurement>, count: number, unit = "rows"): string => {
  const perSecond = (count / median(millisOf(measurements))) * 1000
  return `${perSecond >= 10_000 ? `${(perSecond / 1000).toFixed(0)}k` : perSecond.toFixed(0)} ${unit}/s`
}

const ratioCells = ({ ratios }: Row): ReadonlyArray<string> =>
  ratios.length === 0
    ? ["", ""]
    : [median(ratios).toFixed(2), `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`]

/** The table in Markdown. */
export const toMarkdown = (rows: ReadonlyArray<Row>): string => {
  const head = ["name", "case", "ours", "peer", "ratio", "min–max", "aim", "peak memory"]
  const lines = rows.map((row) => [
    row.benchmark,
    row.case,
    row.ours,
    row.peer,
    ...ratioCells(row),
    row.aim,
    row.peakMemory === undefined ? "" : `${(row.peakMemory / 1e6).toFixed(0)} MB`
  ])
  return [head, head.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |\n`).join("")
}

/** The table as data. */
export const toJson = (rows: ReadonlyArray<Row>): string =>
  `${JSON.stringify(
    {
      schema: 1,
      rows: rows.map((row) => ({
        ...row,
        ...(row.ratios.length === 0
          ? {}
          : { median: median(row.ratios), min: Math.min(...row.ratios), max: Math.max(...row.ratios) })
      }))
    },
    null,
    2
  )}\n`
