/** The newest end of a spool: appends to segments, begins new ones, deletes old ones. Knows bytes and positions, no records. */
import fs from 'node:fs';
import { completeEnd, listSegments, segmentPath } from './segments.mjs';

/** @import { Segment } from './segments.mjs' */

/** Positions jump so far after a host restarted: what the disk lost then may have been read before, and no position comes twice. */
export const RESTART_SKIP_BYTES = 64 * 1024 ** 3;

export class SegmentWriter {
  /** Position after the newest complete record. */
  end = 0;
  /** Of all segments that are not deleted. */
  storedBytes = 0;
  /** @type {Segment[]} */
  #segments;
  /** Of the newest segment; null until this process has begun one of its own. @type {number | null} */
  #fd = null;
  #nextStart = 0;
  #directory;
  #segmentBytes;

  /** @param {{ directory: string, segmentBytes: number, hostRestarted: boolean }} options */
  constructor({ directory, segmentBytes, hostRestarted }) {
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#segments = listSegments(directory);
    this.storedBytes = this.#segments.reduce((sum, { size }) => sum + size, 0);
    const last = this.#segments.at(-1);
    if (!last) return;
    this.#nextStart = last.start + last.size + (hostRestarted ? RESTART_SKIP_BYTES : 0);
    this.end = hostRestarted ? this.#nextStart : completeEnd(directory, last);
  }

  /**
   * Appends what the disk takes. Where it does not take everything, `wholeUpTo` says how much of what it took is worth keeping.
   * @param {Uint8Array} bytes
   * @param {(written: number) => number} wholeUpTo
   * @returns {NodeJS.ErrnoException | null} why it was not everything
   */
  append(bytes, wholeUpTo) {
    let written = 0;
    try {
      const { fd, segment } = this.#open();
      while (written < bytes.length) {
        written += fs.writeSync(fd, bytes, written, bytes.length - written, segment.size + written);
      }
      this.#advance(written);
      return null;
    } catch (error) {
      if (this.#fd !== null) this.#cutAfter(this.#fd, wholeUpTo(written));
      return /** @type {NodeJS.ErrnoException} */ (error);
    }
  }

  /** Deletes segments that lie wholly before a position; never the newest, whose name keeps the position. @param {number} before */
  trim(before) {
    while (this.#segments.length > 1) {
      const oldest = /** @type {Segment} */ (this.#segments[0]);
      if (oldest.start + oldest.size > before) return;
      fs.rmSync(segmentPath(this.#directory, oldest.start), { force: true });
      this.#segments.shift();
      this.storedBytes -= oldest.size;
    }
  }

  /** Begins a new segment, so that the one before can be deleted. Does nothing where the disk has no room for it. */
  rotate() {
    if (this.#segments.at(-1)?.size === 0) return;
    try {
      this.#begin();
    } catch {
      return;
    }
  }

  close() {
    if (this.#fd !== null) fs.closeSync(this.#fd);
    this.#fd = null;
  }

  #open() {
    const active = this.#segments.at(-1);
    if (this.#fd !== null && active && active.size < this.#segmentBytes) return { fd: this.#fd, segment: active };
    return this.#begin();
  }

  #begin() {
    const fd = fs.openSync(segmentPath(this.#directory, this.#nextStart), 'w', 0o600);
    this.close();
    this.#fd = fd;
    // An empty one of that name only kept the position.
    if (this.#segments.at(-1)?.start === this.#nextStart) this.#segments.pop();
    const segment = { start: this.#nextStart, size: 0 };
    this.#segments.push(segment);
    return { fd, segment };
  }

  /** @param {number} bytes */
  #advance(bytes) {
    const segment = /** @type {Segment} */ (this.#segments.at(-1));
    segment.size += bytes;
    this.storedBytes += bytes;
    this.#nextStart = segment.start + segment.size;
    if (bytes > 0) this.end = this.#nextStart;
  }

  /** @param {number} fd @param {number} kept */
  #cutAfter(fd, kept) {
    const size = (this.#segments.at(-1)?.size ?? 0) + kept;
    try {
      fs.ftruncateSync(fd, size);
    } catch {
      // What is written next takes that place anyway; until then readers take it for a record that is not complete.
    }
    this.#advance(kept);
  }
}
