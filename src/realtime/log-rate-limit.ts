/** How much of the limit may come at once: so many seconds' worth. */
export const BURST_SECONDS = 10;
/** The limit on bytes: lines may be so long on average. */
export const BYTES_PER_LINE = 1024;
/** An instance over the limit stays out until so many seconds' worth of its share are free: what is stored are excerpts, not single lines. */
const PAUSE_SECONDS = 1;
/** This part of the limit is divided among the instances; the rest is for whoever needs more. */
const DIVIDED_PART = 0.5;
/** Lines of several streams come a little out of order; a time so much earlier says that a clock was set back. */
const CLOCK_SET_BACK_MS = 10_000;

type Bucket = { lines: number; bytes: number };

/**
 * Bounds what is stored of one stack's log, which is that of its live deployment: a token bucket for lines and for bytes. Half of it
 * is divided among the instances, so that a noisy one takes no line from those that stay below their share. Time is that of the
 * lines: a backlog that was written at a lawful pace is stored whole, however fast it is read.
 */
export class LogRateLimit {
  readonly #linesPerSecond: number;
  readonly #common: Bucket;
  readonly #shares = new Map<string, Bucket & { isPaused: boolean }>();
  #time = Number.NEGATIVE_INFINITY;

  /** 0: there is no limit. */
  constructor(linesPerSecond: number) {
    this.#linesPerSecond = linesPerSecond;
    this.#common = this.#full(1 - DIVIDED_PART);
  }

  /** Whether a line of an instance may be stored; if so, it is counted. `time` in milliseconds. */
  admits(instanceId: string, bytes: number, time: number): boolean {
    if (this.#linesPerSecond === 0) return true;
    if (time > this.#time || time < this.#time - CLOCK_SET_BACK_MS) this.#refill(time);
    const share = this.#shares.get(instanceId) ?? this.#addShare(instanceId);
    if (share.isPaused) return false;
    // One long line may take more than there is: those after it wait for that.
    const bucket = hasRoom(share) ? share : this.#common;
    share.isPaused = !hasRoom(bucket);
    if (share.isPaused) return false;
    bucket.lines -= 1;
    bucket.bytes -= bytes;
    return true;
  }

  /** The instance writes no more: its share is the others'. */
  forget(instanceId: string): void {
    this.#shares.delete(instanceId);
  }

  #addShare(instanceId: string) {
    const share = { ...this.#full(DIVIDED_PART / (this.#shares.size + 1)), isPaused: false };
    this.#shares.set(instanceId, share);
    return share;
  }

  #full(part: number): Bucket {
    const lines = this.#linesPerSecond * part * BURST_SECONDS;
    return { lines, bytes: lines * BYTES_PER_LINE };
  }

  #refill(time: number): void {
    const seconds = Math.max(0, time - this.#time) / 1_000;
    this.#time = time;
    this.#fill(this.#common, 1 - DIVIDED_PART, seconds);
    const part = DIVIDED_PART / this.#shares.size;
    const enough = this.#linesPerSecond * part * PAUSE_SECONDS;
    for (const share of this.#shares.values()) {
      this.#fill(share, part, seconds);
      if (share.lines >= enough && share.bytes >= enough * BYTES_PER_LINE) share.isPaused = false;
    }
  }

  #fill(bucket: Bucket, part: number, seconds: number): void {
    const full = this.#full(part);
    const lines = this.#linesPerSecond * part * seconds;
    bucket.lines = Math.min(full.lines, bucket.lines + lines);
    bucket.bytes = Math.min(full.bytes, bucket.bytes + lines * BYTES_PER_LINE);
  }
}

function hasRoom({ lines, bytes }: Bucket): boolean {
  return lines >= 1 && bytes > 0;
}
