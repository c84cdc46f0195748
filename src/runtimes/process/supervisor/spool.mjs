/**
 * The stack's log on disk: records appended to segments, bounded in all. What does not fit is counted per stream and told
 * by one exact gap record when there is room again; services never wait for it. Written by one supervisor at a time.
 */
import fs from 'node:fs';
import { BatchBuffer } from './batch-buffer.mjs';
import { EVENT, EVENTS, GAP, gapPayload, MAX_PAYLOAD_BYTES, OUTPUT } from './frame.mjs';
import { SegmentWriter } from './segment-writer.mjs';

/** @import { EventName, Source, Stream } from './frame.mjs' */

export const SEGMENT_BYTES = 4 * 1024 * 1024;
/** Room that is kept to end the line under way when the bound is reached. */
const RESERVE_BYTES = 1024 * 1024;
/** Free space on the disk from which writing is tried again after it was full. */
const DISK_ROOM_BYTES = 256 * 1024;
const RETRY_MS = 1_000;
/** Events that wait for room; beyond it the oldest go. */
const MAX_WAITING_EVENTS = 1_000;
const NEWLINE = 10;

/**
 * One output stream of one instance. `dropped`: what is missing since the last gap record; `midLine`: its last byte ended no line.
 * @typedef {{
 *   source: Source, stream: 1 | 2, storedMidLine: boolean,
 *   dropped: { lines: number, bytes: number, midLine: boolean, reason: string } | null,
 * }} Channel
 * @typedef {{ source: Source, event: number, time: number, message: string }} WaitingEvent
 */

export class Spool {
  #batch = new BatchBuffer();
  #flushIsDue = false;
  /** @type {'bound' | 'disk' | null} */
  #full = null;
  #fullReason = '';
  /** @type {Set<Channel>} */
  #gaps = new Set();
  /** @type {WaitingEvent[]} */
  #waitingEvents = [];
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {NodeJS.Timeout | null} */
  #retry = null;
  #writer;
  #directory;
  #limitBytes;
  #segmentBytes;
  #reserveBytes;
  #now;

  /** @param {{ directory: string, limitBytes: number, hostRestarted: boolean, now?: () => number }} options */
  constructor({ directory, limitBytes, hostRestarted, now = Date.now }) {
    this.#directory = directory;
    this.#limitBytes = limitBytes;
    this.#segmentBytes = Math.min(SEGMENT_BYTES, Math.max(1, Math.floor(limitBytes / 4)));
    this.#reserveBytes = Math.min(RESERVE_BYTES, Math.floor(limitBytes / 8));
    this.#now = now;
    this.#writer = new SegmentWriter({ directory, segmentBytes: this.#segmentBytes, hostRestarted });
  }

  /** Position after the newest record on disk. */
  get end() {
    return this.#writer.end;
  }

  /** Whether everything that was handed in is on disk or told by a gap record. */
  get isSettled() {
    return this.#batch.isEmpty && this.#gaps.size === 0 && this.#waitingEvents.length === 0;
  }

