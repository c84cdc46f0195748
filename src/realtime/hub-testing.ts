import { Feed } from './feed.ts';
import type { Sink } from './hub-follower.ts';

export type Batch = { values: number[]; from: number; through: number; live: boolean; isNewest: boolean };

/** A log in memory, 1, 2, 3 …, read in batches of at most so many. */
export class Source {
  last = 0;
  isComplete = false;
  readonly reads: string[] = [];
  readonly batch: number;
  #changed = Promise.withResolvers<void>();

  constructor(batch = 3) {
    this.batch = batch;
  }

  write(count = 1): void {
    this.last += count;
    this.#announce();
  }

  end(): void {
    this.isComplete = true;
    this.#announce();
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  async *follow(who: string, after: number, live: boolean, signal: AbortSignal): AsyncGenerator<Batch, void> {
    for (let position = after; !signal.aborted; ) {
      const { promise } = this.#changed;
      const through = Math.min(this.last, position + this.batch);
      const values = Array.from({ length: through - position }, (_, index) => position + index + 1);
      const isNewest = through === this.last;
      if (values.length > 0) {
        this.reads.push(who);
        yield { values, from: position, through, live, isNewest };
        position = through;
      } else if (!live) {
        live = true;
        yield { values, from: position, through, live, isNewest };
      } else if (this.isComplete) {
        return;
      } else {
        await Promise.race([promise, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
      }
    }
  }

  feed(signal: AbortSignal, options: { role?: () => string; rights?: Set<() => void> } = {}): Feed<Batch> {
    const { role = () => 'VIEWER', rights = new Set() } = options;
    return new Feed(async () => {
      const standing = role();
      if (standing === 'NONE') throw new Error('NOT_FOUND');
      return {
        topic: standing,
        own: () => this.follow('own', 0, false, signal),
        live: (position, end) => this.follow('live', position, true, end),
        positionOf: ({ through }) => through,
        isLive: ({ live, isNewest }) => live && isNewest,
        rest(batch, position) {
          const values = batch.values.filter((value) => value > position);
          if (values.length === batch.values.length) return batch;
          return values.length === 0 ? null : { ...batch, values };
        },
        watchRights(onChange) {
          rights.add(onChange);
          return () => rights.delete(onChange);
        },
      };
    }, signal);
  }
}

/** A socket: takes what it is given, until it is told to be slow. */
export class Outlet implements Sink<Batch> {
  readonly taken: number[] = [];
  isBehind = false;
  #drained = Promise.withResolvers<void>();

  write({ values }: Batch): void {
    this.taken.push(...values);
  }

  stall(): void {
    this.isBehind = true;
  }

  drain(): void {
    this.isBehind = false;
    this.#drained.resolve();
    this.#drained = Promise.withResolvers<void>();
  }

  async drained(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([this.#drained.promise, aborted]);
  }
}
