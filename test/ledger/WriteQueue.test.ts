import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { QuotaLedger } from "../../src/quota/QuotaLedger.ts"
import { GracePeriod, Shutdown } from "../../src/system/Shutdown.ts"
import * as WriteQueue from "../../src/ledger/WriteQueue.ts"
import type { QueueOptions } from "../../src/ledger/QueueOptions.ts"
import { busy, FakeStore, named, names, refusedData, unreachable } from "../support/FakeStore.ts"
import { random, runSeed } from "../support/random.ts"

const make = (store: FakeStore, options: Partial<QueueOptions> = {}) =>
  WriteQueue.make(store.service, {
    source: "test",
    capacity: 100,
    size: 10,
    linger: Duration.seconds(5),
    writers: 1,
    ahead: 1,
    retry: Schedule.spaced("1 second"),
    isRetryable: (error) => error.reason._tag !== "Refused",
    ...options
  }).pipe(
    Effect.provide([Layer.fresh(Shutdown.layer), QuotaLedger.layer]),
    // Three quarters of it are for storing.
    Effect.provideService(GracePeriod, Duration.seconds(40))
  )

/** A queue whose scope the test closes. */
const makeClosable = Effect.fnUntraced(function* (store: FakeStore, options: Partial<QueueOptions> = {}) {
  const scope = yield* Scope.make()
  const queue = yield* Scope.provide(make(store, options), scope)
  return { queue, close: Scope.close(scope, Exit.void) }
})

/** Lets every fiber run as far as it gets. */
const settle = TestClock.adjust(0).pipe(Effect.andThen(Effect.yieldNow), Effect.repeat({ times: 30 }))

const offer = (queue: WriteQueue.WriteQueue, which: ReadonlyArray<string>) => {
  for (const name of which) assert.strictEqual(queue.offerUnsafe(named(name)), "accepted")
}

describe("WriteQueue: when a batch is written", () => {
  it.effect("as soon as it is full", () =>
    Effect.gen(function* () {
      const store = new FakeStore()
      const queue = yield* make(store)
      offer(queue, names(9))
      yield* settle
      assert.strictEqual(store.batches.length, 0)
      offer(queue, ["last"])
      yield* settle
      assert.deepStrictEqual(store.stored, [...names(9), "last"])
    })
  )

  it.effect("when its time is up, counted from its first record", () =>
    Effect.gen(function* () {
      const store = new FakeStore()
      const queue = yield* make(store)
      offer(queue, ["a"])
      yield* TestClock.adjust("3 seconds")
      offer(queue, ["b"])
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(store.stored, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(store.stored, ["a", "b"])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(store.batches.length, 1)
    })
  )

  it.effect("a clock that jumps an hour, back or forth, changes neither order nor batches", () =>
    Effect.gen(function* () {
      const store = new FakeStore()
      const queue = yield* make(store)
      yield* TestClock.setTime(Date.UTC(2026, 0, 30, 12))
      offer(queue, ["a"])
      yield* settle
      yield* TestClock.setTime(Date.UTC(2026, 0, 30, 11))
      offer(queue, ["b"])
      yield* TestClock.setTime(Date.UTC(2026, 0, 30, 13))
      yield* settle
      offer(queue, ["c"])
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.deepStrictEqual(store.stored, ["a", "b", "c"])
      yield* TestClock.setTime(Date.UTC(2026, 0, 30, 12))
      offer(queue, names(10))
      yield* settle
      assert.deepStrictEqual(store.stored, ["a", "b", "c", ...names(10)])
    })
  )

  it.effect("full or late, whichever is first, again and again", () =>
    Effect.gen(function* () {
      const store = new FakeStore()
      const queue = yield* make(store)
      offer(queue, names(25))
      yield* settle
      assert.deepStrictEqual(
        store.batches.map((_) => _.records.length),
        [10, 10]
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        store.batches.map((_) => _.records.length),
        [10, 10, 5]
      )
      assert.deepStrictEqual(store.stored, names(25))
    })
  )

  it.effect("at once for callers that wait, who share what gathers meanwhile", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { linger: Duration.zero, ahead: 0 })
      const callers = yield* Effect.forEach(names(5), (name) => Effect.forkChild(queue.store([named(name)])))
      yield* settle
      yield* gate.open
      yield* Fiber.joinAll(callers)
      assert.isAtMost(store.batches.length, 2)
      assert.deepStrictEqual(store.stored, names(5))
    })
  )
})

