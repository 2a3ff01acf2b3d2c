/**
 * Questions and answers on a socket: the length of a head in JSON and that of the bytes that belong to it, then both. What
 * is written at once arrives at once, so a question of the wire protocol stays the whole messages that it was.
 */
import type { Socket } from "node:net"

export interface Frame {
  readonly head: { readonly [key: string]: unknown }
  readonly data: Uint8Array | undefined
}

const headerBytes = 8
/** More than any batch or page; a peer that sends more does not speak this protocol. */
const mostBytes = 1_073_741_824

export const write = (socket: Socket, head: Frame["head"], data?: Uint8Array): void => {
  const text = Buffer.from(JSON.stringify(head))
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(text.length, 0)
  header.writeUInt32BE(data?.length ?? 0, 4)
  socket.cork()
  socket.write(header)
  socket.write(text)
  if (data !== undefined && data.length > 0) socket.write(data)
  socket.uncork()
}

/** Calls `onFrame` for each frame, in order; an invalid stream is destroyed. */
export const read = (socket: Socket, onFrame: (frame: Frame) => void): void => {
  let chunks: Array<Buffer> = []
  let bytes = 0
  let wanted = headerBytes
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    // Joined only when a frame may be complete: a large one comes in many chunks.
    while (bytes >= wanted && !socket.destroyed) {
      const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      const headLength = whole.readUInt32BE(0)
      const dataLength = whole.readUInt32BE(4)
      const end = headerBytes + headLength + dataLength
      if (end > mostBytes) return void socket.destroy(new Error("a frame is too long"))
      const rest = whole.length < end ? whole : whole.subarray(end)
      chunks = rest.length === 0 ? [] : [rest]
      bytes = rest.length
      wanted = whole.length < end ? end : headerBytes
      if (whole.length < end) break
      try {
        const head = JSON.parse(whole.toString("utf8", headerBytes, headerBytes + headLength)) as Frame["head"]
        // A copy: what else was in the chunk is not kept in memory for it, and it may be handed to another thread.
        const data = dataLength === 0 ? undefined : new Uint8Array(whole.subarray(headerBytes + headLength, end))
        onFrame({ head, data })
      } catch (cause) {
        return void socket.destroy(cause as Error)
      }
    }
  })
}
