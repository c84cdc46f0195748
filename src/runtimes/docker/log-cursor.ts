import type { LogChunk, LogPlace } from '../runtime.ts';
import type { Death, Lifecycle } from './container-history.ts';
import type { LogRecord } from './log-stream.ts';
import { milliseconds, NS_PER_MS } from './time.ts';

/** So far behind each other the engine may write down what a container wrote to its two streams. */
const REORDER_NS = 10_000_000_000n;
/** What lies between two runs takes so many positions, whatever is known of it: the end, the restart, the start. */
const BOUNDARY = 3;

export type LogOrigin = { instanceId: string; service: string; replica: number };
type StreamName = LogRecord['stream'];
/** The time of a stream's newest record, and how many records of that time were taken. */
type StreamPlace = { time: bigint; count: number };
type Mark = { p: string; b: number; e: string; h: string; o: [string, number]; r: [string, number] };

/** Output under way: of one stream and, up to `until`, of one millisecond. */
type OpenOutput = { stream: StreamName; time: bigint; until: bigint; position: number; parts: Uint8Array[] };

/** Where a reader is in a container's log: what of it was told, and at which position the next byte lies. */
export class LogCursor {
  position: number;
  readonly #origin: LogOrigin;
  #phase: 'new' | 'running' | 'ended' | 'removed' = 'new';
  /** Of the boundary under way, how much is told. */
  #boundary = 0;
  #lifecycle = 0n;
  #health = 0n;
  readonly #streams: Record<StreamName, StreamPlace> = {
    STDOUT: { time: 0n, count: 0 },
    STDERR: { time: 0n, count: 0 },
  };
  /** Records of its newest times that were met again since the log was opened. */
  readonly #again: Record<StreamName, number> = { STDOUT: 0, STDERR: 0 };
  #mustMeet = false;

  constructor(origin: LogOrigin, { position, mark }: LogPlace) {
    this.#origin = origin;
    this.position = mark === null ? 0 : position;
    if (mark === null) return;
    const { p, b, e, h, o, r }: Mark = JSON.parse(mark);
    this.#phase = p as LogCursor['phase'];
    this.#boundary = b;
    this.#lifecycle = BigInt(e);
    this.#health = BigInt(h);
    this.#streams.STDOUT = { time: BigInt(o[0]), count: o[1] };
    this.#streams.STDERR = { time: BigInt(r[0]), count: r[1] };
  }

  get phase() {
    return this.#phase;
  }

  /** The log is read from this time on, inclusively. */
  open(): bigint {
    const { STDOUT, STDERR } = this.#streams;
    this.#again.STDOUT = 0;
    this.#again.STDERR = 0;
    const [older, newer] = STDOUT.time < STDERR.time ? [STDOUT.time, STDERR.time] : [STDERR.time, STDOUT.time];
    this.#mustMeet = newer > 0n;
    const behind = newer - REORDER_NS;
    return older > behind ? older : behind > 0n ? behind : 0n;
  }

  /** Whether a record came after all that was told of its stream. */
  isAhead({ stream, time }: LogRecord): boolean {
    return time > this.#streams[stream].time;
  }

  /** What records add, those of one stream and one millisecond as one; nothing where they were told before. */
  take(records: readonly LogRecord[]): LogChunk[] {
    const chunks: LogChunk[] = [];
    let open: OpenOutput | null = null;
    for (const record of records) {
      const { stream, time, bytes } = record;
      if (this.#isKnown(record)) continue;
      const goesOn: boolean = open !== null && open.stream === stream && time < open.until && !this.#mustMeet;
      if (open && !goesOn) chunks.push(this.#output(open));
      if (!open || !goesOn) {
        if (this.#mustMeet) chunks.push(this.#gap(stream, time));
        this.#mustMeet = false;
        // A program may write before the engine says that it was started.
        chunks.push(...this.#start(time));
        const until = time - (time % NS_PER_MS) + NS_PER_MS;
        open = { stream, time, until, position: this.position, parts: [] };
      }
      this.#note(record);
      this.position += bytes.length;
      open.parts.push(bytes);
    }
    if (open) chunks.push(this.#output(open));
    return chunks;
  }

  /** Whether an event of the container's life has not been told yet. */
  isNews({ kind, time }: Lifecycle): boolean {
    return time > (kind === 'health' ? this.#health : this.#lifecycle);
  }

  started(time: bigint): LogChunk[] {
    this.#lifecycle = time;
    return this.#start(time);
  }

  ended({ time }: Death, message: string, restarting: string | null): LogChunk[] {
    const before = this.#start(time);
    this.#lifecycle = time;
    return [...before, ...this.#end(time, message), ...(restarting === null ? [] : this.#restart(time, restarting))];
  }

  /** It could not be started at all. */
  failed(time: bigint, message: string): LogChunk[] {
    if (this.#phase !== 'new') return [];
    this.#lifecycle = time;
    this.position += 1;
    return this.#end(time, message);
  }

  health(time: bigint, message: string): LogChunk[] {
    this.#health = time;
    return [this.#event('health', time, message, 0)];
  }

  removed(time: bigint, message: string): LogChunk[] {
    if (this.#phase === 'removed') return [];
    if (this.#phase === 'ended') this.position += BOUNDARY - 1 - this.#boundary;
    this.#phase = 'removed';
    return [this.#event('removed', time, message)];
  }

  /** Whether it was told before. */
  #isKnown({ stream, time }: LogRecord): boolean {
    const place = this.#streams[stream];
    if (time < place.time) return true;
    if (time !== place.time || this.#again[stream] >= place.count) return false;
    this.#again[stream] += 1;
    this.#mustMeet = false;
    return true;
  }

  #note({ stream, time }: LogRecord): void {
    const place = this.#streams[stream];
    place.count = time === place.time ? place.count + 1 : 1;
    place.time = time;
    this.#again[stream] = place.count;
  }

  /** As far as it was taken: its mark tells no more than that. */
  #output({ stream, time, position, parts }: OpenOutput): LogChunk {
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    return { kind: 'output', ...this.#common(position, time), stream, bytes };
  }

  #start(time: bigint): LogChunk[] {
    if (this.#phase === 'running' || this.#phase === 'removed') return [];
    if (this.#phase === 'ended') this.position += BOUNDARY - 1 - this.#boundary;
    this.#phase = 'running';
    this.#boundary = 0;
    return [this.#event('started', time, 'started')];
  }

  #end(time: bigint, message: string): LogChunk[] {
    this.#phase = 'ended';
    this.#boundary = 1;
    return [this.#event('ended', time, message)];
  }

  #restart(time: bigint, message: string): LogChunk[] {
    this.#boundary = 2;
    return [this.#event('restarting', time, message)];
  }

  #event(event: (LogChunk & { kind: 'event' })['event'], time: bigint, message: string, width = 1): LogChunk {
    const position = this.position;
    this.position += width;
    return { kind: 'event', ...this.#common(position, time), event, message };
  }

  #gap(stream: StreamName, time: bigint): LogChunk {
    const position = this.position;
    this.position += 1;
    const reason = 'the engine rotated its log before it was read';
    return { kind: 'gap', ...this.#common(position, time), stream, lines: 0, bytes: 0, reason };
  }

  #common(position: number, time: bigint) {
    return { position, next: this.position, ...this.#origin, time: milliseconds(time), mark: this.#mark() };
  }

  #mark(): string {
    const { STDOUT, STDERR } = this.#streams;
    const mark: Mark = {
      p: this.#phase,
      b: this.#boundary,
      e: String(this.#lifecycle),
      h: String(this.#health),
      o: [String(STDOUT.time), STDOUT.count],
      r: [String(STDERR.time), STDERR.count],
    };
    return JSON.stringify(mark);
  }
}

/** What of a chunk lies at or after a position. */
export function startingAt(chunk: LogChunk, from: number): LogChunk | null {
  if (chunk.position >= from) return chunk;
  if (chunk.kind !== 'output' || from >= chunk.position + chunk.bytes.length) return null;
  return { ...chunk, position: from, bytes: chunk.bytes.subarray(from - chunk.position) };
}
