import type { Writable } from 'node:stream';

const TEXT_FRAME = 0x81;
const LONGEST_HEADER = 10;
/** Beginnings up to this length are put before the payload in place: those of usual operation ids. */
const ROOM_BYTES = 256;
const END = '}'.charCodeAt(0);

/** What one socket's messages begin with. A string: thousands of small buffers would each keep a page of Node's pool from being freed. */
export type Beginning = { text: string; bytes: number };

export function beginningOf(text: string): Beginning {
  return { text, bytes: Buffer.byteLength(text) };
}

/**
 * A message for many sockets, each with a beginning of its own before the same JSON: `BEGINNING JSON }` in one WebSocket frame. The
 * payload lies in memory once; only who cannot take it at once keeps its own copy.
 */
export class SharedFrame {
  readonly #json: Buffer;
  #memory: Buffer | null = null;

  constructor(json: Buffer) {
    this.#json = json;
  }

  writeTo(connection: Writable, { text, bytes }: Beginning): void {
    const room = LONGEST_HEADER + Math.max(ROOM_BYTES, bytes);
    if (this.#memory === null || room > this.#memory.length - this.#json.length - 1)
      this.#memory = this.#allocate(room);
    const memory = this.#memory;
    const payloadAt = memory.length - this.#json.length - 1;
    const textAt = payloadAt - bytes;
    memory.write(text, textAt, bytes, 'utf8');
    const frameAt = writeHeader(memory, textAt, memory.length - textAt);
    connection.write(memory.subarray(frameAt));
    // What was not handed to the system yet is still read from there.
    if (connection.writableLength > 0) this.#memory = null;
  }

  #allocate(room: number): Buffer {
    const memory = Buffer.allocUnsafeSlow(room + this.#json.length + 1);
    this.#json.copy(memory, room);
    memory[memory.length - 1] = END;
    return memory;
  }
}

/** The header of a server's text message in one frame, ending at `end`; returns where it begins. RFC 6455, section 5.2. */
function writeHeader(memory: Buffer, end: number, length: number): number {
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const at = end - extended - 2;
  memory[at] = TEXT_FRAME;
  memory[at + 1] = extended === 0 ? length : extended === 2 ? 126 : 127;
  if (extended === 2) memory.writeUInt16BE(length, at + 2);
  if (extended === 8) memory.writeBigUInt64BE(BigInt(length), at + 2);
  return at;
}
