import type { Pool } from 'pg';
import { delay } from '../shared/clock.ts';
import { newId } from '../shared/ids.ts';
import type { Logger } from '../shared/logger.ts';
import { BackgroundWork } from './background-work.ts';
import { ChunkSource } from './chunk-source.ts';
import { InstanceOutput } from './instance-output.ts';
import type { LogGate } from './line-gate.ts';
import { FenceLostError, isWorthRetrying, type LogBatchTarget, writeBatch } from './log-batch.ts';
import { type LogChunk, type LogPlace, sliced } from './log-chunk.ts';
import { LogMarks } from './log-marks.ts';
import { type LogOffset, loadOffset, NOTHING_STORED } from './log-offset.ts';
import { LogRateLimit } from './log-rate-limit.ts';
import type { Masker } from './masking.ts';
import { OpenBatch } from './open-batch.ts';
import { retry } from './retry.ts';

export { FenceLostError } from './log-batch.ts';

/** How much of the runtime's log one stream's held back bytes may keep from being forgotten. */
const MAX_PINNED_BYTES = 16 * 1024 * 1024;
/** How long an ending run waits for a transaction under way, so that the next one finds it done. */
const STOP_GRACE_MS = 2_000;
/** Output is taken in pieces of this size: it bounds what one batch can hold beyond its own limits. */
const SLICE_BYTES = 8 * 1024;

export type LogCollectorOptions = LogBatchTarget & {
  pool: Pool;
  log: Logger;
  /** The log from a place on, then live, until the signal aborts or nothing more can come of it. */
  read: (from: LogPlace, signal: AbortSignal) => AsyncIterable<LogChunk>;
  /** Masks the instance's secrets; null: the instance is not known any more, and its lines are left out. */
  maskerOf: (instanceId: string) => Promise<Masker | null>;
  /** How many lines a second are stored in the long run, see LogRateLimit; the others are counted. Absent or 0: all. */
  linesPerSecond?: number;
  /** Everything before the position is stored: the runtime may forget it. */
  onStored?: (position: number) => void;
};

type Run = {
  /** What was stored when it began. */
  resumed: LogOffset;
  batch: OpenBatch;
  marks: LogMarks;
  outputs: Map<string, InstanceOutput | null>;
  gate: LogGate;
  signal: AbortSignal;
};
type Waiter = { position: number; resolve: () => void };

/**
 * Stores one log, a stack's or an instance's: every line once, in order, across crashes of this process and outages of the
 * database. While one batch is written the next one fills, and no more is read.
 */
