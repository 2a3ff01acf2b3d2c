/** Imported first into a process, moves its clock by `SHIFT_DAYS`. */
const RealDate = globalThis.Date
const shift = Number(process.env["SHIFT_DAYS"] ?? 0) * 86_400_000
const now = () => RealDate.now() + shift

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args: ReadonlyArray<number>) =>
    args.length === 0 ? new target(now()) : Reflect.construct(target, args),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name))
})
