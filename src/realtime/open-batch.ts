import type { InstanceLine, InstanceOutput } from './instance-output.ts';
import type { LogChunk } from './log-chunk.ts';

/** What is read while the database works: the more of it, the fewer transactions. */
export const BATCH_LINES = 2_000;
export const BATCH_BYTES = 256 * 1024;
/** From the end of a transaction to the next, unless a batch is full before: as long as the last one took, within these bounds. */
export const MIN_PAUSE_MS = 5;
export const MAX_PAUSE_MS = 20;
/** An unfinished line is stored when nothing more of it came for so long. */
export const PARTIAL_LINE_MS = 250;
/** While lines are being dropped and none are stored, that is told so often. */
export const GAP_INTERVAL_MS = 1_000;

/** What was read and is not being stored yet. Times are those of `performance.now()`. */
export class OpenBatch {
  lines: InstanceLine[] = [];
  /** Everything before it is taken. */
  head: number;
  /** After the chunk taken last: before the head while what was held back is read again. */
  position = 0;
  #bytes = 0;
  /** The end of the last write, or that there is one under way: a slow database gets larger batches, not one for each chunk. */
  #writtenAt = Number.NEGATIVE_INFINITY;
  #readAt = Number.NEGATIVE_INFINITY;
  #takenAt = 0;
  #pauseMs = MIN_PAUSE_MS;
  /** While nothing is read, above all because two batches wait for the database, time says nothing about who is idle. */
  #busyMs = 0;
  /** Since when lines are dropped of which nothing is stored yet. */
  #droppedSince = Number.POSITIVE_INFINITY;
  /** Outputs with an unfinished line, and since when nothing came of it, the busy time left out. */
  readonly #unfinished = new Map<InstanceOutput, number>();

  constructor(head: number) {
    this.head = head;
  }

  add(chunk: LogChunk, output: InstanceOutput | null, now: number): void {
    this.head = Math.max(this.head, chunk.next);
    this.position = chunk.next;
    this.#readAt = now;
    if (output === null) return;
    this.#append(output.take(chunk), output, now);
    if (output.hasPartial) this.#unfinished.set(output, now - this.#busyMs);
    else this.#unfinished.delete(output);
  }

  flushIdle(now: number): void {
    for (const [output, since] of this.#unfinished) {
      if (since + this.#busyMs + PARTIAL_LINE_MS > now) continue;
      this.#unfinished.delete(output);
      this.#append(output.flushPartial(), output, now);
    }
  }

  get isFull(): boolean {
    return this.lines.length >= BATCH_LINES || this.#bytes >= BATCH_BYTES;
  }

  /** Whether there is anything to store beyond `head`: lines, or at least progress. */
  hasNews(head: number): boolean {
    return this.lines.length > 0 || this.head > head;
  }

  isDue(now: number, head: number): boolean {
    return this.#writeAt(head) <= now;
  }

  /** When something is to be done if nothing more comes. */
  dueAt(head: number): number {
    const flushes = [...this.#unfinished.values()].map((since) => since + this.#busyMs + PARTIAL_LINE_MS);
    return Math.min(this.#writeAt(head), ...flushes);
  }

  /** They are being written: nothing is due before that is done. */
  takeLines(now: number): InstanceLine[] {
    const { lines } = this;
    this.#takenAt = now;
    this.lines = [];
    this.#bytes = 0;
    this.#writtenAt = Number.POSITIVE_INFINITY;
    this.#droppedSince = Number.POSITIVE_INFINITY;
    return lines;
  }

  written(now: number): void {
    this.#writtenAt = now;
    this.#pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, now - this.#takenAt));
  }

  /** Nothing was read for so long. */
  busy(ms: number): void {
    this.#busyMs += ms;
  }

  #writeAt(storedHead: number): number {
    if (this.#writtenAt === Number.POSITIVE_INFINITY) return this.#writtenAt;
    if (this.isFull) return Number.NEGATIVE_INFINITY;
    if (this.lines.length > 0) return this.#writtenAt + this.#pauseMs;
    // Progress without lines can wait until nothing comes any more.
    const quietAt = this.head > storedHead ? this.#readAt + PARTIAL_LINE_MS : Number.POSITIVE_INFINITY;
    return Math.min(quietAt, this.#droppedSince + GAP_INTERVAL_MS);
  }

  #append(lines: InstanceLine[], output: InstanceOutput, now: number): void {
    if (output.hasDropped) this.#droppedSince = Math.min(this.#droppedSince, now);
    for (const line of lines) {
      this.lines.push(line);
      this.#bytes += line.message.length;
    }
  }
}