describe("WriteQueue.flush", () => {
  it.effect("writes now, and returns when everything before it is stored", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store)
      offer(queue, names(13))
      const flush = yield* Effect.forkChild(queue.flush)
      yield* settle
      offer(queue, ["later"])
      yield* settle
      assert.isUndefined(flush.pollUnsafe())
      yield* gate.open
      yield* Fiber.join(flush)
      assert.deepStrictEqual(store.stored, names(13))
    })
  )

  it.effect("returns at once when there is nothing to do", () =>
    Effect.gen(function* () {
      const queue = yield* make(new FakeStore())
      yield* queue.flush
      yield* queue.flush
    })
  )

  it.effect("waits for retries, however long they take", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) => (attempt.number < 100 ? Effect.fail(unreachable) : attempt.commit))
      const queue = yield* make(store)
      offer(queue, names(3))
      const flush = yield* Effect.forkChild(queue.flush)
      yield* TestClock.adjust("98 seconds")
      assert.isUndefined(flush.pollUnsafe())
      assert.strictEqual(queue.state().lastError, unreachable)
      assert.strictEqual(queue.state().flushingSince, 0)
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(flush)
      assert.deepStrictEqual(store.stored, names(3))
      assert.isUndefined(queue.state().lastError)
      assert.isUndefined(queue.state().flushingSince)
      assert.strictEqual(queue.state().lastFlush, 99_000)
    })
  )

  it.effect("fails when something before it could not be stored, once", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) =>
        attempt.batch.records.some((_) => _.customer === "bad") ? Effect.fail(refusedData) : attempt.commit
      )
      const queue = yield* make(store)
      offer(queue, ["a", "bad", "b"])
      assert.strictEqual(yield* Effect.flip(queue.flush), refusedData)
      assert.sameMembers(store.stored, ["a", "b"])
      yield* queue.flush
    })
  )

  it.effect("tells of a failure that happened before it was called", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) =>
        attempt.batch.records.some((_) => _.customer === "bad") ? Effect.fail(refusedData) : attempt.commit
      )
      const queue = yield* make(store)
      offer(queue, ["bad"])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(queue.state().failed, 1)
      assert.strictEqual(yield* Effect.flip(queue.flush), refusedData)
      yield* queue.flush
      // A waiting caller is told directly.
      const caller = yield* Effect.forkChild(Effect.flip(queue.store([named("bad")])))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(caller), refusedData)
      yield* queue.flush
    })
  )

  it.effect("many at once all wait for what was before them", () =>
    Effect.gen(function* () {
      const gates = [yield* Latch.make(false), yield* Latch.make(false)]
      let writes = 0
      const store = new FakeStore((attempt) => Effect.andThen(gates[writes++]!.await, attempt.commit))
      const queue = yield* make(store, { writers: 2 })
      offer(queue, ["a"])
      const first = yield* Effect.forkChild(queue.flush)
      yield* settle
      offer(queue, ["b"])
      const second = yield* Effect.forkChild(queue.flush)
      yield* settle
      // The second batch is stored before the first one, and its flush covers both.
      yield* gates[1]!.open
      yield* settle
      assert.deepStrictEqual(store.stored, ["b"])
      assert.isUndefined(first.pollUnsafe())
      assert.isUndefined(second.pollUnsafe())
      yield* gates[0]!.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)
    })
  )

  it.effect("an interrupted one leaves the others and the gathering as they were", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { capacity: 10 })
      offer(queue, names(10))
      yield* settle
      offer(queue, names(10, "s"))
      yield* settle
      offer(queue, names(10, "t"))
      // The queue is full: these wait for room, and then no longer.
      const waiting = yield* Effect.forEach(names(3), () => Effect.forkChild(queue.flush))
      yield* settle
      yield* Fiber.interruptAll(waiting)
      yield* gate.open
      yield* settle
      assert.strictEqual(store.stored.length, 30)
      const before = store.batches.length
      offer(queue, ["alone"])
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(store.batches.length, before)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(store.batches.length, before + 1)
    })
  )
})

