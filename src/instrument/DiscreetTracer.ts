/**
 * Traces that name an error but omit its message. The attributes of this package's spans identify no customer, but an error's
 * message may: it quotes what was wrong, such as a customer's id, a key, a piece of the input.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"

const isTagged = (error: unknown): error is { readonly _tag: string; readonly reason?: unknown } =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"

/** `RecorderError: KeyConflict` */
const named = (error: unknown): unknown => {
  if (!isTagged(error)) return error
  const discreet = new Error(isTagged(error.reason) ? error.reason._tag : "")
  discreet.name = error._tag
  delete discreet.stack
  return discreet
}

const wrap = (tracer: Tracer.Tracer): Tracer.Tracer => ({
  ...(tracer.context === undefined ? {} : { context: tracer.context.bind(tracer) }),
  span: (options) => {
    const span = tracer.span(options)
    const end = span.end.bind(span)
    span.end = (time, exit) => end(time, Exit.isFailure(exit) ? Exit.failCause(Cause.map(exit.cause, named)) : exit)
    return span
  }
})

export const layer: Layer.Layer<never> = Layer.effect(Tracer.Tracer, Effect.map(Tracer.Tracer, wrap))
