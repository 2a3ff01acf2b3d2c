/**
 * Counts the bytes of request and response bodies as they flow, and changes neither.
 *
 * Bodies are counted as they are sent, compressed or not; headers are not counted, nor what a connection carries after an upgrade
 * (web sockets). A body that is sent in one piece is counted when it is handed to the server.
 */
import * as HttpBody from "effect/http/HttpBody"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import { pipeline, Readable, Transform } from "node:stream"

type Add = (bytes: number) => void

interface NodeMessage {
  readonly complete: boolean
  readonly headers: { readonly [name: string]: string | ReadonlyArray<string> | undefined }
  readonly httpVersionMajor: number
}

const contentLength = (headers: NodeMessage["headers"]): number => {
  const length = Number(headers["content-length"] ?? 0)
  return Number.isSafeInteger(length) && length > 0 ? length : 0
}

/**
 * Counts what arrives of a request's body, however it is read, even if nobody reads it. On Node that is seen where the parser
 * hands it to the request (over HTTP/2, only what is read). Elsewhere there is no such place, and the length that the client
 * declares counts.
 */
export const countIncoming = (request: HttpServerRequest, add: Add): void => {
  const { source } = request
  if (!(source instanceof Readable)) {
    const stated = contentLength(request.headers)
    if (stated > 0) add(stated)
    return
  }
  const message = source as Readable & NodeMessage
  const stated = contentLength(message.headers)
  // HTTP/1 announces a body, HTTP/2 need not.
  if (stated === 0 && message.headers["transfer-encoding"] === undefined && message.httpVersionMajor === 1) return
  // Authentication may have read it already, to verify a signature over the body.
  const arrived = message.complete ? Math.max(stated, message.readableLength) : message.readableLength
  if (arrived > 0) add(arrived)
  if (message.complete) return
  const push = message.push
  message.push = (chunk: Uint8Array | null, encoding?: BufferEncoding) => {
    if (chunk !== null) add(chunk.length)
    return push.call(message, chunk, encoding)
  }
}

const throughNode = (body: Readable, add: Add): Readable => {
  const counter = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      add(chunk.length)
      done(null, chunk)
    }
  })
  // An error of either ends both, and reaches the reader of the counter.
  return pipeline(body, counter, () => {})
}

const throughWeb = (body: ReadableStream<Uint8Array>, add: Add): ReadableStream<Uint8Array> =>
  body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        add(chunk.length)
        controller.enqueue(chunk)
      }
    })
  )

const lengthOf = (body: unknown, stated: number | undefined): number => {
  if (typeof body === "string") return Buffer.byteLength(body)
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return body.byteLength
  if (body instanceof Blob) return body.size
  return stated ?? 0
}

/** A response to send instead, whose body is counted as it is read. */
export const countOutgoing = (
  request: HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse,
  add: Add
): HttpServerResponse.HttpServerResponse => {
  const { body } = response
  if (body._tag === "Empty" || HttpServerResponse.omitsBody(response, request.method === "HEAD")) return response
  // The application's headers still describe the body.
  const withBody = (counted: HttpBody.HttpBody) =>
    HttpServerResponse.setHeaders(HttpServerResponse.setBody(response, counted), response.headers)
  switch (body._tag) {
    case "Uint8Array":
      add(body.contentLength)
      return response
    case "Stream":
      return withBody(
        HttpBody.stream(
          Stream.mapArray(body.stream, (chunks) => {
            for (const chunk of chunks) add(chunk.length)
            return chunks
          }),
          body.contentType,
          body.contentLength
        )
      )
    case "Raw": {
      const { body: raw, contentLength, contentType } = body
      if (raw instanceof Readable) return withBody(HttpBody.raw(throughNode(raw, add), { contentLength, contentType }))
      if (raw instanceof ReadableStream)
        return withBody(HttpBody.raw(throughWeb(raw, add), { contentLength, contentType }))
      add(lengthOf(raw, contentLength))
      return response
    }
    case "FormData": {
      const form = new Response(body.formData)
      const contentType = form.headers.get("content-type") ?? undefined
      return HttpServerResponse.setBody(
        response,
        HttpBody.raw(Readable.fromWeb(throughWeb(form.body!, add) as Parameters<typeof Readable.fromWeb>[0]), {
          contentType
        })
      )
    }
  }
}
