/** Records that go to the disk with one write, and what each was, in case the disk takes only some of them. */
import { encodeFrame, frameBytes, MAX_FRAME_BYTES } from './frame.mjs';

/** @import { Channel, WaitingEvent } from './spool.mjs' */
/** @import { Source } from './frame.mjs' */

const CAPACITY_BYTES = 512 * 1024;

/**
 * @typedef {{ source: Source, type: number, stream?: number, event?: number, time: number, payload: Buffer }} LogRecord
 * @typedef {{ channel: Channel | null, gap: Channel['dropped'], event: WaitingEvent | null }} Origin
 */

export class BatchBuffer {
  #buffer = Buffer.allocUnsafeSlow(CAPACITY_BYTES + MAX_FRAME_BYTES);
  length = 0;
  #kept = 0;
  /** @type {(Origin & { end: number, payloadAt: number, payloadBytes: number })[]} */
  #entries = [];

  get isEmpty() {
    return this.length === 0;
  }

  get bytes() {
    return this.#buffer.subarray(0, this.length);
  }

  /** @param {LogRecord} record */
  hasRoomFor(record) {
    return this.length === 0 || this.length + frameBytes(record.source, record.payload.length) <= CAPACITY_BYTES;
  }

  /** @param {LogRecord} record @param {Origin} origin */
  add(record, origin) {
    const end = encodeFrame(this.#buffer, this.length, record);
    const payloadBytes = record.payload.length;
    this.#entries.push({ ...origin, end, payloadAt: end - 4 - payloadBytes, payloadBytes });
    this.length = end;
  }

  /** Where the last whole record ends of which the disk took everything. @param {number} written bytes that it took */
  wholeRecordsIn(written) {
    this.#kept = this.#entries.findLast(({ end }) => end <= written)?.end ?? 0;
    return this.#kept;
  }

  /** The records after those. */
  notWritten() {
    const missing = this.#entries.filter(({ end }) => end > this.#kept);
    return missing.map((entry) => ({
      ...entry,
      payload: Buffer.from(this.#buffer.subarray(entry.payloadAt, entry.payloadAt + entry.payloadBytes)),
    }));
  }

  clear() {
    this.length = 0;
    this.#kept = 0;
    this.#entries = [];
  }
}