describe("WriteQueue: bounds", () => {
  it.effect("holds no more than its capacity, and says so", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { capacity: 20 })
      let accepted = 0
      for (let i = 0; i < 200; i++) {
        if (queue.offerUnsafe(named(`r${i}`)) === "accepted") accepted++
        yield* settle
      }
      // One batch is being written and one is encoded ahead of it.
      assert.strictEqual(accepted, 40)
      assert.strictEqual(queue.offerUnsafe(named("more")), "full")
      assert.isFalse(queue.hasRoom(1))
      const { inFlight, queued } = queue.state()
      assert.deepStrictEqual([queued, inFlight], [20, 20])
      yield* gate.open
      yield* settle
      assert.strictEqual(queue.offerUnsafe(named("more")), "accepted")
    })
  )

  it.effect("tells of room as soon as there is enough, and at the end", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const { close, queue } = yield* makeClosable(store, { capacity: 10 })
      for (const batch of ["a", "b", "c"]) {
        offer(queue, names(10, batch))
        yield* settle
      }
      const one = yield* Effect.forkChild(queue.awaitRoom(1))
      const more = yield* Effect.forkChild(queue.awaitRoom(11))
      yield* settle
      assert.deepStrictEqual([one.pollUnsafe(), more.pollUnsafe(), queue.hasRoom(1)], [undefined, undefined, false])
      yield* gate.open
      yield* settle
      assert.isDefined(one.pollUnsafe())
      assert.deepStrictEqual([queue.hasRoom(10), queue.hasRoom(11), more.pollUnsafe()], [true, false, undefined])
      yield* close
      yield* Fiber.join(more)
    })
  )

  it.effect("offerAll waits for room and keeps the order", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { capacity: 10 })
      const all = yield* Effect.forkChild(queue.offerAll(names(1000).map(named)))
      yield* settle
      assert.isUndefined(all.pollUnsafe())
      yield* gate.open
      assert.isTrue(yield* Fiber.join(all))
      yield* queue.flush
      assert.deepStrictEqual(store.stored, names(1000))
      assert.deepStrictEqual(queue.state(), {
        queued: 0,
        inFlight: 0,
        committed: 1000,
        failed: 0,
        lost: 0,
        lastError: undefined,
        lastFlush: 0,
        flushingSince: undefined
      })
    })
  )

  it.effect("an interrupted offerAll has queued a first part, and counts it right", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { capacity: 10 })
      const all = yield* Effect.forkChild(queue.offerAll(names(100).map(named)))
      yield* settle
      yield* Fiber.interrupt(all)
      yield* gate.open
      yield* queue.flush
      assert.deepStrictEqual(store.stored, names(store.stored.length))
      assert.strictEqual(queue.state().committed, store.stored.length)
      assert.deepStrictEqual([queue.state().queued, queue.state().inFlight], [0, 0])
    })
  )
})

