import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Feed } from './feed.ts';
import { Hub } from './hub.ts';
import { RECENT_ITEMS } from './hub-group.ts';
import { type Batch, Outlet, Source } from './hub-testing.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const within = { timeout: 5_000, interval: 1 };

function follow(hub: Hub, source: Source, options: Parameters<Source['feed']>[1] = {}) {
  const lifetime = new AbortController();
  let renders = 0;
  const follower = hub.follow<Batch, Batch>({
    feed: source.feed(lifetime.signal, options),
    view: '',
    render: async (batch) => {
      renders += 1;
      return batch;
    },
    signal: lifetime.signal,
  });
  return { follower, lifetime, renders: () => renders };
}

function pushing(hub: Hub, source: Source, options: Parameters<Source['feed']>[1] = {}) {
  const following = follow(hub, source, options);
  const outlet = new Outlet();
  following.follower.pushTo(outlet);
  const end = following.follower.next().then(
    ({ done }) => (done ? 'done' : 'more'),
    (error: Error) => error.message,
  );
  return { ...following, outlet, end };
}

describe('a hub', () => {
  it('should read and render once for all who are up to date, and tell each everything once', async () => {
    const hub = new Hub();
    const source = new Source();
    source.write(10);
    const all = upTo(5).map(() => pushing(hub, source));
    await expect.poll(() => all.every(({ outlet }) => outlet.taken.length === 10), within).toBe(true);
    const rendered = () => all.reduce((sum, { renders }) => sum + renders(), 0);
    const before = rendered();
    source.reads.length = 0;
    for (let value = 11; value <= 20; value++) {
      source.write();
      await expect.poll(() => all.every(({ outlet }) => outlet.taken.length === value), within).toBe(true);
    }
    expect(source.reads).toEqual(upTo(10).map(() => 'live'));
    expect(rendered() - before).toBe(10);
    for (const { outlet } of all) expect(outlet.taken).toEqual(upTo(20));
    expect(hub.size).toBe(1);
    source.end();
    expect(await Promise.all(all.map(({ end }) => end))).toEqual(all.map(() => 'done'));
    expect(hub.size).toBe(0);
  });

  it('should feed who is behind from the source, write nothing meanwhile, and take it in again', async () => {
    const hub = new Hub();
    const source = new Source();
    const quick = pushing(hub, source);
    const slow = pushing(hub, source);
    source.write();
    await expect.poll(() => [quick, slow].every(({ outlet }) => outlet.taken.length === 1), within).toBe(true);
    slow.outlet.stall();
    for (let value = 2; value <= 3 * RECENT_ITEMS; value++) {
      source.write();
      await expect.poll(() => quick.outlet.taken.length, within).toBe(value);
    }
    // The item with which it was found to be behind is the last one.
    expect(slow.outlet.taken.length).toBeLessThanOrEqual(2);
    slow.outlet.drain();
    await expect.poll(() => slow.outlet.taken.length, within).toBe(3 * RECENT_ITEMS);
    source.reads.length = 0;
    source.write();
    await expect.poll(() => slow.outlet.taken.length, within).toBe(3 * RECENT_ITEMS + 1);
    expect(source.reads).toEqual(['live']);
    expect(slow.outlet.taken).toEqual(upTo(3 * RECENT_ITEMS + 1));
    for (const { lifetime, end } of [quick, slow]) {
      lifetime.abort();
      expect(await end).toBe('done');
    }
    expect(hub.size).toBe(0);
  });

  it('should end who has lost the right, and go on without a seam for who has another role', async () => {
    const hub = new Hub();
    const source = new Source();
    let role = 'VIEWER';
    const rights = new Set<() => void>();
    const changed = pushing(hub, source, { role: () => role, rights });
    const other = pushing(hub, source);
    source.write(2);
    await expect.poll(() => [changed, other].every(({ outlet }) => outlet.taken.length === 2), within).toBe(true);
    role = 'ADMIN';
    for (const onChange of [...rights]) onChange();
    await expect.poll(() => hub.size, within).toBe(2);
    source.write(2);
    await expect.poll(() => [changed, other].every(({ outlet }) => outlet.taken.length === 4), within).toBe(true);
    role = 'NONE';
    for (const onChange of [...rights]) onChange();
    expect(await changed.end).toBe('NOT_FOUND');
    expect([rights.size, hub.size]).toEqual([0, 1]);
    source.write();
    await expect.poll(() => other.outlet.taken, within).toEqual(upTo(5));
    expect(changed.outlet.taken).toEqual(upTo(4));
    other.lifetime.abort();
    await other.end;
  });

  it('should end who has lost the right though it takes nothing', async () => {
    const hub = new Hub();
    const source = new Source();
    let role = 'VIEWER';
    const rights = new Set<() => void>();
    const { outlet, end } = pushing(hub, source, { role: () => role, rights });
    source.write();
    await expect.poll(() => outlet.taken, within).toEqual([1]);
    outlet.stall();
    source.write();
    await expect.poll(() => hub.size, within).toBe(0);
    for (const next of ['ADMIN', 'NONE']) {
      role = next;
      for (const onChange of [...rights]) onChange();
    }
    expect(await end).toBe('NOT_FOUND');
    expect(outlet.taken).toEqual([1, 2]);
  });

  it('should tell its error to all when the source fails', async () => {
    const hub = new Hub();
    const source = new Source();
    const all = upTo(3).map(() => pushing(hub, source));
    source.write();
    await expect.poll(() => all.every(({ outlet }) => outlet.taken.length === 1), within).toBe(true);
    source.follow = () => {
      throw new Error('gone');
    };
    Object.defineProperty(source, 'last', {
      get() {
        throw new Error('gone');
      },
    });
    source.end();
    expect(await Promise.all(all.map(({ end }) => end))).toEqual(['gone', 'gone', 'gone']);
    expect(hub.size).toBe(0);
  });

  it('should not tell again what was newer by the time that it was rendered', async () => {
    const hub = new Hub();
    const lifetime = new AbortController();
    let newest = 1;
    const live: number[] = [];
    const feed = new Feed(
      async () => ({
        topic: 'state',
        async *own() {
          yield { told: newest };
        },
        async *live(position: number) {
          live.push(position);
          if (newest > position) yield { told: newest };
        },
        positionOf: ({ told }: { told: number }) => told,
        isLive: () => true,
        rest: (item: { told: number }, position: number) => (item.told > position ? item : null),
        watchRights: () => () => undefined,
      }),
      lifetime.signal,
    );
    const render = async (item: { told: number }) => {
      newest = 2;
      item.told = newest;
      return item.told;
    };
    const follower = hub.follow({ feed, view: '', render, signal: lifetime.signal });
    expect(await Array.fromAsync(follower)).toEqual([2]);
    expect(live).toEqual([2]);
  });

  it('should wait for a database that is away for a moment when it opens', async () => {
    const hub = new Hub();
    const source = new Source();
    source.write(2);
    source.end();
    let failures = 2;
    const role = () => {
      if (failures-- > 0) throw Object.assign(new Error('the database shuts down'), { code: '57P01' });
      return 'VIEWER';
    };
    const { outlet, end } = pushing(hub, source, { role });
    expect(await end).toBe('done');
    expect(outlet.taken).toEqual([1, 2]);
  });

  it('should miss, double and reorder nothing, however followers come, stall, are pulled and go', async () => {
    const step = fc.record({
      write: fc.integer({ min: 0, max: 7 }),
      act: fc.constantFrom('push', 'pull', 'stall', 'drain', 'leave', 'wait'),
      whom: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, batch) => {
          const hub = new Hub();
          const source = new Source(batch);
          const pushed: ReturnType<typeof pushing>[] = [];
          const pulled: Promise<number[]>[] = [];
          for (const { write, act, whom } of steps) {
            if (write > 0) source.write(write);
            const one = pushed[whom % Math.max(1, pushed.length)];
            if (act === 'push') pushed.push(pushing(hub, source));
            if (act === 'pull')
              pulled.push(
                Array.fromAsync(follow(hub, source).follower).then((all) => all.flatMap(({ values }) => values)),
              );
            if (act === 'stall') one?.outlet.stall();
            if (act === 'drain') one?.outlet.drain();
            if (act === 'leave') one?.lifetime.abort();
            if (act === 'wait') await new Promise((resolve) => setImmediate(resolve));
          }
          source.end();
          for (const { outlet } of pushed) outlet.drain();
          const ends = await Promise.all(pushed.map(({ end }) => end));
          expect(ends).toEqual(pushed.map(() => 'done'));
          for (const values of await Promise.all(pulled)) expect(values).toEqual(upTo(source.last));
          for (const { outlet, lifetime } of pushed) {
            const expected = lifetime.signal.aborted ? outlet.taken.length : source.last;
            expect(outlet.taken).toEqual(upTo(expected));
          }
          expect(hub.size).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});
