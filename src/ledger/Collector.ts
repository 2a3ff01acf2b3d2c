/**
 * The way into a `WriteQueue`: a bounded queue that knows when it holds enough for a batch.
 *
 * It counts what waits: records and callers of `flush`. Quotas are told of a record before it can be stored, and told again
 * if the queue did not take it.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import type { UsageRecord } from "../domain/UsageRecord.ts"
import type { Ledger } from "../quota/QuotaLedger.ts"
import type { QueueOptions } from "./QueueOptions.ts"
import { Group, isAwaited, type Item, Marker } from "./Waiting.ts"

export class Collector {
  readonly #queue: Queue.Queue<Item | Marker, Cause.Done>
  readonly #options: QueueOptions
  readonly #quotas: Ledger
  readonly #clock: Clock.Clock
  /** Opened to stop waiting for a batch to fill. */
  readonly #wake = Latch.makeUnsafe(false)
  /** Opened and replaced whenever something is taken, and on closing: so nobody misses it between looking and waiting. */
  #taken = Latch.makeUnsafe(false)
  #queued = 0
  #flushes = 0
  #isClosed = false

  private constructor(
    queue: Queue.Queue<Item | Marker, Cause.Done>,
    options: QueueOptions,
    quotas: Ledger,
    clock: Clock.Clock
  ) {
    this.#queue = queue
    this.#options = options
    this.#quotas = quotas
    this.#clock = clock
  }

  static make(options: QueueOptions, quotas: Ledger, clock: Clock.Clock): Effect.Effect<Collector> {
    return Effect.map(
      Queue.make<Item | Marker, Cause.Done>({ capacity: options.capacity }),
      (queue) => new Collector(queue, options, quotas, clock)
    )
  }

  /** Records that wait. */
  get queued(): number {
    return this.#queued
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Free places. */
  get room(): number {
    return this.#options.capacity - Queue.sizeUnsafe(this.#queue)
  }

  /** Waits for so many free places, or until the queue is closed. */
  awaitRoom(places: number): Effect.Effect<void> {
    return Effect.whileLoop({
      while: () => this.room < places && !this.#isClosed,
      body: () => this.#taken.await,
      step: () => {}
    })
  }

  get #isFull(): boolean {
    return Queue.sizeUnsafe(this.#queue) >= this.#options.size
  }

  offerUnsafe(record: UsageRecord): "accepted" | "full" | "closed" {
    if (this.#isClosed) return "closed"
    this.#quotas.take(record)
    if (!Queue.offerUnsafe(this.#queue, record)) {
      this.#withdraw([record])
      return "full"
    }
    this.#added(1)
    return "accepted"
  }

  /** Adds records, waiting for room; `false` if the queue was closed before all were added. */
  offerAll(records: ReadonlyArray<UsageRecord>): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      if (this.#isClosed) return Effect.succeed(false)
      this.#quotas.takeAll(records)
      let place = 0
      let isOpen = true
      const offering = Effect.whileLoop({
        while: () => isOpen && place < records.length,
        body: () => Queue.offer(this.#queue, records[place]!),
        step: (accepted) => {
          isOpen = accepted
          if (!accepted) return
          // One waited for room; as many as fit follow at once.
          const fitting = records.slice(place + 1, place + 1 + Math.max(0, this.room))
          const added = 1 + fitting.length - Queue.offerAllUnsafe(this.#queue, fitting).length
          place += added
          this.#added(added)
        }
      })
      return Effect.ensuring(
        Effect.map(offering, () => place === records.length),
        Effect.sync(() => {
          if (place < records.length) this.#withdraw(records.slice(place))
        })
      )
    })
  }

  /**
   * Adds a group or a flush, waiting for room, and then runs `next`, which is told whether it was added. An interrupted caller
   * has added nothing. A flush stops the wait for a batch to fill.
   */
  offer<A, E>(item: Group | Marker, next: (accepted: boolean) => Effect.Effect<A, E>): Effect.Effect<A, E> {
    if (item instanceof Marker) {
      this.#flushes++
      this.#wake.openUnsafe()
    } else {
      this.#queued += item.records.length
      this.#quotas.takeAll(item.records)
    }
    return Effect.flatMap(
      Effect.onInterrupt(Queue.offer(this.#queue, item), () => Effect.sync(() => this.#refused(item))),
      (accepted) => {
        if (!accepted) this.#refused(item)
        else if (this.#isFull) this.#wake.openUnsafe()
        return next(accepted)
      }
    )
  }

  /** Waits until there is enough for a batch, or the time is up. It takes nothing, so it may be interrupted. */
  readonly ready: Effect.Effect<void, Cause.Done> = Effect.gen({ self: this }, function* () {
    yield* Queue.peek(this.#queue)
    this.#wake.closeUnsafe()
    if (this.#flushes > 0 || this.#isClosed || this.#isFull) return
    yield* Effect.timeoutOption(this.#wake.await, this.#options.linger)
  })

  /** Takes what waits, at most a batch; fails with `Done` once the queue is closed and empty. */
  readonly take: Effect.Effect<ReadonlyArray<Item | Marker>, Cause.Done> = Effect.suspend(() =>
    Effect.tap(Queue.takeBetween(this.#queue, 1, this.#options.size), (items) =>
      Effect.suspend(() => {
        for (const item of items) this.#uncount(item)
        return this.#tellTaken()
      })
    )
  )

  /** Takes everything that waits. */
  takeAllUnsafe(): ReadonlyArray<Item | Marker> {
    const items: Array<Item | Marker> = []
    for (let next = Queue.takeUnsafe(this.#queue); next?._tag === "Success"; next = Queue.takeUnsafe(this.#queue)) {
      this.#uncount(next.value)
      items.push(next.value)
    }
    return items
  }

  /** Accepts nothing more; what waits can still be taken. */
  readonly close: Effect.Effect<unknown> = Effect.suspend(() => {
    this.#isClosed = true
    this.#wake.openUnsafe()
    return Effect.andThen(Queue.end(this.#queue), this.#tellTaken())
  })

  #tellTaken(): Effect.Effect<unknown> {
    const taken = this.#taken
    this.#taken = Latch.makeUnsafe(false)
    return taken.open
  }

  #refused(item: Group | Marker): void {
    this.#uncount(item)
    if (item instanceof Group) this.#withdraw(item.records)
  }

  #added(records: number): void {
    this.#queued += records
    if (this.#isFull) this.#wake.openUnsafe()
  }

  /** The item no longer waits. */
  #uncount(item: Item | Marker): void {
    if (!isAwaited(item)) this.#queued--
    else if (item.isCounted) {
      item.isCounted = false
      if (item instanceof Marker) this.#flushes--
      else this.#queued -= item.records.length
    }
  }

  #withdraw(records: ReadonlyArray<UsageRecord>): void {
    this.#quotas.withdraw(records, this.#clock.currentTimeMillisUnsafe())
  }
}
