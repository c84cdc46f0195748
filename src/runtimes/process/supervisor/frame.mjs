/**
 * The records of a spool, as bytes (little endian): u32 length of the whole record, u8 type, u8 stream, u16 replica,
 * f64 milliseconds since the epoch, 16 bytes instance id, u8 length of the service's name, u8 event, u16 zero,
 * the service's name, the payload, u32 CRC-32 of all before it. PROTOCOL.md describes the payloads.
 */
import zlib from 'node:zlib';

export const HEADER_BYTES = 36;
export const TRAILER_BYTES = 4;
export const MAX_PAYLOAD_BYTES = 64 * 1024;
export const MAX_NAME_BYTES = 255;
export const MAX_FRAME_BYTES = HEADER_BYTES + MAX_NAME_BYTES + MAX_PAYLOAD_BYTES + TRAILER_BYTES;

export const OUTPUT = 1;
export const GAP = 2;
export const EVENT = 3;

/** Index 0 belongs to records without a stream. */
export const STREAMS = /** @type {const} */ (['', 'STDOUT', 'STDERR']);
export const EVENTS = /** @type {const} */ (['', 'started', 'ended', 'restarting', 'health', 'removed']);

/**
 * @typedef {'STDOUT' | 'STDERR'} Stream
 * @typedef {'started' | 'ended' | 'restarting' | 'health' | 'removed'} EventName
 * @typedef {{ instanceId: string, id: Buffer, service: string, name: Buffer, replica: number }} Source
 * @typedef {{
 *   length: number, type: number, stream: number, event: number, replica: number, time: number,
 *   instanceId: string, service: string, payloadAt: number, payloadEnd: number,
 * }} Frame
 */

/**
 * What the records of one instance have in common, encoded once.
 * @param {{ instanceId: string, service: string, replica: number }} instance
 * @returns {Source}
 */
export function sourceOf({ instanceId, service, replica }) {
  const id = Buffer.from(instanceId.replaceAll('-', ''), 'hex');
  const name = Buffer.from(service);
  if (id.length !== 16) throw new Error(`not a UUID: ${instanceId}`);
  if (name.length === 0 || name.length > MAX_NAME_BYTES)
    throw new Error(`a service's name has 1 to 255 bytes: ${service}`);
  return { instanceId, id, service, name, replica };
}

/** @param {Source} source @param {number} payloadBytes */
export function frameBytes(source, payloadBytes) {
  return HEADER_BYTES + source.name.length + payloadBytes + TRAILER_BYTES;
}

/**
 * Writes one record at `at` and returns the offset after it.
 * @param {Buffer} target
 * @param {number} at
 * @param {{ source: Source, type: number, stream?: number, event?: number, time: number, payload: Uint8Array }} record
 */
export function encodeFrame(target, at, { source, type, stream = 0, event = 0, time, payload }) {
  const length = frameBytes(source, payload.length);
  target.writeUInt32LE(length, at);
  target[at + 4] = type;
  target[at + 5] = stream;
  target.writeUInt16LE(source.replica, at + 6);
  target.writeDoubleLE(time, at + 8);
  target.set(source.id, at + 16);
  target[at + 32] = source.name.length;
  target[at + 33] = event;
  target.writeUInt16LE(0, at + 34);
  target.set(source.name, at + HEADER_BYTES);
  target.set(payload, at + HEADER_BYTES + source.name.length);
  const end = at + length - TRAILER_BYTES;
  target.writeUInt32LE(crc32(target.subarray(at, end)), end);
  return end + TRAILER_BYTES;
}

/**
 * Reads the record at `at`: null where it is not there completely, 'torn' where the bytes are no record.
 * @param {Buffer} bytes
 * @param {number} at
 * @returns {Frame | 'torn' | null}
 */
export function decodeFrame(bytes, at) {
  if (bytes.length - at < HEADER_BYTES) return null;
  const length = bytes.readUInt32LE(at);
  const nameBytes = bytes[at + 32] ?? 0;
  if (length < HEADER_BYTES + nameBytes + TRAILER_BYTES || length > MAX_FRAME_BYTES) return 'torn';
  if (bytes.length - at < length) return null;
  const payloadEnd = at + length - TRAILER_BYTES;
  if (crc32(bytes.subarray(at, payloadEnd)) !== bytes.readUInt32LE(payloadEnd)) return 'torn';
  const payloadAt = at + HEADER_BYTES + nameBytes;
  return {
    length,
    type: bytes[at + 4] ?? 0,
    stream: bytes[at + 5] ?? 0,
    replica: bytes.readUInt16LE(at + 6),
    time: bytes.readDoubleLE(at + 8),
    instanceId: uuidAt(bytes, at + 16),
    event: bytes[at + 33] ?? 0,
    service: bytes.toString('utf8', at + HEADER_BYTES, payloadAt),
    payloadAt,
    payloadEnd,
  };
}

/** @param {number} lines @param {number} lost @param {string} reason */
export function gapPayload(lines, lost, reason) {
  const text = Buffer.from(reason);
  const payload = Buffer.alloc(16 + text.length);
  payload.writeDoubleLE(lines, 0);
  payload.writeDoubleLE(lost, 8);
  payload.set(text, 16);
  return payload;
}

/** @param {Buffer} bytes @param {Frame} frame */
export function readGap(bytes, { payloadAt, payloadEnd }) {
  return {
    lines: bytes.readDoubleLE(payloadAt),
    bytes: bytes.readDoubleLE(payloadAt + 8),
    reason: bytes.toString('utf8', payloadAt + 16, payloadEnd),
  };
}

/** @param {Buffer} bytes @param {number} at */
function uuidAt(bytes, at) {
  const hex = bytes.toString('hex', at, at + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Node has had `zlib.crc32` since 20.15; older ones get the table. */
export const crc32 = /** @type {(bytes: Uint8Array) => number} */ (zlib.crc32 ?? tableCrc32);

/** @type {Uint32Array | undefined} */
let table;

/** @param {Uint8Array} bytes */
export function tableCrc32(bytes) {
  table ??= Uint32Array.from({ length: 256 }, (_, index) => {
    let value = index;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value >>> 0;
  });
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ /** @type {number} */ (table[(crc ^ byte) & 0xff]);
  return (crc ^ 0xffffffff) >>> 0;
}