  /** Called after records reached the disk. @param {() => void} listener @returns {() => void} */
  onAppend(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {Source} source @param {Stream} stream @returns {Channel} */
  channel(source, stream) {
    return { source, stream: stream === 'STDOUT' ? 1 : 2, storedMidLine: false, dropped: null };
  }

  /** @param {Channel} channel @param {Buffer} bytes at most 64 KiB; free for reuse afterwards */
  output(channel, bytes) {
    let rest = bytes;
    if (channel.dropped && !this.#full) rest = this.#resume(channel, rest);
    if (!channel.dropped && this.#full !== 'disk') rest = this.#store(channel, rest);
    if (rest.length > 0) this.#drop(channel, rest);
  }

  /** @param {Source} source @param {EventName} event @param {string} message */
  event(source, event, message) {
    const waiting = { source, event: EVENTS.indexOf(event), time: this.#now(), message };
    if (!this.#full) return this.#appendEvent(waiting);
    if (this.#waitingEvents.length >= MAX_WAITING_EVENTS) this.#waitingEvents.shift();
    this.#waitingEvents.push(waiting);
  }

  /** A process's stream came to its end: a line that a gap cut ends here as well. @param {Channel} channel */
  endOfStream(channel) {
    if (channel.dropped?.midLine) {
      channel.dropped.lines += 1;
      channel.dropped.midLine = false;
    }
    if (channel.dropped && !this.#full) this.#appendGap(channel);
    channel.storedMidLine = false;
  }

  /** Deletes the segments that lie wholly before a position. @param {number} before */
  trim(before) {
    this.flush();
    // When the log is full and wholly read, the newest segment goes as well: a new one takes its place first.
    if (this.#full && before >= this.#writer.end) this.#writer.rotate();
    this.#writer.trim(before);
    if (this.#full) this.#recover();
  }

  /** Writes what was appended since the last flush. */
  flush() {
    if (this.#batch.isEmpty) return;
    const error = this.#writer.append(this.#batch.bytes, (written) => this.#batch.wholeRecordsIn(written));
    if (error) this.#takeBack(error);
    this.#batch.clear();
    for (const listener of this.#listeners) listener();
  }

  close() {
    if (this.#retry) clearInterval(this.#retry);
    this.#retry = null;
    this.#full = null;
    this.#writeWaiting();
    this.flush();
    this.#writer.close();
  }

  /** What there is room for; on reaching the bound still the rest of a line that is under way. @param {Channel} channel @param {Buffer} bytes */
  #store(channel, bytes) {
    let stored = bytes;
    const needed = this.#writer.storedBytes + this.#batch.length + bytes.length + MAX_PAYLOAD_BYTES;
    if (this.#full || needed > this.#limitBytes - this.#reserveBytes) {
      if (!this.#full)
        this.#becomeFull('bound', `the log’s bound of ${this.#limitBytes} bytes was reached before it was read`);
      const lineEnd = channel.storedMidLine ? bytes.indexOf(NEWLINE) + 1 : 0;
      stored = needed > this.#limitBytes ? bytes.subarray(0, 0) : bytes.subarray(0, lineEnd);
    }
    if (stored.length === 0) return bytes;
    channel.storedMidLine = stored[stored.length - 1] !== NEWLINE;
    const { source, stream } = channel;
    this.#append({ source, type: OUTPUT, stream, time: this.#now(), payload: stored }, channel);
    return bytes.subarray(stored.length);
  }

  /** There is room again: what ends the cut line is dropped too, so that storing goes on with a whole line. @param {Channel} channel @param {Buffer} bytes */
  #resume(channel, bytes) {
    const cut = channel.dropped?.midLine ? bytes.indexOf(NEWLINE) + 1 : 0;
    if (cut > 0) this.#drop(channel, bytes.subarray(0, cut));
    this.#appendGap(channel);
    return bytes.subarray(cut);
  }

  /** @param {Channel} channel @param {Buffer} bytes */
  #drop(channel, bytes) {
    channel.dropped ??= { lines: 0, bytes: 0, midLine: false, reason: this.#fullReason };
    channel.dropped.bytes += bytes.length;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) channel.dropped.lines += 1;
    channel.dropped.midLine = bytes[bytes.length - 1] !== NEWLINE;
    channel.storedMidLine = false;
    this.#gaps.add(channel);
  }

  /** @param {Channel} channel */
  #appendGap(channel) {
    const { source, stream, dropped } = channel;
    if (!dropped) return;
    channel.dropped = null;
    this.#gaps.delete(channel);
    const payload = gapPayload(dropped.lines, dropped.bytes, dropped.reason);
    this.#append({ source, type: GAP, stream, time: this.#now(), payload }, channel, dropped);
  }

  /** @param {WaitingEvent} waiting */
  #appendEvent(waiting) {
    const { source, event, time, message } = waiting;
    const payload = Buffer.from(message).subarray(0, MAX_PAYLOAD_BYTES);
    this.#append({ source, type: EVENT, event, time, payload }, null, null, waiting);
  }

  /**
   * @param {Parameters<BatchBuffer['add']>[0]} record
   * @param {Channel | null} channel
   * @param {Channel['dropped']} [gap]
   * @param {WaitingEvent | null} [event]
   */
  #append(record, channel, gap = null, event = null) {
    if (!this.#batch.hasRoomFor(record)) this.flush();
    if (this.#full === 'disk' && channel && !gap) return this.#drop(channel, record.payload);
    this.#batch.add(record, { channel, gap, event });
    if (this.#flushIsDue) return;
    this.#flushIsDue = true;
    setImmediate(() => {
      this.#flushIsDue = false;
      this.flush();
    });
  }

  /** The disk did not take everything: records that are missing are counted, or wait. @param {NodeJS.ErrnoException} error */
  #takeBack(error) {
    this.#becomeFull('disk', reasonOf(error));
    const events = [];
    for (const { channel, gap, event, payload } of this.#batch.notWritten()) {
      if (event) events.push(event);
      else if (channel && gap) this.#reopenGap(channel, gap);
      else if (channel) this.#drop(channel, payload);
    }
    this.#waitingEvents.unshift(...events);
  }

  /** @param {Channel} channel @param {NonNullable<Channel['dropped']>} gap */
  #reopenGap(channel, gap) {
    const later = channel.dropped;
    channel.dropped = gap;
    if (later) {
      channel.dropped.lines += later.lines;
      channel.dropped.bytes += later.bytes;
      channel.dropped.midLine = later.midLine;
    }
    this.#gaps.add(channel);
  }

  /** @param {'bound' | 'disk'} cause @param {string} reason */
  #becomeFull(cause, reason) {
    this.#full = cause;
    this.#fullReason = reason;
    this.#retry ??= setInterval(() => this.#recover(), RETRY_MS);
  }

  #recover() {
    if (this.#full === 'bound' && this.#writer.storedBytes + this.#segmentBytes > this.#limitBytes - this.#reserveBytes)
      return;
    if (this.#full === 'disk' && !this.#diskHasRoom()) return;
    const wasFull = this.#full !== null;
    this.#full = null;
    // A line that is being dropped may end with the next output: it gets until the next turn for that.
    this.#writeWaiting(wasFull);
    this.flush();
    if (this.#full || this.#gaps.size > 0 || !this.#retry) return;
    clearInterval(this.#retry);
    this.#retry = null;
  }

  #writeWaiting(onlyWholeLines = false) {
    for (const channel of [...this.#gaps]) {
      if (!onlyWholeLines || !channel.dropped?.midLine) this.#appendGap(channel);
    }
    const events = this.#waitingEvents;
    this.#waitingEvents = [];
    for (const event of events) {
      if (this.#full) this.#waitingEvents.push(event);
      else this.#appendEvent(event);
    }
  }

  #diskHasRoom() {
    const { bavail, bsize } = fs.statfsSync(this.#directory);
    return bavail * bsize >= DISK_ROOM_BYTES;
  }
}

/** @param {NodeJS.ErrnoException} error */
function reasonOf(error) {
  if (error.code === 'ENOSPC') return 'the disk was full';
  if (error.code === 'EDQUOT') return 'the disk quota was used up';
  return `the log could not be written: ${error.code ?? error.message}`;
}
