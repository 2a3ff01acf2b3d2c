import { assert, describe, it } from "@effect/vitest"
import * as BigDecimal from "effect/BigDecimal"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { Batcher } from "../../src/record/Batcher.ts"
import type { CustomerId } from "../../src/domain/CustomerId.ts"
import * as Decimal from "../../src/domain/Decimal.ts"
import type { Instant } from "../../src/domain/Instant.ts"
import { builtIns } from "../../src/domain/Service.ts"
import { Account, Ledger } from "../../src/quota/QuotaLedger.ts"
import { Meter } from "../../src/record/Meter.ts"
import { Quota } from "../../src/quota/Quota.ts"
import { Recorder } from "../../src/record/Recorder.ts"
import { type QuotaState, QuotaStateStore } from "../../src/quota/QuotaStateStore.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { DeadLetterStore } from "../../src/ledger/DeadLetterStore.ts"
import { UsageStore } from "../../src/ledger/UsageStore.ts"
import * as MemoryStores from "../../src/testing/MemoryStores.ts"
import { named, unreachable } from "../support/FakeStore.ts"
import { type Random, random, runSeed } from "../support/random.ts"

const dec = (text: string) => Decimal.fromDatabase(text)
const minute = 60_000

/** What is to be added to a reading that was asked for when `base` was settled. */
const pending = (account: Account, base = Decimal.zero) =>
  Decimal.toText(BigDecimal.sum(account.open, BigDecimal.subtract(account.taken, base)))

describe("QuotaLedger", () => {
  it("a record takes the place of a grant of its amount, else of the oldest", () => {
    const account = new Account()
    for (const amount of ["1", "5", "10"]) account.grant(dec(amount), 0)
    account.take(dec("10"))
    assert.deepStrictEqual([Decimal.toText(account.open), pending(account)], ["6", "16"])
    // More than was asked for: the one grant goes, what was used stays.
    account.take(dec("3"))
    assert.deepStrictEqual([Decimal.toText(account.open), pending(account)], ["5", "18"])
    // A part of what was asked for at once.
    for (let i = 0; i < 5; i++) account.take(Decimal.one)
    assert.deepStrictEqual([Decimal.toText(account.open), pending(account)], ["0", "18"])
    // Nobody was asked.
    account.take(dec("2"))
    assert.strictEqual(pending(account), "20")
  })

  it("what is settled is left out by the reading after it, what nobody knows the end of goes with time", () => {
    const account = new Account()
    account.grant(dec("4"), 0)
    account.take(dec("1"))
    account.take(dec("2"))
    const before = account.settled
    account.settle(dec("2"))
    assert.deepStrictEqual([pending(account, before), pending(account, account.settled)], ["4", "2"])
    account.reopen(dec("1"), 1_000)
    assert.strictEqual(pending(account, account.settled), "2")
    account.expire(minute - 1, minute)
    assert.isFalse(account.isDone)
    account.expire(minute + 1_000, minute)
    assert.deepStrictEqual([pending(account, account.settled), account.isDone], ["0", true])
  })

  it("grants are kept for as long as is said, and for ever only where nothing is read", () => {
    const account = new Account()
    for (let second = 0; second < 300; second++) {
      account.grant(Decimal.one, second * 1_000)
      account.expire(second * 1_000, minute)
      const open = Number(Decimal.toText(account.open))
      assert.isAtLeast(open, Math.min(second + 1, 60))
      assert.isAtMost(open, 122)
    }
    const silent = new Account()
    for (let second = 0; second < 300; second++) silent.grant(Decimal.one, second * 1_000)
    assert.strictEqual(Decimal.toText(silent.open), "300")
  })

  it("its memory is bounded, and its sums are exact, whatever is asked for and recorded", () => {
    const account = new Account()
    let sum = Decimal.zero
    for (let i = 1; i <= 3_000; i++) {
      const amount = dec(`0.${`${i}`.padStart(9, "0")}`)
      account.grant(amount, i)
      sum = BigDecimal.sum(sum, amount)
    }
    assert.strictEqual(Decimal.toText(account.open), Decimal.toText(sum))
    account.expire(0, minute)
    assert.strictEqual(Decimal.toText(account.open), Decimal.toText(sum))
  })

  it("follows whom a quota was asked for, and one record as often as it is queued", () => {
    const ledger = new Ledger()
    const [first, other] = [named("a"), named("a")]
    ledger.take(first)
    const account = ledger.open("a", "api")
    ledger.settle(ledger.claim([first]))
    assert.deepStrictEqual([pending(account), account.isDone], ["0", true])
    ledger.takeAll([other, other, named("b")])
    assert.strictEqual(pending(account), "2")
    ledger.settle(ledger.claim([other]))
    ledger.reopen(ledger.claim([other, other]), 0)
    assert.deepStrictEqual([pending(account, account.settled), Decimal.toText(account.open)], ["1", "1"])
  })

  it("what a queue does not take is as if it had never been offered", () => {
    const ledger = new Ledger()
    const account = ledger.open("a", "api")
    const stranger = named("a")
    ledger.take(stranger)
    ledger.withdraw([stranger], 0)
    assert.strictEqual(pending(account), "0")
    account.grant(dec("3"), 0)
    ledger.take(stranger)
    assert.strictEqual(pending(account), "3")
    ledger.withdraw([stranger, stranger], 0)
    assert.deepStrictEqual([pending(account), Decimal.toText(account.open)], ["3", "3"])
  })
})

