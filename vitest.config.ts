import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const report = process.env["EFFECT_USAGE_TEST_REPORT"]

/** Files that take longest, most of it waiting for processes: they begin first, so that none is left over at the end. */
const longest = [
  "oracle",
  "examples",
  "seedScripts",
  "faults",
  "Eraser",
  "settings",
  "process",
  "bench",
  "Inbox",
  "Ownership",
  "Aggregator",
  "shutdown",
  "Archiver",
  "Embedded",
  "outage",
  "shellInit",
  "package"
]

class LongestFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const place = ({ moduleId }: TestSpecification) => {
      const found = longest.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      return found < 0 ? longest.length : found
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Hundreds of runs of one history, each under another setting: `npm run test:settings`.
    exclude: process.env["EFFECT_USAGE_SETTINGS"] === "all" ? [] : ["test/settingsMatrix.test.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    // What AWS's client would find on this machine, or ask its network for.
    env: {
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      AWS_EC2_METADATA_DISABLED: "true"
    },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // Embedded databases of tests live for seconds: optimising their WebAssembly takes longer than it saves.
    execArgv: ["--liftoff-only"],
    // On two cores: while one of them waits, the others work.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]]
  }
})
