/** A process that takes a kernel lock, says whether it got it, and keeps it until it is killed. */
import * as KernelLock from "../../src/system/KernelLock.ts"

console.log(KernelLock.tryLock(process.argv[2]!) === undefined ? "refused" : "locked")
setInterval(() => {}, 1_000)