/** A database in memory with one customer and a hard quota, on a network that delays, refuses and loses. */
const makeWorld = (chance: Random, limit: string) => {
  const memory = MemoryStores.make()
  const world = { memory, writable: true, readable: true }
  const delay = Effect.suspend(() => Effect.sleep(chance.int(400)))
  const usage: UsageStore["Service"] = {
    ...memory.usage,
    write: (encoded, companion) =>
      Effect.uninterruptible(
        Effect.gen(function* () {
          yield* delay
          if (!world.writable) return yield* unreachable
          const appended = yield* memory.usage.write(encoded, companion)
          yield* delay
          return chance.chance(0.1) ? yield* unreachable : appended
        })
      )
  }
  const states: QuotaStateStore["Service"]["states"] = Effect.fnUntraced(function* () {
    yield* delay
    while (!world.readable) yield* chance.chance(0.5) ? unreachable : Effect.sleep("1 second")
    const used = yield* usedIn(memory)
    yield* delay
    return [stateOf(used, limit)]
  })
  const stores = Layer.mergeAll(
    Layer.succeed(UsageStore, usage),
    Layer.succeed(CatalogStore, memory.catalogs),
    Layer.succeed(DeadLetterStore, memory.deadLetters),
    Layer.mock(QuotaStateStore)({ states })
  )
  const layer = Layer.mergeAll(
    Meter.layer(),
    Recorder.layerNoDeps(),
    Quota.layerNoDeps({ staleness: "2 seconds" })
  ).pipe(Layer.provideMerge(Batcher.layerNoDeps({ size: 10, timeout: "3 seconds" })), Layer.provide(stores))
  return { ...world, world, layer }
}

const usedIn = (memory: ReturnType<typeof MemoryStores.make>) =>
  Effect.map(memory.stored, (stored) =>
    stored.reduce((sum, { record }) => BigDecimal.sum(sum, dec(record.amount)), Decimal.zero)
  )

const start = Date.UTC(2026, 0, 15)

const stateOf = (used: Decimal.Decimal, limit: string): QuotaState => ({
  customer: "acme" as CustomerId,
  service: builtIns.api.name,
  unit: "requests",
  used,
  amount: used,
  unitSize: Decimal.one,
  limit: dec(limit),
  percent: 0n,
  level: undefined,
  period: { start: (Date.UTC(2026, 0) * 1_000) as Instant, end: (Date.UTC(2026, 1) * 1_000) as Instant },
  every: "month",
  basis: "sum",
  hard: true,
  overageUnitCost: undefined
})

