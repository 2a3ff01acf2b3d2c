/**
 * Remembers what the database last said about customers' quotas, for calls in a request's path, which must not wait.
 *
 * A customer's reading is *current* until it is twice `staleness` old, or the first of its periods ends. Once it is `staleness`
 * old, a call starts another reading in the background. Without a current reading, a call waits for one until its deadline.
 *
 * Owners and bounds: readings run in fibers of the layer's scope, with its context and not the caller's, so that they are not part
 * of the caller's transaction. There is one reading per customer at a time, `atOnce` of all customers at once, and `startedLimit`
 * running or queued; each is given up after `readingLimit`, and after a failure the customer is read again a second later.
 * `customers` are kept: of those read longest ago, the first without records on their way makes room.
 *
 * Invariant: an entry's amount and base come from one reading. So a late reading is old, but not wrong.
 */
import * as BigDecimal from "effect/BigDecimal"
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Semaphore from "effect/Semaphore"
import type { DatabaseError } from "../database/DatabaseError.ts"
import type { CustomerId } from "../domain/CustomerId.ts"
import * as Decimal from "../domain/Decimal.ts"
import * as Instant from "../domain/Instant.ts"
import type { InvalidInput } from "../domain/InvalidInput.ts"
import * as Service from "../domain/Service.ts"
import type { QuotaDecision } from "./Quota.ts"
import type { QuotaState, QuotaStateStore } from "./QuotaStateStore.ts"
import type { Catalog, CatalogStore } from "../catalog/CatalogStore.ts"
import { inTime } from "../database/InTime.ts"
import { Entry, unlimited } from "./QuotaEntry.ts"
import { Account, type Ledger } from "./QuotaLedger.ts"

/** Milliseconds. */
export interface Options {
  readonly staleness: number
  readonly grantFor: number
  /** How long a caller waits. */
  readonly timeout: number
  readonly customers: number
}

/** Half of the connections that the writers have too. */
const atOnce = 2
const startedLimit = 1_000
const readingLimit = Duration.seconds(10)
/** Milliseconds between attempts after a failure, and between look-ups of an unknown service. */
const againAfter = 1_000
/** How many customers are considered for making room. */
const candidates = 32

/** The thresholds of alerts, which do not matter here. */
export const noThresholds = ["75", "90", "100"] as const

interface Running {
  readonly startedAt: number
  readonly done: Deferred.Deferred<void>
}

/** What is known of a customer. Times are milliseconds since 1970. */
export class Known {
  readonly customer: CustomerId
  /** By service; `undefined` before the first reading. */
  entries: ReadonlyMap<string, Entry> | undefined
  /** When the reading is current. A clock that is set back ends that too. */
  from = Infinity
  until = -Infinity
  /** When the first of its periods ends. */
  ends = Infinity
  /** When the next reading is due. */
  due = -Infinity
  /** For a service that has no quota. */
  without: QuotaDecision = unlimited
  failure: DatabaseError | undefined
  failedAt = -Infinity
  running: Running | undefined
  /** Accounts of levels, whose records report how much there is, not how much more. */
  readonly levels = new Map<string, Account>()

  constructor(customer: CustomerId) {
    this.customer = customer
  }

  isCurrent(now: number): boolean {
    return now >= this.from && now < this.until
  }

  /** Whether one of the periods that were read is over. */
  hasEnded(now: number): boolean {
    return now >= this.ends
  }
}

interface Reading {
  readonly askedAt: number
  readonly marks: ReadonlyMap<Account, Decimal.Decimal>
  readonly states: ReadonlyArray<QuotaState>
}

