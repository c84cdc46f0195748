import type { LogRecord } from './log-stream.ts';

/** What the engine writes beside a record's own bytes: names, quotes, stream and time. */
const RECORD_OVERHEAD_BYTES = 80;
/** A rate is measured over this much of the container's time. */
const WINDOW_NS = 100_000_000n;
/** Behind by so much of a file, the next rotation is too near. */
const ENDANGERED_PART = 4;
/** Drivers that rotate a log also where nothing says so, with the size of a file. */
const DEFAULT_SIZES: Record<string, string> = { local: '20m' };
const UNITS: Record<string, number> = { b: 1, k: 1_024, m: 1_024 ** 2, g: 1_024 ** 3 };

/** A container's, as the engine tells it. */
export type Logging = { Type: string; Config?: Record<string, string> | null };

/**
 * How far a reader is behind what its container writes, by the times that records bear. An engine's stream that follows a log goes on with
 * the newest file after a rotation: whoever is behind by more than a file loses what lies between, and is not told.
 */
export class LogBacklog {
  readonly #fileBytes: number | null;
  /** The least that the clock here was ahead of the time of a record that just came: the clocks may differ. */
  #ahead: bigint | null = null;
  #windowFrom: bigint | null = null;
  #windowBytes = 0;
  /** Bytes a nanosecond. */
  #rate = 0;

  constructor({ Type: driver, Config: options }: Logging) {
    this.#fileBytes = bytesOf(options?.['max-size'] ?? DEFAULT_SIZES[driver]);
  }

  /** Whether records that just came are so old that what was written since may be lost in a stream. Times in nanoseconds. */
  isDangerous(records: readonly LogRecord[], now: bigint): boolean {
    const [first] = records;
    if (this.#fileBytes === null || !first) return false;
    const last = records.at(-1)!;
    const ahead = now - last.time;
    if (this.#ahead === null || ahead < this.#ahead) this.#ahead = ahead;
    this.#measure(records, first.time, last.time);
    const lag = Number(now - first.time - this.#ahead);
    return lag * this.#rate > this.#fileBytes / ENDANGERED_PART;
  }

  #measure(records: readonly LogRecord[], from: bigint, to: bigint): void {
    this.#windowFrom ??= from;
    for (const { bytes } of records) this.#windowBytes += bytes.length + RECORD_OVERHEAD_BYTES;
    const span = to - this.#windowFrom;
    if (span < WINDOW_NS) return;
    this.#rate = this.#windowBytes / Number(span);
    this.#windowFrom = to;
    this.#windowBytes = 0;
  }
}

function bytesOf(size: string | undefined): number | null {
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?)\s*([bkmg])?(?:i?b)?$/i.exec(size ?? '') ?? [];
  const bytes = Number(number) * UNITS[unit.toLowerCase()]!;
  return number === undefined || bytes <= 0 ? null : bytes;
}
