import { defineConfig } from "vitest/config"

const report = process.env["EFFECT_USAGE_TEST_REPORT"]

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/globalSetup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // Embedded databases of tests live for seconds: optimising their WebAssembly takes longer than it saves.
    execArgv: ["--liftoff-only"],
    maxWorkers: 2,
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]]
  }
})