describe("WriteQueue: failures", () => {
  it.effect("a batch is tried again with its key and its content", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) => {
        if (attempt.number < 4) return Effect.fail(attempt.number % 2 === 0 ? busy : unreachable)
        // The answer to this commit is lost.
        if (attempt.number === 4) return Effect.andThen(attempt.commit, Effect.fail(unreachable))
        return attempt.commit
      })
      const queue = yield* make(store)
      offer(queue, names(3))
      yield* TestClock.adjust("5 seconds")
      offer(queue, ["later"])
      yield* TestClock.adjust("20 seconds")
      const first = store.attempts.filter((_) => _.key === store.attempts[0]!.key)
      assert.strictEqual(first.length, 5)
      for (const attempt of first) assert.strictEqual(attempt.records, first[0]!.records)
      assert.deepStrictEqual(store.stored, [...names(3), "later"])
      assert.strictEqual(new Set(store.batches.map((_) => _.key)).size, store.batches.length)
    })
  )

  it.effect("what is not worth another try fails its callers, and the next batch goes on", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) =>
        attempt.batch.records.some((_) => _.customer === "bad") ? Effect.fail(unreachable) : attempt.commit
      )
      const queue = yield* make(store, { isRetryable: () => false, linger: Duration.zero })
      assert.strictEqual(yield* Effect.flip(queue.store([named("bad")])), unreachable)
      yield* queue.store([named("good")])
      assert.deepStrictEqual(store.stored, ["good"])
      assert.strictEqual(store.attempts.length, 2)
    })
  )

  it.effect("retries end when their time is up", () =>
    Effect.gen(function* () {
      const store = new FakeStore(() => Effect.fail(unreachable))
      const queue = yield* make(store, {
        linger: Duration.zero,
        retry: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "10 seconds" }))
      })
      const caller = yield* Effect.forkChild(Effect.flip(queue.store([named("a")])))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* Fiber.join(caller), unreachable)
      assert.isAtMost(store.attempts.length, 12)
      assert.deepStrictEqual(queue.state(), {
        queued: 0,
        inFlight: 0,
        committed: 0,
        failed: 1,
        lost: 0,
        lastError: undefined,
        lastFlush: undefined,
        flushingSince: undefined
      })
    })
  )

  it.effect("what is lost is logged with where and how much, as fields", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const queue = yield* make(new FakeStore(() => Effect.fail(refusedData))).pipe(
        Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => void lines.push(line))]))
      )
      offer(queue, ["a"])
      yield* Effect.flip(queue.flush)
      assert.deepStrictEqual(
        lines.map((line) => JSON.parse(line)).map(({ annotations, level }) => ({ level, annotations })),
        [{ level: "ERROR", annotations: { source: "test", records: 1, reason: "Refused" } }]
      )
    })
  )

  it.effect("of refused data only the culprit fails, in few attempts", () =>
    Effect.gen(function* () {
      const isBad = (name: string) => name === "r617"
      const store = new FakeStore((attempt) =>
        attempt.batch.records.some((_) => isBad(_.customer)) ? Effect.fail(refusedData) : attempt.commit
      )
      const queue = yield* make(store, { capacity: 1_000, size: 1_000, linger: Duration.zero })
      const exits = yield* Effect.forEach(names(1_000), (name) => Effect.exit(queue.store([named(name)])), {
        concurrency: "unbounded"
      })
      exits.forEach((exit, i) => assert.strictEqual(Exit.isFailure(exit), isBad(`r${i}`)))
      assert.sameMembers(
        store.stored,
        names(1_000).filter((name) => !isBad(name))
      )
      // The first batch may hold fewer, so two batches can be the most; each halving is two attempts.
      assert.isAtMost(store.attempts.length, 2 + 2 * 10)
      assert.deepStrictEqual([queue.state().committed, queue.state().failed], [999, 1])
    })
  )

  it.effect("records of one caller stay together when their batch is halved", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) =>
        Effect.andThen(
          gate.await,
          attempt.batch.records.some((_) => _.customer === "bad") ? Effect.fail(refusedData) : attempt.commit
        )
      )
      const queue = yield* make(store, { linger: Duration.zero, ahead: 0 })
      const blocker = yield* Effect.forkChild(queue.store([named("first")]))
      yield* settle
      const groups = [["a1", "a2"], ["b1", "bad", "b2"], ["c1"], ["d1", "d2", "d3"]]
      const callers = yield* Effect.forEach(groups, (group) => Effect.forkChild(queue.store(group.map(named))))
      yield* settle
      yield* gate.open
      yield* Fiber.join(blocker)
      const exits = yield* Effect.forEach(callers, Fiber.await)
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true, true])
      assert.sameMembers(store.stored, ["first", "a1", "a2", "c1", "d1", "d2", "d3"])
    })
  )

  it.effect("a bug below is an error for those who wait, and the queue lives on", () =>
    Effect.gen(function* () {
      let broken = true
      const store = new FakeStore((attempt) => (broken ? Effect.die(new Error("a bug")) : attempt.commit))
      const queue = yield* make(store, { linger: Duration.zero, isRetryable: (error) => error.isRetryable })
      assert.match((yield* Effect.flip(queue.store([named("a")]))).message, /a bug/)
      broken = false
      yield* queue.store([named("b")])
      assert.deepStrictEqual(store.stored, ["b"])
    })
  )

  it.effect("a failure to encode is tried again like a failure to write", () =>
    Effect.gen(function* () {
      let down = true
      const store = new FakeStore(
        undefined,
        Effect.suspend(() => (down ? Effect.fail(unreachable) : Effect.void))
      )
      const queue = yield* make(store, { linger: Duration.zero })
      const caller = yield* Effect.forkChild(queue.store([named("a")]))
      yield* TestClock.adjust("10 seconds")
      assert.isUndefined(caller.pollUnsafe())
      down = false
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(caller)
      assert.deepStrictEqual(store.stored, ["a"])
    })
  )
})