/** Requests of one customer in a stormy minute and a half, and then until their quota is used up to the last bit. */
const storm = Effect.fnUntraced(function* (
  seed: number,
  more: { readonly forgotten?: number; readonly more?: boolean }
) {
  yield* TestClock.setTime(start)
  const chance = random(seed)
  const limit = 20 + chance.int(150)
  const { layer, memory, world } = makeWorld(chance, `${limit}`)
  const scope = yield* Scope.make()
  const services = yield* Layer.buildWithScope(layer, scope)
  const say = `seed ${seed}, limit ${limit}`
  let passed = Decimal.zero
  let longestWait = 0

  const record = Effect.fnUntraced(function* (quantity: string) {
    const usage = { customer: "acme", service: "api", quantity }
    const way = chance.int(3)
    if (way === 0) (yield* Meter).offer(builtIns.api, Result.succeed(usage), yield* Clock.currentTimeMillis)
    else yield* way === 1 ? (yield* Batcher).enqueue(usage) : (yield* Recorder).record(usage)
  })
  const request = Effect.fnUntraced(function* (quantity: string) {
    const asked = yield* Clock.currentTimeMillis
    const decision = yield* Effect.result((yield* Quota).enforce("acme", "api", quantity))
    longestWait = Math.max(longestWait, (yield* Clock.currentTimeMillis) - asked)
    if (decision._tag === "Failure") return false
    passed = BigDecimal.sum(passed, dec(quantity))
    yield* Effect.sleep(chance.int(5_000))
    if (more.forgotten !== undefined && chance.chance(more.forgotten)) return true
    yield* record(more.more === true && chance.chance(0.2) ? "2.5" : quantity)
    return true
  })
  const within = Effect.provide(services)
  const used = usedIn(memory)

  yield* Effect.forkChild(within(Effect.flatMap(Quota, (quota) => quota.check("acme", "api"))))
  yield* TestClock.adjust("1 second")
  for (let step = 0; step < 400; step++) {
    if (chance.chance(0.02)) world.writable = !world.writable
    if (chance.chance(0.02)) world.readable = !world.readable
    for (let count = chance.int(4); count > 0; count--) {
      yield* Effect.forkDetach(Effect.ignore(within(request(chance.pick(["1", "1", "1", "2", "0.5", "3.25"])))))
    }
    yield* TestClock.adjust(chance.int(400))
    if (more.forgotten === undefined && more.more !== true) assert.isAtMost(Number(Decimal.toText(passed)), limit, say)
    if (more.more !== true) assert.isAtMost(Number(Decimal.toText(yield* used)), limit, say)
  }
  world.writable = world.readable = true
  // All ends: what is on its way is stored, what was never recorded is given back, and a reading shows it.
  const calm = Effect.gen(function* () {
    for (let second = 0; second < 40; second++) {
      yield* Effect.forkDetach(within(Effect.ignore(Effect.flatMap(Quota, (quota) => quota.check("acme", "api")))))
      yield* TestClock.adjust("5 seconds")
    }
  })
  const end = { refusals: 0 }
  for (let tries = 0; end.refusals < 3 && tries < 2_000; tries++) {
    if (tries === 0 || end.refusals > 0) yield* calm
    yield* Effect.forkDetach(
      within(
        Effect.gen(function* () {
          const decision = yield* Effect.result((yield* Quota).enforce("acme", "api", "0.25"))
          end.refusals = decision._tag === "Success" ? 0 : end.refusals + 1
          if (decision._tag === "Success") yield* record("0.25")
        })
      )
    )
    yield* TestClock.adjust("10 millis")
  }
  yield* TestClock.adjust("1 minute")
  assert.isAtLeast(end.refusals, 3, say)
  assert.isAtMost(longestWait, 250, say)
  const total = Number(Decimal.toText(yield* used))
  if (more.more === true) assert.isAtLeast(total, limit, say)
  else assert.strictEqual(total, limit, say)
  yield* Effect.forkDetach(Scope.close(scope, Exit.void))
  yield* TestClock.adjust("1 minute")
  return { over: total - limit }
})

describe("a hard quota in a storm", () => {
  const seed = runSeed()
  const seeds = Array.from({ length: 12 }, (_, i) => seed + i)

  it.effect("lets exactly so much pass, and all of it, however its records are stored", () =>
    Effect.forEach(seeds, (_) => storm(_, {}), { discard: true })
  )

  it.effect("gives back what is let pass and never recorded", () =>
    Effect.forEach(seeds.slice(0, 4), (_) => storm(_, { forgotten: 0.3 }), { discard: true })
  )

  it.effect("is overstepped by what is used beyond what was asked for, and by no more", () =>
    Effect.forEach(
      seeds.slice(0, 4),
      (_) => Effect.map(storm(_, { more: true }), ({ over }) => assert.isAtMost(over, 60)),
      { discard: true }
    )
  )
})
