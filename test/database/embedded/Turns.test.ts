/** Turns on one connection, with an engine and a clock of the test's. */
import { assert, describe, it } from "@effect/vitest"
import { createServer } from "node:net"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, vi } from "vitest"
import * as Frames from "../../../src/database/embedded/Frames.ts"
import * as Line from "../../../src/database/embedded/Line.ts"
import { type Answered, movedCode, type Question } from "../../../src/database/embedded/Messages.ts"
import { protocol } from "../../../src/database/embedded/OwnerSocket.ts"
import * as Turns from "../../../src/database/embedded/Turns.ts"

/** The answer to a statement, with ReadyForQuery and its status at the end. */
const answer = (status: "I" | "T" | "E"): Answered => ({
  ok: true,
  data: Buffer.from([0x43, 0, 0, 0, 6, 0x78, 0, 0x5a, 0, 0, 0, 5, status.charCodeAt(0)])
})
const says = (text: string): Question => ({ kind: "wire", data: Buffer.from(text) })
const codeOf = (cause: unknown) => (cause as { readonly code?: string }).code

/** `begin…` opens a transaction, `end…` closes it, `fail` leaves it broken. */
const setUp = () => {
  const log: Array<string> = []
  let open = false
  const turns = Turns.make((question) => {
    const text = question.kind === "wire" ? Buffer.from(question.data).toString() : question.kind
    log.push(text)
    if (text.startsWith("begin")) open = true
    if (text.startsWith("end") || text === "rollback" || text === "reset") open = false
    return Promise.resolve(question.kind === "wire" ? answer(text === "fail" ? "E" : open ? "T" : "I") : { ok: true })
  })
  return { log, turns }
}

describe("turns", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout", "clearInterval", "Date"] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it("a transaction is left alone to its end, and the others come in the order that they asked", async () => {
    const { log, turns } = setUp()
    const [owner, a, b] = [turns.seat(), turns.seat(() => {}), turns.seat(() => {})]
    await a.ask(says("begin a"))
    const others = [owner.ask(says("owner")), b.ask(says("b 1")), b.ask(says("b 2"))]
    await a.ask(says("fail"))
    await a.ask({ kind: "copy", table: "t", columns: [], data: Buffer.from("") })
    await a.ask(says("end a"))
    await Promise.all(others)
    assert.deepStrictEqual(log, ["begin a", "fail", "copy", "end a", "owner", "b 1", "b 2"])
  })

  it("whoever leaves in the middle of a transaction is rolled back; a guest's reset leaves the owner's statements", async () => {
    const { log, turns } = setUp()
    const [owner, guest] = [turns.seat(), turns.seat(() => {})]
    await guest.ask({ kind: "reset" })
    await guest.ask(says("begin"))
    const waiting = owner.ask(says("owner"))
    await guest.leave()
    await waiting
    await owner.ask({ kind: "reset" })
    assert.deepStrictEqual(log, ["begin", "rollback", "owner", "reset"])
  })

  it("a guest waits ten seconds for its turn and is then told to try later; the owner waits", async () => {
    const { turns } = setUp()
    const [owner, a, b] = [turns.seat(), turns.seat(() => {}), turns.seat(() => {})]
    await a.ask(says("begin a"))
    const busy = b.ask(says("b")).then(() => "taken", codeOf)
    const patient = owner.ask(says("owner"))
    await vi.advanceTimersByTimeAsync(10_000)
    assert.strictEqual(await busy, "55P03")
    await a.ask(says("end a"))
    assert.isTrue((await patient).ok)
  })

  it("a guest that keeps a transaction open in silence loses its seat when others wait, not before", async () => {
    const { log, turns } = setUp()
    let evicted = false
    const guest: Turns.Seat = turns.seat(() => {
      evicted = true
      void guest.leave()
    })
    await guest.ask(says("begin"))
    await vi.advanceTimersByTimeAsync(600_000)
    assert.isFalse(evicted)
    await guest.ask(says("goes on"))
    const waiting = turns.seat().ask(says("owner"))
    await vi.advanceTimersByTimeAsync(55_000)
    assert.isFalse(evicted)
    await vi.advanceTimersByTimeAsync(10_000)
    assert.isTrue(evicted)
    await waiting
    assert.deepStrictEqual(log, ["begin", "goes on", "rollback", "owner"])
  })

  it("when the owner closes, whoever has no transaction is told to go elsewhere, and nothing of theirs was put", async () => {
    const { log, turns } = setUp()
    const [a, b] = [turns.seat(() => {}), turns.seat(() => {})]
    await a.ask(says("begin a"))
    const waited = b.ask(says("b")).then(() => "taken", codeOf)
    turns.close()
    assert.strictEqual(await waited, movedCode)
    await a.ask(says("end a"))
    assert.strictEqual(await a.ask(says("again")).then(() => "taken", codeOf), movedCode)
    assert.deepStrictEqual(log, ["begin a", "end a"])
  })

  it("a guest gives up an owner that is stopped, but not one whose statement takes long", async () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-usage-line-"))
    let answersPings = true
    const server = createServer((socket) => {
      Frames.write(socket, { protocol, directory: "this one" })
      Frames.write(socket, { ready: true })
      Frames.read(socket, ({ head }) => {
        if (head["ping"] === true && answersPings) Frames.write(socket, { pong: true })
      })
    })
    try {
      const path = join(directory, "socket")
      await new Promise<void>((done) => server.listen(path, done))
      const line = await Line.join(path, "this one")
      let outcome: unknown
      void line.ask(says("select")).catch((cause: unknown) => (outcome = codeOf(cause)))
      const pass = async (seconds: number) => {
        for (let i = 0; i < seconds; i += 10) {
          await vi.advanceTimersByTimeAsync(10_000)
          // Time for the socket, which has a clock of its own.
          await new Promise((done) => setImmediate(() => setImmediate(done)))
        }
      }
      await pass(300)
      assert.isUndefined(outcome)
      answersPings = false
      await pass(60)
      assert.strictEqual(outcome, "08006")
      assert.isTrue(line.isOver())
    } finally {
      server.close()
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
