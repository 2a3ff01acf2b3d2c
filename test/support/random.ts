/** Pseudo-random numbers of a seed, so that a failure can be repeated: every test that uses them prints its seed. */

export interface Random {
  /** A whole number from 0 to `below - 1`. */
  readonly int: (below: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(from: ReadonlyArray<A>) => A
}

/** mulberry32 */
export const random = (seed: number): Random => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    int: (below) => Math.floor(next() * below),
    chance: (probability) => next() < probability,
    pick: (from) => from[Math.floor(next() * from.length)]!
  }
}

/** The seed of this run: `TEST_SEED` to repeat one, else another each time. */
export const runSeed = (): number => {
  const given = process.env["TEST_SEED"]
  return given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given)
}