export const make = Effect.fnUntraced(function* (
  store: QuotaStateStore["Service"],
  catalogs: CatalogStore["Service"],
  ledger: Ledger,
  options: Options
) {
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const turns = yield* Semaphore.make(atOnce)
  const customers = new Map<string, Known>()
  let services: ReadonlyMap<string, Service.Service> | undefined
  let started = 0
  let isFailing = false
  let lookingUp: Running | undefined
  let lookedAgainAt = -Infinity

  /** Runs an effect in the background. It may have ended when this returns. */
  const behind = (running: Running, effect: Effect.Effect<void>, ended: () => void): void => {
    const finish = Effect.sync(() => {
      ended()
      Deferred.doneUnsafe(running.done, Exit.void)
    })
    run(Effect.ensuring(effect, finish))
  }

  const begin = (now: number): Running => ({ startedAt: now, done: Deferred.makeUnsafe<void>() })

  /** Waits for a reading until the deadline, and no longer than its first caller. */
  const awaited = (running: Running | undefined, clock: Clock.Clock, deadline: number): Effect.Effect<void> => {
    if (running === undefined) return Effect.void
    const left = Math.min(deadline, running.startedAt + options.timeout) - clock.currentTimeMillisUnsafe()
    return left <= 0 ? Effect.void : Effect.asVoid(Effect.timeoutOption(Deferred.await(running.done), left))
  }

  const ask = (known: Known, clock: Clock.Clock): Effect.Effect<Reading, DatabaseError> =>
    Effect.suspend(() => {
      const askedAt = clock.currentTimeMillisUnsafe()
      const marks = new Map([...ledger.of(known.customer).values()].map((account) => [account, account.settled]))
      return Effect.map(
        store.states(Instant.fromMillis(askedAt), { customer: known.customer, service: undefined }, noThresholds),
        (states) => ({ askedAt, marks, states })
      )
    })

  const accountOf = (known: Known, { basis, service }: QuotaState): Account => {
    // A customer that has made room meanwhile still answers the calls that wait for it.
    if (basis === "sum")
      return customers.get(known.customer) === known ? ledger.open(known.customer, service) : new Account()
    let account = known.levels.get(service)
    if (account === undefined) known.levels.set(service, (account = new Account()))
    return account
  }

  const apply = (known: Known, { askedAt, marks, states }: Reading) => {
    const asOf = Instant.fromMillis(askedAt)
    const entries = new Map<string, Entry>()
    known.from = askedAt
    known.ends = Infinity
    known.due = askedAt + options.staleness
    for (const account of [...marks.keys(), ...known.levels.values()]) account.expire(askedAt, options.grantFor)
    for (const state of states) {
      const account = accountOf(known, state)
      entries.set(state.service, new Entry(state, account, marks.get(account) ?? Decimal.zero, asOf))
      known.ends = Math.min(known.ends, Instant.toMillis(state.period.end))
    }
    known.until = Math.min(known.ends, askedAt + 2 * options.staleness)
    known.entries = entries
    known.without = { ...unlimited, asOf }
    known.failure = undefined
    // The customers read last are the last to make room.
    if (customers.get(known.customer) === known && customers.delete(known.customer))
      customers.set(known.customer, known)
  }

  const fail = (known: Known, failure: DatabaseError, now: number): Effect.Effect<void> => {
    known.failure = failure
    known.failedAt = now
    if (isFailing) return Effect.void
    isFailing = true
    return Effect.annotateLogs(
      Effect.logWarning(`quotas cannot be read, and are decided by what was last known: ${failure.message}`),
      { source: "quota", reason: failure.reason._tag }
    )
  }

  /** Starts a reading of a customer, unless one is running or has just failed. */
  const refresh = (known: Known, clock: Clock.Clock): void => {
    const now = clock.currentTimeMillisUnsafe()
    const isTooSoon = known.failure !== undefined && Math.abs(now - known.failedAt) < againAfter
    if (known.running !== undefined || isTooSoon || started >= startedLimit) return
    started++
    const running = (known.running = begin(now))
    const reading = Effect.matchEffect(turns.withPermits(1)(inTime(ask(known, clock), readingLimit)), {
      onSuccess: (found) =>
        Effect.sync(() => {
          isFailing = false
          // If the customer was forgotten meanwhile, this is outdated.
          if (known.running === running) apply(known, found)
        }),
      onFailure: (failure) => Effect.suspend(() => fail(known, failure, clock.currentTimeMillisUnsafe()))
    })
    behind(running, reading, () => {
      started--
      if (known.running === running) known.running = undefined
    })
  }

  /** Reads the services in the background. */
  const lookUp = (now: number, read: Effect.Effect<Catalog, DatabaseError>): void => {
    if (lookingUp !== undefined) return
    const running = (lookingUp = begin(now))
    const found = Effect.map(inTime(read, readingLimit), (catalog) => {
      services = catalog.services
    })
    behind(running, Effect.ignore(found), () => {
      lookingUp = undefined
    })
  }

  /** Fails for an unknown service. One that was just added is found: immediately if by this process, else within a second. */
  const requireService = Effect.fnUntraced(function* (name: Service.ServiceName, clock: Clock.Clock, deadline: number) {
    if (services?.has(name) === true) return
    lookUp(clock.currentTimeMillisUnsafe(), catalogs.current)
    yield* awaited(lookingUp, clock, deadline)
    if (services === undefined || services.has(name)) return
    const now = clock.currentTimeMillisUnsafe()
    if (Math.abs(now - lookedAgainAt) >= againAfter) {
      lookedAgainAt = now
      lookUp(now, catalogs.reload)
      yield* awaited(lookingUp, clock, deadline)
    }
    if (!services.has(name)) return yield* Service.unknown(name, services.keys())
  })

  const makeRoom = (now: number): void => {
    let looked = 0
    for (const [id, { levels, running }] of customers) {
      const accounts = [...ledger.of(id).values(), ...levels.values()]
      for (const account of accounts) account.expire(now, options.grantFor)
      const isIdle = running === undefined && accounts.every(({ isDone }) => isDone)
      if (!isIdle && ++looked < candidates) continue
      const gone = isIdle ? id : customers.keys().next().value!
      customers.delete(gone)
      ledger.forget(gone)
      return
    }
  }

  const open = (customer: CustomerId, now: number): Known => {
    let known = customers.get(customer)
    if (known !== undefined) return known
    if (customers.size >= options.customers) makeRoom(now)
    known = new Known(customer)
    customers.set(customer, known)
    return known
  }

  return {
    /** What is known about a customer. */
    find: (customer: string): Known | undefined => customers.get(customer),
    hasService: (name: string): boolean => services?.has(name) === true,
    refresh,
    /** What is known about a customer, read if necessary and if there is time. */
    current: Effect.fnUntraced(function* (
      customer: CustomerId,
      service: Service.ServiceName,
      clock: Clock.Clock
    ): Effect.fn.Return<Known, InvalidInput> {
      const now = clock.currentTimeMillisUnsafe()
      const deadline = now + options.timeout
      yield* requireService(service, clock, deadline)
      const known = open(customer, now)
      if (known.isCurrent(now)) return known
      // In an outage a call does not wait if the last reading can answer it.
      const canDo = known.failure !== undefined && known.entries !== undefined && !known.hasEnded(now)
      refresh(known, clock)
      if (!canDo) yield* awaited(known.running, clock, deadline)
      return known
    }),
    /** Counts what was allowed without a reading. */
    grantUnread: (customer: string, service: string, wanted: Decimal.Decimal, now: number): void => {
      const found = services?.get(service)
      if (found === undefined) return
      ledger.open(customer, service).grant(BigDecimal.multiply(wanted, found.unitSize), now)
    },
    forget: (customer: string): void => {
      const known = customers.get(customer)
      if (known === undefined) return
      known.until = -Infinity
      known.running = undefined
      known.failure = undefined
    }
  }
})
