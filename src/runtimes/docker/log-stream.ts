import { RuntimeError } from '../runtime.ts';
import { nanoseconds, TimeReader } from './time.ts';

/** One record of a container's log: a line, a piece of a long one, or what came last. */
export type LogRecord = {
  stream: 'STDOUT' | 'STDERR';
  /** Nanoseconds since the epoch, by the engine's clock; never falls within a stream. */
  time: bigint;
  bytes: Uint8Array;
};

const HEADER_BYTES = 8;
const STDERR = 2;
const SYSTEM_ERROR = 3;
/** "2026-11-24T23:38:12.403282593Z " before each record. */
const TIME_BYTES = 30;
const TIME_START = /\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z /y;
/** The engine keeps longer lines in pieces of this size. */
const PIECE_BYTES = 16 * 1024;
const LF = 0x0a;

/** Takes the engine's stream of frames apart, however it is cut: 8 bytes that tell stream and length, then time and record. */
export class FrameParser {
  readonly #times = new TimeReader();
  #rest: Buffer = Buffer.alloc(0);

  /** @throws {RuntimeError} where the engine itself says that it cannot go on */
  push(bytes: Buffer): LogRecord[] {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const records: LogRecord[] = [];
    let at = 0;
    while (all.length - at >= HEADER_BYTES) {
      const end = at + HEADER_BYTES + all.readUInt32BE(at + 4);
      if (end > all.length) break;
      const start = at + HEADER_BYTES;
      if (all[at] === SYSTEM_ERROR)
        throw new RuntimeError(`the engine cannot read a log: ${all.toString('utf8', start, end).trim()}`);
      const stream = all[at] === STDERR ? 'STDERR' : 'STDOUT';
      const time = end - start < TIME_BYTES + 1 ? null : this.#times.read(all, start);
      records.push(
        time === null
          ? recordOf(stream, all.subarray(start, end))
          : { stream, time, bytes: all.subarray(start + TIME_BYTES + 1, end) },
      );
      at = end;
    }
    // A copy: a small rest must not hold the memory of what came with it.
    this.#rest = Buffer.from(all.subarray(at));
    return records;
  }

  finish(): LogRecord[] {
    return [];
  }
}

/** Takes apart the log of a container with a terminal: records without frames, each with its time before it. */
export class TerminalParser {
  #rest: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): LogRecord[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const records: LogRecord[] = [];
    for (let end = this.#recordEnd(); end !== null; end = this.#recordEnd()) {
      records.push(recordOf('STDOUT', this.#rest.subarray(0, end)));
      this.#rest = this.#rest.subarray(end);
    }
    return records;
  }

  /** The last record, which may lack the end of its line. */
  finish(): LogRecord[] {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length < TIME_BYTES ? [] : [recordOf('STDOUT', rest)];
  }

  #recordEnd(): number | null {
    const newline = this.#rest.indexOf(LF, TIME_BYTES);
    const pieceEnd = TIME_BYTES + 1 + PIECE_BYTES;
    const isLong = newline === -1 ? this.#rest.length >= pieceEnd + TIME_BYTES + 1 : newline >= pieceEnd;
    if (isLong) {
      TIME_START.lastIndex = 0;
      if (TIME_START.test(this.#rest.toString('latin1', pieceEnd, pieceEnd + TIME_BYTES + 1))) return pieceEnd;
    }
    return newline === -1 ? null : newline + 1;
  }
}

function recordOf(stream: LogRecord['stream'], payload: Buffer): LogRecord {
  const blank = payload.indexOf(0x20);
  const time = nanoseconds(payload.toString('latin1', 0, blank));
  if (time === null) throw new RuntimeError('the engine gave a line of a log without its time');
  return { stream, time, bytes: payload.subarray(blank + 1) };
}