describe("WriteQueue: interrupted callers", () => {
  it.effect("before it is taken or after, a record is stored at most once and counted right", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const queue = yield* make(store, { linger: Duration.zero, capacity: 3, size: 3, ahead: 0 })
      const callers = yield* Effect.forEach(names(20), (name) => Effect.forkChild(queue.store([named(name)])))
      yield* settle
      yield* Fiber.interruptAll(callers)
      yield* gate.open
      yield* queue.flush
      assert.strictEqual(new Set(store.stored).size, store.stored.length)
      // Three were in flight, at most three in the queue; those who waited for room never got in.
      assert.isAtMost(store.stored.length, 6)
      const state = queue.state()
      assert.deepStrictEqual([state.queued, state.inFlight, state.committed], [0, 0, store.stored.length])
    })
  )
})

describe("WriteQueue: closing", () => {
  it.effect("drains everything that was accepted, callers who waited for room included", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const { close, queue } = yield* makeClosable(store, { capacity: 10 })
      offer(queue, names(10))
      yield* settle
      const callers = yield* Effect.forEach(names(40, "c"), (name) =>
        Effect.forkChild(Effect.map(queue.store([named(name)]), (appended) => (appended === undefined ? [] : [name])))
      )
      yield* settle
      const closing = yield* Effect.forkChild(close)
      yield* settle
      assert.isUndefined(closing.pollUnsafe())
      assert.strictEqual(queue.offerUnsafe(named("late")), "closed")
      assert.isFalse(yield* queue.offerAll([named("late")]))
      assert.isUndefined(yield* queue.store([named("late")]))
      yield* gate.open
      yield* Fiber.join(closing)
      const acknowledged = (yield* Fiber.joinAll(callers)).flat()
      assert.sameMembers(store.stored, [...names(10), ...acknowledged])
      assert.isAtLeast(acknowledged.length, 10)
    })
  )

  it.effect("writes what is queued without waiting for its time", () =>
    Effect.gen(function* () {
      const store = new FakeStore()
      const { close, queue } = yield* makeClosable(store)
      offer(queue, ["a"])
      yield* settle
      yield* close
      assert.deepStrictEqual(store.stored, ["a"])
    })
  )

  it.effect("a flush during the closing returns when all is stored", () =>
    Effect.gen(function* () {
      const gate = yield* Latch.make(false)
      const store = new FakeStore((attempt) => Effect.andThen(gate.await, attempt.commit))
      const { close, queue } = yield* makeClosable(store)
      offer(queue, names(25))
      const closing = yield* Effect.forkChild(close)
      yield* settle
      const flush = yield* Effect.forkChild(queue.flush)
      yield* settle
      assert.isUndefined(flush.pollUnsafe())
      yield* gate.open
      yield* Fiber.join(flush)
      assert.strictEqual(store.stored.length, 25)
      yield* Fiber.join(closing)
      yield* queue.flush
    })
  )

  it.effect("ends at its deadline when the database never comes back, and leaves nobody waiting", () =>
    Effect.gen(function* () {
      const store = new FakeStore(() => Effect.fail(unreachable))
      const { close, queue } = yield* makeClosable(store, { capacity: 5, size: 5 })
      const waiting: Array<Fiber.Fiber<unknown, unknown>> = [
        ...(yield* Effect.forEach(names(30), (name) => Effect.forkChild(queue.store([named(name)])))),
        yield* Effect.forkChild(queue.flush),
        yield* Effect.forkChild(queue.offerAll(names(50, "o").map(named)))
      ]
      yield* TestClock.adjust("1 minute")
      for (const fiber of waiting) assert.isUndefined(fiber.pollUnsafe())
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 seconds")
      yield* settle
      assert.isDefined(closing.pollUnsafe())
      for (const fiber of waiting) {
        const exit = fiber.pollUnsafe()
        assert.isDefined(exit)
        // A caller is told: by an error, or by the answer that the queue is closed.
        if (exit?._tag === "Success") assert.include([undefined, false], exit.value)
      }
      assert.isTrue(Exit.isFailure(yield* Effect.exit(queue.flush)))
      assert.deepStrictEqual(store.stored, [])
      assert.deepStrictEqual([queue.state().queued, queue.state().inFlight], [0, 0])
    })
  )

  it.effect("ends at its deadline when encoding hangs", () =>
    Effect.gen(function* () {
      const { close, queue } = yield* makeClosable(new FakeStore(undefined, Effect.never), { linger: Duration.zero })
      const caller = yield* Effect.forkChild(queue.store([named("a")]))
      yield* settle
      const behind = yield* Effect.forkChild(queue.store([named("b")]))
      yield* settle
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("30 seconds")
      yield* settle
      assert.isDefined(closing.pollUnsafe())
      assert.isTrue(Exit.isFailure(yield* Fiber.await(caller)))
      assert.isTrue(Exit.isFailure(yield* Fiber.await(behind)))
    })
  )

  it.effect("tells the truth about an attempt that commits after the deadline", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const store = new FakeStore((attempt) => Effect.andThen(Deferred.await(gate), attempt.commit))
      const { close, queue } = yield* makeClosable(store, { linger: Duration.zero })
      const caller = yield* Effect.forkChild(queue.store([named("a")]))
      yield* settle
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("31 seconds")
      assert.isUndefined(caller.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      assert.isDefined(yield* Fiber.join(caller))
      yield* Fiber.join(closing)
      assert.deepStrictEqual(store.stored, ["a"])
    })
  )
})

