/**
 * Two containers on one volume with one embedded database, killed and made anew at random, while both record: as an application
 * that embeds it, by `usage record`, and by `usage run`. `npm test` does it for seconds, `npm run test:faults` for five minutes; the
 * seed and the figures are printed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { canBeContained, contained } from "../../support/apart.ts"
import { type Child, childOf, scriptOf, temporaryDirectory } from "../../support/child.ts"
import { usage } from "../../support/cli.ts"
import { makeHome } from "../../support/copies.ts"
import { user } from "../../support/homes.ts"
import { random, runSeed } from "../../support/random.ts"
import { assertConsistent, assertExactlyOnce, storedCustomers } from "../../support/stored.ts"

const seconds = process.env["EFFECT_USAGE_KILLS"] === undefined ? 8 : 300
const launcher = fileURLToPath(new URL("../../../bin/usage.js", import.meta.url))
const ways = ["embedded", "record", "run"] as const
/** So many records one acknowledges at the most before it is killed: a command takes a second or two. */
const most = { embedded: 60, record: 2, run: 6 }

/** A process that records in one of the ways into the home at a path, and says what was acknowledged. */
const recording = (way: (typeof ways)[number], home: string, name: string): ReadonlyArray<string> =>
  way === "embedded"
    ? [process.execPath, scriptOf("recordForever.ts"), home, name]
    : ["env", `USAGE_HOME=${home}`, "sh", scriptOf("recordInShell.sh"), process.execPath, launcher, way, name]

describe.skipIf(!canBeContained)("containers that share a home", () => {
  const seed = runSeed()
  it.live(
    `killed at random for ${seconds} s (seed ${seed}): what was acknowledged is stored once, and all is well`,
    () =>
      Effect.gen(function* () {
        const root = yield* temporaryDirectory
        const volume = makeHome(join(root, "volume"))
        const chance = random(seed)
        const acknowledged: Array<string> = []
        const byWay = new Map<string, number>()
        let kills = 0
        let endings = 0
        /** One of the two places for a container, in which one follows another until the time is over. */
        const place = Effect.fnUntraced(function* (index: number, until: number) {
          const at = join(root, `mounted-${index}`)
          mkdirSync(at)
          while (performance.now() < until) {
            const way = index + kills === 1 ? "embedded" : chance.pick(ways)
            const name = `${way}-${index}-${kills + endings}`
            // Half of the time both have one host name, as with the host's network.
            const host = chance.chance(0.5) ? "host" : `container-${name}`
            const scope = yield* Scope.make()
            const [command, ...args] = contained({ at, host, volume }, ...recording(way, at, name))
            const container: Child = yield* Scope.provide(childOf(command, args), scope)
            // Most are killed at work, some before they have come to it.
            const life = chance.chance(0.2)
              ? Effect.sleep(chance.int(1_500))
              : Effect.andThen(container.atLeast(1 + chance.int(most[way])), Effect.sleep(chance.int(700)))
            yield* life
            if (container.process.exitCode === null) kills++
            else endings++
            yield* Scope.close(scope, Exit.void)
            yield* container.end
            acknowledged.push(...container.lines)
            byWay.set(way, (byWay.get(way) ?? 0) + container.lines.length)
          }
        })
        const until = performance.now() + seconds * 1_000
        yield* Effect.all([place(1, until), place(2, until)], { concurrency: 2 })

        // What the commands could not bring into the database is in the spool.
        const flushed = yield* usage({ USAGE_HOME: volume }, "batch", "flush")
        assert.strictEqual(flushed.code, 0, flushed.stderr)
        const reader = yield* user(volume)
        const stored = yield* reader.use(storedCustomers())
        console.log(
          `${kills} kills, ${endings} ended by themselves, ${acknowledged.length} acknowledged (${[...byWay]
            .map(([way, count]) => `${way} ${count}`)
            .join(", ")}), ${stored.length} stored (seed ${seed})`
        )
        assertExactlyOnce(stored, acknowledged, "after the containers were killed")
        yield* reader.use(assertConsistent)
        yield* reader.leave
        const doctor = yield* usage({ USAGE_HOME: volume }, "doctor")
        assert.strictEqual(doctor.code, 0, doctor.stdout + doctor.stderr)
        assert.isAbove(acknowledged.length, 0)
        assert.strictEqual(endings, 0)
      }).pipe(Effect.scoped),
    { timeout: 60_000 + seconds * 1_500 }
  )
})
