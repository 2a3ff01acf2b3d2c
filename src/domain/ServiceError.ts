/**
 * The error of a service: a tag of its own, and a `reason`, which is what `Effect.catchReason` catches.
 *
 *     class CatalogError extends ServiceError<CatalogError>()("CatalogError", [InvalidInput, DatabaseError]) {}
 *
 * Reasons are leaves: no reason has a reason. A service that calls another one lists that one's error among its own
 * reasons; its reasons take its place here, and `from` does the same with an error. So whoever handles an error looks in
 * one place, however many services it came through.
 */
import type * as Cause from "effect/Cause"
import * as Schema from "effect/Schema"

/** What a reason can say: its kind, what happened, and whether the same call may succeed later. @since 0.1.0 */
export interface ErrorReason {
  readonly _tag: string
  readonly message: string
  readonly isRetryable: boolean
}

type ReasonClass = Schema.Codec<ErrorReason, unknown>

/** The class of a reason, or that of an error whose reasons are meant. */
type Member = ReasonClass | { readonly reasons: ReadonlyArray<ReasonClass> }

type LeafOf<M extends Member> = M extends { readonly reasons: ReadonlyArray<infer Leaf extends ReasonClass> }
  ? Leaf
  : Extract<M, ReasonClass>

/**
 * The class of a service's error.
 *
 * - `reasons`: the classes of what `reason` can be
 * - `from`: the error with this reason, or with the reason of another service's error
 *
 * @since 0.1.0
 */
export interface ServiceErrorClass<
  Self,
  Tag extends string,
  Leaf extends Schema.Codec<ErrorReason, unknown>
> extends Schema.Class<
  Self,
  Schema.TaggedStruct<Tag, { readonly reason: Schema.Union<ReadonlyArray<Leaf>> }>,
  Cause.YieldableError & { readonly isRetryable: boolean }
> {
  readonly reasons: ReadonlyArray<Leaf>
  readonly from: (error: Leaf["Type"] | { readonly reason: Leaf["Type"] }) => Self
}

export const ServiceError =
  <Self>() =>
  <const Tag extends string, M extends Member>(
    tag: Tag,
    members: ReadonlyArray<M>
  ): ServiceErrorClass<Self, Tag, LeafOf<M>> => {
    const leaves = members.flatMap((member: Member) => ("reasons" in member ? member.reasons : [member]))
    const reasons = [...new Set(leaves)]
    class Base extends Schema.TaggedError<Base>()(tag, { reason: Schema.Union(reasons) }) {
      static readonly reasons = reasons
      static get from() {
        return (error: ErrorReason | { readonly reason: ErrorReason }) =>
          new this({ reason: "reason" in error ? error.reason : error })
      }
      get isRetryable(): boolean {
        return this.reason.isRetryable
      }
      override get message(): string {
        return this.reason.message
      }
    }
    // Instances are of the class that extends it, which only the caller can name.
    return Base as unknown as ServiceErrorClass<Self, Tag, LeafOf<M>>
  }