describe("WriteQueue: closing in the middle of a batch", () => {
  it.effect("fails what of it is not settled, and counts that once", () =>
    Effect.gen(function* () {
      const store = new FakeStore((attempt) => {
        if (attempt.batch.records.length > 3) return Effect.fail(refusedData)
        return attempt.batch.records[0]!.customer === "hangs" ? Effect.never : attempt.commit
      })
      const { close, queue } = yield* makeClosable(store)
      const stored = yield* Effect.forkChild(queue.store(names(3).map(named)))
      yield* settle
      const hanging = yield* Effect.forkChild(queue.store(["hangs"].map(named)))
      yield* settle
      yield* Effect.forkChild(Effect.ignore(queue.flush))
      yield* settle
      yield* Fiber.join(stored)
      const closing = yield* Effect.forkChild(close)
      yield* TestClock.adjust("40 seconds")
      yield* settle
      yield* Fiber.join(closing)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(hanging)))
      const { committed, failed, inFlight, lost } = queue.state()
      assert.deepStrictEqual({ committed, failed, inFlight, lost }, { committed: 3, failed: 1, inFlight: 0, lost: 0 })
    })
  )
})

describe("WriteQueue: closing where batches can be set aside", () => {
  const start = Effect.fnUntraced(function* (store: FakeStore, takes: boolean) {
    const aside: Array<string> = []
    const logged: Array<string> = []
    const logger = Logger.make(({ message }) => void logged.push(String(message)))
    const { close, queue } = yield* makeClosable(store, {
      setAside: ({ records }) =>
        takes ? Effect.sync(() => aside.push(...records.map((_) => _.customer))) : Effect.fail("no space")
    }).pipe(Effect.provide(Logger.layer([logger])))
    offer(queue, names(25))
    return { aside, logged, queue, closing: yield* Effect.forkChild(close) }
  })

  it.effect("each is at its first failure, and one line says so", () =>
    Effect.gen(function* () {
      const store = new FakeStore(() => Effect.fail(unreachable))
      const { aside, closing, logged, queue } = yield* start(store, true)
      yield* settle
      assert.isDefined(closing.pollUnsafe())
      assert.deepStrictEqual(aside, names(25))
      // Closing wakes the one that waited to be tried again.
      assert.strictEqual(store.attempts.length, 4)
      assert.strictEqual(logged.length, 1)
      assert.match(logged[0]!, /^25 usage records are left in the spool/)
      assert.strictEqual(queue.state().lost, 0)
    })
  )

  it.effect("all are after two seconds of silence, and an answer after that changes nothing", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const store = new FakeStore((attempt) => Effect.andThen(Deferred.await(gate), attempt.commit))
      const { aside, closing, queue } = yield* start(store, true)
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.isDefined(closing.pollUnsafe())
      assert.deepStrictEqual(aside, names(25))
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      const { committed, inFlight, lost, queued } = queue.state()
      assert.deepStrictEqual([committed, inFlight, lost, queued], [25, 0, 0, 0])
    })
  )

  it.effect("where that fails, the database is tried until the deadline, and one line says what is lost", () =>
    Effect.gen(function* () {
      let isBack = false
      const store = new FakeStore((attempt) => (isBack ? attempt.commit : Effect.fail(unreachable)))
      const back = yield* start(store, false)
      yield* TestClock.adjust("1 second")
      isBack = true
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(back.closing)
      assert.deepStrictEqual([store.stored.length, back.logged, back.queue.state().lost], [25, [], 0])

      const { closing, logged, queue } = yield* start(new FakeStore(() => Effect.fail(unreachable)), false)
      yield* TestClock.adjust("30 seconds")
      yield* settle
      yield* Fiber.join(closing)
      assert.strictEqual(logged.length, 1)
      assert.match(logged[0]!, /^25 usage records were not stored .*no space/)
      const { failed, lastError, lost } = queue.state()
      assert.deepStrictEqual([failed, lost, lastError], [25, 25, unreachable])
    })
  )
})

