import type { SealedSegment } from "../../src/spool/SegmentWriter.ts"

/** A record as it is in a segment: checked. */
export const recordOf = (customer: string) =>
  ({
    customer,
    service: "api",
    amount: "1",
    unitCost: undefined,
    recordedAt: 1_769_774_400_000_000,
    metadata: null
  }) as unknown as SealedSegment["records"][number]
