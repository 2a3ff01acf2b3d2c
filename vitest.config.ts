import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

const report = process.env["EFFECT_USAGE_TEST_REPORT"]

/**
 * Vitest begins with the files that took longest, and on a fresh clone with the largest. One is small and takes long: at the end
 * it would be left over.
 */
class BenchFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const isBench = ({ moduleId }: TestSpecification) => Number(moduleId.endsWith("/bench.test.ts"))
    return (await super.sort(files)).sort((a, b) => isBench(b) - isBench(a))
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
    sequence: { sequencer: BenchFirst },
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]]
  }
})