describe("WriteQueue: any order of events", () => {
  const seed = runSeed()
  // Each runs in milliseconds, since nothing waits for a clock.
  const runs = Array.from({ length: 80 }, (_, i) => seed + i)

  it.effect.each(runs)("acknowledged is stored, once (seed %s)", (seed) =>
    Effect.gen(function* () {
      const { chance, int, pick } = random(seed)
      const bad = new Set<string>()
      const store = new FakeStore((attempt) =>
        Effect.gen(function* () {
          if (chance(0.5)) yield* Effect.sleep(Duration.millis(int(300)))
          if (attempt.batch.records.some((_) => bad.has(_.customer))) return yield* refusedData
          if (chance(0.2)) return yield* pick([unreachable, busy])
          const appended = yield* attempt.commit
          if (chance(0.1)) return yield* unreachable
          return appended
        })
      )
      const { close, queue } = yield* makeClosable(store, {
        capacity: 1 + int(30),
        size: 1 + int(12),
        linger: Duration.millis(pick([0, 0, 50, 1000])),
        writers: 1 + int(3),
        ahead: int(2),
        retry: Schedule.spaced("50 millis")
      })
      const acknowledged: Array<string> = []
      const offered: Array<string> = []
      const flushed: Array<{ readonly before: ReadonlyArray<string>; readonly exit: Exit.Exit<void, unknown> }> = []
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      const queuedNames: Array<string> = []
      let next = 0
      const fresh = (): string => {
        const name = `r${next++}`
        if (chance(0.04)) bad.add(name)
        offered.push(name)
        return name
      }
      for (let step = 0; step < 120; step++) {
        const choice = int(100)
        if (choice < 45) {
          const group = Array.from({ length: 1 + int(3) }, fresh)
          fibers.push(
            yield* Effect.forkChild(
              Effect.map(queue.store(group.map(named)), (appended) => {
                if (appended !== undefined) acknowledged.push(...group)
              })
            )
          )
        } else if (choice < 60) {
          const name = fresh()
          if (queue.offerUnsafe(named(name)) === "accepted") queuedNames.push(name)
        } else if (choice < 65) {
          const list = Array.from({ length: int(40) }, fresh)
          fibers.push(
            yield* Effect.forkChild(
              Effect.map(queue.offerAll(list.map(named)), (all) => {
                if (all) queuedNames.push(...list)
              })
            )
          )
        } else if (choice < 72) {
          const before = [...queuedNames]
          fibers.push(
            yield* Effect.forkChild(Effect.map(Effect.exit(queue.flush), (exit) => flushed.push({ before, exit })))
          )
        } else if (choice < 82 && fibers.length > 0) {
          yield* Effect.forkChild(Fiber.interrupt(pick(fibers)))
        } else if (choice < 92) {
          yield* TestClock.adjust(Duration.millis(int(200)))
        } else {
          yield* Effect.yieldNow
        }
        const { inFlight, queued } = queue.state()
        assert.isTrue(queued >= 0 && inFlight >= 0, `seed ${seed}: ${queued} queued, ${inFlight} in flight`)
      }
      const closing = yield* Effect.forkChild(close)
      // Long enough for every retry, shorter than the deadline for draining.
      for (let i = 0; i < 250; i++) yield* TestClock.adjust("100 millis")
      yield* Fiber.join(closing)
      for (const fiber of fibers) assert.isDefined(fiber.pollUnsafe(), `seed ${seed}: a caller still waits`)
      const stored = store.stored
      const once = new Set(stored)
      assert.strictEqual(once.size, stored.length, `seed ${seed}: stored twice`)
      for (const name of [...acknowledged, ...queuedNames.filter((name) => !bad.has(name))]) {
        assert.isTrue(once.has(name), `seed ${seed}: ${name} was acknowledged and is not there`)
      }
      for (const name of stored) assert.isFalse(bad.has(name))
      for (const { before, exit } of flushed) {
        if (Exit.isSuccess(exit)) for (const name of before) assert.isTrue(once.has(name) || bad.has(name))
      }
      const state = queue.state()
      assert.deepStrictEqual([state.queued, state.inFlight, state.committed], [0, 0, stored.length], `seed ${seed}`)
    })
  )
})
