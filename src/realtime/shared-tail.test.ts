import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLogger } from '../shared/logger.ts';
import { Bus } from './bus.ts';
import { SharedTail, SharedTails, TAIL_ITEMS, type TailSource } from './shared-tail.ts';

const TOPIC = 'numbers';
const FOREVER_MS = 3_600_000;

/** A store of 1, 2, 3 …, of which the first `pruned` are gone, read in pages of at most so many. */
class Numbers {
  last = 0;
  pruned = 0;
  reads = 0;
  fails = false;
  readonly page: number;
  #wake: (topic: string) => void = () => undefined;
  readonly bus: Bus;

  constructor(page = 3) {
    this.page = page;
    const start = async ({ wake }: { wake(topic: string): void }) => {
      this.#wake = wake;
    };
    this.bus = new Bus({ start, isConnected: true, close: async () => undefined }, createLogger('silent'));
    void this.bus.start();
  }

  write(count = 1): void {
    this.last += count;
    this.#wake(TOPIC);
  }

  source(lookMs = FOREVER_MS): TailSource<number> {
    return {
      bus: this.bus,
      topic: TOPIC,
      lookMs,
      positionOf: (item) => item,
      sizeOf: () => 1,
      read: async (after) => {
        this.reads++;
        const { last } = this;
        await new Promise((resolve) => setImmediate(resolve));
        if (this.fails) throw new Error('away');
        if (this.pruned > after) return null;
        const through = Math.min(last, after + this.page);
        return { items: between(after, through), through, isNewest: through === last };
      },
    };
  }
}

const between = (after: number, through: number) =>
  Array.from({ length: Math.max(0, through - after) }, (_, index) => after + index + 1);

/** Everything after a position, as one that follows reads it. */
async function readOn(tail: Pick<SharedTail<number>, 'after'>, position: number): Promise<number[]> {
  const found: number[] = [];
  for (;;) {
    const page = await tail.after(found.at(-1) ?? position);
    if (page === null) throw new Error('begins later');
    found.push(...page.items);
    if (page.isNewest) return found;
  }
}

describe('a shared tail', () => {
  it('should ask the store once for all who were woken, and not again before something is announced', async () => {
    const numbers = new Numbers(10);
    using tail = new SharedTail(numbers.source());
    numbers.write(4);
    expect(await Promise.all([readOn(tail, 2), readOn(tail, 2)])).toEqual([between(2, 4), between(2, 4)]);
    expect(numbers.reads).toBe(1);
    expect(await Promise.all([readOn(tail, 4), readOn(tail, 3)])).toEqual([[], [4]]);
    expect(numbers.reads).toBe(1);
    numbers.write();
    expect(await Promise.all([readOn(tail, 4), readOn(tail, 3), readOn(tail, 4)])).toEqual([[5], [4, 5], [5]]);
    expect(numbers.reads).toBe(2);
  });

  it('should read again what was announced while it read', async () => {
    const numbers = new Numbers();
    using tail = new SharedTail(numbers.source());
    numbers.write();
    const before = tail.after(0);
    numbers.write();
    expect(await readOn(tail, 1)).toEqual([2]);
    expect(await before).toMatchObject({ items: [1], isNewest: false });
  });

  it('should look by itself where a wake-up may have been lost', async () => {
    const numbers = new Numbers();
    using tail = new SharedTail(numbers.source(0));
    numbers.last = 2;
    expect(await tail.after(0)).toMatchObject({ items: [1, 2] });
    numbers.last = 3;
    // It never counts as known that nothing further is there: who asks at the end is answered once something is.
    expect(await tail.after(2)).toMatchObject({ items: [3] });
  });

  it('should begin anew where it is asked for what it has not got to', async () => {
    const numbers = new Numbers();
    using tail = new SharedTail(numbers.source());
    numbers.write(2);
    await readOn(tail, 0);
    numbers.last = 100;
    expect(await readOn(tail, 98)).toEqual([99, 100]);
    expect(await tail.after(97)).toBe(null);
  });

  it('should hold so many at most, and leave alone who is further behind', async () => {
    const numbers = new Numbers(1_000);
    using tail = new SharedTail(numbers.source());
    numbers.write(TAIL_ITEMS + 500);
    expect(await readOn(tail, 0)).toHaveLength(TAIL_ITEMS + 500);
    expect(await tail.after(499)).toBe(null);
    expect(await readOn(tail, 500)).toHaveLength(TAIL_ITEMS);
  });

  it('should leave to its readers what a gap means, and a failure too', async () => {
    const numbers = new Numbers();
    using tail = new SharedTail(numbers.source());
    numbers.write(2);
    await readOn(tail, 0);
    Object.assign(numbers, { pruned: 7 });
    numbers.write(8);
    expect(await tail.after(2)).toBe(null);
    expect(await readOn(tail, 8)).toEqual([9, 10]);
    numbers.write();
    numbers.fails = true;
    await expect(tail.after(10)).rejects.toThrow('away');
    numbers.fails = false;
    expect(await readOn(tail, 10)).toEqual([11]);
  });

  it('should be there for two or more only', async () => {
    const numbers = new Numbers();
    const tails = new SharedTails(() => numbers.source());
    numbers.write();
    const first = tails.join('key');
    expect(await first.after(0)).toBe(null);
    const second = tails.join('key');
    expect(await first.after(0)).toMatchObject({ items: [1] });
    second[Symbol.dispose]();
    expect(await first.after(0)).toBe(null);
    first[Symbol.dispose]();
  });

  it('should leave out and double nothing, whoever reads when', async () => {
    const step = fc.record({ write: fc.integer({ min: 0, max: 5 }), whom: fc.nat({ max: 3 }), waits: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1, max: 4 }), async (steps, page) => {
        const numbers = new Numbers(page);
        using tail = new SharedTail(numbers.source());
        const readers = between(0, 4).map(() => ({ found: [] as number[], reading: Promise.resolve() }));
        for (const { write, whom, waits } of steps) {
          if (write > 0) numbers.write(write);
          const reader = readers[whom]!;
          const { last } = numbers;
          reader.reading = reader.reading.then(async () => {
            reader.found.push(...(await readOn(tail, reader.found.at(-1) ?? 0)));
            expect(reader.found.length).toBeGreaterThanOrEqual(last);
          });
          if (waits) await reader.reading;
        }
        await Promise.all(readers.map(({ reading }) => reading));
        for (const { found } of readers) expect(found).toEqual(between(0, found.length));
      }),
      { numRuns: 100 },
    );
  });
});
