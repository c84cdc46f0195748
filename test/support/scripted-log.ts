import type { LogChunk } from '../../src/realtime/log-chunk.ts';

const FRAME_BYTES = 11;
type Origin = { instanceId: string; service?: string; replica?: number; time?: number };

/** A stack's log as a runtime keeps it, written by the test: readable from any position, live, any number of times. */
export class ScriptedLog {
  readonly #chunks: LogChunk[] = [];
  readonly #readers = new Set<() => void>();
  end = 0;
  /** How many chunks were handed out. */
  handedOut = 0;
  /** How often somebody began to read. */
  begun = 0;

  output(origin: Origin, stream: 'STDOUT' | 'STDERR', content: string | Uint8Array): void {
    const bytes = Buffer.from(content as string);
    this.#append(origin, bytes.length, (base) => ({ ...base, kind: 'output', stream, bytes }));
  }

  event(origin: Origin, event: 'started' | 'ended' | 'restarting' | 'health' | 'removed', message: string): void {
    this.#append(origin, 1, (base) => ({ ...base, kind: 'event', event, message }));
  }

  gap(origin: Origin, stream: 'STDOUT' | 'STDERR', lines: number, bytes: number, reason: string): void {
    this.#append(origin, 1, (base) => ({ ...base, kind: 'gap', stream, lines, bytes, reason }));
  }

  /** Positions jump: as if so much more had been written by others. */
  skip(bytes: number): void {
    this.end += bytes;
  }

  async *read(from: number, signal: AbortSignal): AsyncGenerator<LogChunk> {
    this.begun++;
    for (let index = 0; !signal.aborted; ) {
      const chunk = this.#chunks[index];
      if (!chunk) {
        await this.#more(signal);
        continue;
      }
      index++;
      if (chunk.next <= from) continue;
      this.handedOut++;
      const cut = Math.max(0, from - chunk.position);
      if (chunk.kind !== 'output' || cut === 0) yield chunk;
      else if (cut < chunk.bytes.length) yield { ...chunk, position: from, bytes: chunk.bytes.subarray(cut) };
    }
  }

  #append(origin: Origin, length: number, make: (base: Omit<LogChunk, 'kind'> & Required<Origin>) => LogChunk): void {
    const position = this.end + FRAME_BYTES;
    this.end = position + length + 1;
    this.#chunks.push(make({ service: 'web', replica: 1, time: 1_000, ...origin, position, next: this.end }));
    for (const wake of this.#readers) wake();
  }

  async #more(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#readers.add(resolve);
    const onAbort = () => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    await promise;
    signal.removeEventListener('abort', onAbort);
    this.#readers.delete(resolve);
  }
}
