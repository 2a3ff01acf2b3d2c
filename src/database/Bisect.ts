/**
 * Finds by halving what the database refuses of items that are stored together, so that everything else is stored.
 *
 * Of n items with one culprit it takes two attempts for each halving: 2·log₂ n, beside the first.
 */
import * as Effect from "effect/Effect"
import type { DatabaseError } from "./DatabaseError.ts"

/** Whether the data is at fault, and neither the moment nor what nobody expected: then a part of it may succeed. */
export const isRefusal = ({ reason }: DatabaseError): boolean =>
  reason._tag === "Refused" || reason._tag === "KeyConflict"

/**
 * Attempts all items at once. What is refused is halved, until the culprit is `alone`. Gives what became of each part, in
 * their order; fails with the first failure that is no refusal, and attempts nothing after it.
 *
 * `path` names a part: empty for the whole, then a letter for each halving. It depends on the items alone, so whoever
 * repeats the work meets the same parts (see `partKey`).
 */
export const bisect = <Item, A, R>(
  items: ReadonlyArray<Item>,
  attempt: (part: ReadonlyArray<Item>, path: string) => Effect.Effect<A, DatabaseError, R>,
  alone: (item: Item, error: DatabaseError, path: string) => Effect.Effect<A, DatabaseError, R>,
  path = ""
): Effect.Effect<ReadonlyArray<A>, DatabaseError, R> =>
  items.length === 0
    ? Effect.succeed([])
    : Effect.matchEffect(attempt(items, path), {
        onSuccess: (whole) => Effect.succeed([whole]),
        onFailure: (error) => {
          if (!isRefusal(error)) return Effect.fail(error)
          if (items.length === 1) return Effect.map(alone(items[0]!, error, path), (one) => [one])
          const middle = items.length >> 1
          return Effect.zipWith(
            bisect(items.slice(0, middle), attempt, alone, `${path}a`),
            Effect.suspend(() => bisect(items.slice(middle), attempt, alone, `${path}b`)),
            (first, second) => [...first, ...second]
          )
        }
      })