export class LogCollector {
  readonly #options: LogCollectorOptions;
  readonly #waiters = new Set<Waiter>();
  #stored: LogOffset = NOTHING_STORED;
  /** That of the batch which is being written, if any. */
  #begun: LogOffset = NOTHING_STORED;
  /** A new one for each run: a write of an earlier run that is still under way is then somebody else's. */
  #writer = '';
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: LogCollectorOptions) {
    this.#options = options;
  }

  /** Everything before this position of the log is stored, unfinished lines aside. */
  get storedPosition(): number {
    return this.#stored.head;
  }

  /**
   * Reads and stores until the signal aborts or the log ends. Throws FenceLostError when another process has taken over. May be
   * called again after any error: it goes on where the last stored batch ended.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { pool, owner, read } = this.#options;
    this.#writer = newId();
    try {
      this.#begun = await this.#insist(() => loadOffset(pool, owner), signal, isWorthRetrying);
      this.#moveTo(this.#begun);
      const end = new AbortController();
      const reading = AbortSignal.any([signal, end.signal]);
      const source = new ChunkSource(read(this.#stored.start, reading), reading);
      try {
        await this.#collect(source, reading);
      } finally {
        end.abort();
        source.close();
      }
    } catch (error) {
      if (!signal.aborted || error instanceof FenceLostError) throw error;
    } finally {
      const settled = new AbortController();
      await Promise.race([this.#writing.finally(() => settled.abort()), delay(STOP_GRACE_MS, settled.signal)]);
    }
  }

  /** Resolves with true once everything before the position is stored, with false when the signal aborts first. */
  async waitFor(position: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#stored.head >= position) return true;
    const stored = Promise.withResolvers<void>();
    const waiter = { position, resolve: () => stored.resolve() };
    this.#waiters.add(waiter);
    signal?.addEventListener('abort', waiter.resolve, { once: true });
    if (!signal?.aborted) await stored.promise;
    signal?.removeEventListener('abort', waiter.resolve);
    this.#waiters.delete(waiter);
    return this.#stored.head >= position;
  }

  async #collect(source: ChunkSource, signal: AbortSignal): Promise<void> {
    const { maskerOf, linesPerSecond = 0 } = this.#options;
    const resumed = this.#stored;
    const gate = { limit: new LogRateLimit(linesPerSecond), cut: new Set(resumed.cut) };
    const outputs = new Map<string, InstanceOutput | null>();
    const batch = new OpenBatch(resumed.head);
    const marks = new LogMarks(resumed.start);
    const storing = new BackgroundWork(() => source.interrupt());
    const write = async () => {
      await storing.settled();
      storing.start(this.#write({ resumed, batch, marks, outputs, gate, signal }));
    };
    let readAt = performance.now();
    while (!signal.aborted) {
      storing.throwIfFailed();
      batch.busy(performance.now() - readAt);
      batch.flushIdle(performance.now());
      if (batch.isDue(performance.now(), this.#begun.head)) await write();
      const chunk = await source.next(batch.dueAt(this.#begun.head) - performance.now());
      readAt = performance.now();
      if (chunk === null) continue;
      if (chunk === 'ended') break;
      let output = outputs.get(chunk.instanceId);
      if (output === undefined) {
        // Nothing may be stored unmasked: whatever keeps the secrets from being known is waited for.
        const masker = await this.#insist(
          () => maskerOf(chunk.instanceId),
          signal,
          () => true,
        );
        output = masker && new InstanceOutput(chunk, masker, gate, resumed);
        outputs.set(chunk.instanceId, output);
      }
      for (const piece of sliced(chunk, SLICE_BYTES)) {
        if (signal.aborted) return;
        batch.add(piece, output, readAt);
        if (piece.mark !== undefined) marks.add({ position: piece.next, mark: piece.mark });
        if (batch.isFull) await write();
      }
      if (chunk.kind !== 'event' || chunk.event !== 'removed') continue;
      output?.close();
      outputs.delete(chunk.instanceId);
    }
    if (signal.aborted) return storing.throwIfFailed();
    await storing.settled();
    if (batch.hasNews(this.#begun.head)) await write();
    await storing.settled();
  }

  async #write({ resumed, batch, marks, outputs, gate, signal }: Run): Promise<void> {
    const pinned = batch.head - MAX_PINNED_BYTES;
    const present = [...outputs.values()].filter((output) => output !== null);
    if (pinned > 0) for (const output of present) batch.lines.push(...output.releaseBefore(pinned));
    // The offset moves past what was dropped with the line that tells of it.
    for (const output of present) batch.lines.push(...output.tellDropped());
    const notReadAgain = [...resumed.pending].filter(([, { position }]) => position >= batch.position);
    const pending = new Map([...notReadAgain, ...present.flatMap((output) => [...output.pending()])]);
    const floor = Math.min(batch.head, ...[...pending.values()].map(({ position }) => position));
    const offset = {
      writer: this.#writer,
      batch: this.#begun.batch + 1,
      head: batch.head,
      floor,
      start: marks.startOf(floor),
      pending,
      cut: new Set(gate.cut),
    };
    this.#begun = offset;
    const lines = batch.takeLines(performance.now());
    const attempt = () => {
      const writing = writeBatch(this.#options.pool, this.#options, { lines, offset });
      this.#writing = writing.catch(() => {});
      return writing;
    };
    await this.#insist(attempt, signal, isWorthRetrying);
    batch.written(performance.now());
    this.#moveTo(offset);
  }

  #moveTo(offset: LogOffset): void {
    this.#stored = offset;
    this.#options.onStored?.(offset.floor);
    for (const waiter of [...this.#waiters]) if (waiter.position <= offset.head) waiter.resolve();
  }

  #insist<T>(work: () => Promise<T>, signal: AbortSignal, isTransient: (error: unknown) => boolean): Promise<T> {
    const { log, owner } = this.#options;
    const onRetry = (error: unknown, attempt: number) =>
      log.warn({ err: error, attempt, ...owner }, 'log lines cannot be stored at present; trying again');
    return retry(work, { signal, isTransient, onRetry });
  }
}
