import type { LogChunk } from './log-chunk.ts';

/** Reads one chunk ahead, so that waiting for it can be given up without losing it. */
export class ChunkSource {
  readonly #iterator: AsyncIterator<LogChunk>;
  #reading = false;
  #read: { chunk: LogChunk | 'ended' } | { error: unknown } | null = null;
  #wake: (() => void) | null = null;

  constructor(chunks: AsyncIterable<LogChunk>, signal: AbortSignal) {
    this.#iterator = chunks[Symbol.asyncIterator]();
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
  }

  /** Whoever waits for a chunk looks at something else first. */
  interrupt(): void {
    this.#wake?.();
  }

  /** Null: nothing came within the time, or before the signal aborted or an interruption. */
  async next(timeoutMs: number): Promise<LogChunk | 'ended' | null> {
    if (!this.#reading) void this.#readAhead();
    if (this.#read === null) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      const timer = Number.isFinite(timeoutMs) ? setTimeout(woken.resolve, Math.max(0, timeoutMs)) : undefined;
      await woken.promise;
      clearTimeout(timer);
      this.#wake = null;
    }
    const read = this.#read;
    if (read === null) return null;
    this.#read = null;
    this.#reading = false;
    if ('error' in read) throw read.error;
    return read.chunk;
  }

  close(): void {
    void this.#iterator.return?.().catch(() => {});
  }

  async #readAhead(): Promise<void> {
    this.#reading = true;
    try {
      const { done, value } = await this.#iterator.next();
      this.#read = { chunk: done ? 'ended' : value };
    } catch (error) {
      this.#read = { error };
    }
    this.#wake?.();
  }
}
