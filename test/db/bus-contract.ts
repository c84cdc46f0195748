import { describe, expect, it, vi } from 'vitest';
import type { Database } from '../../src/db/client.ts';
import { change } from '../../src/modules/change.ts';
import type { Bus } from '../../src/realtime/bus.ts';
import { appendEvents, eventsTopic } from '../../src/realtime/event-log.ts';
import { newId } from '../../src/shared/ids.ts';

export const LONG_MS = 10_000;

/** An instance: its bus, and connections to the database whose announcements go over it. */
export type BusInstance = AsyncDisposable & { bus: Bus; database: Database };
export type BusPlace = {
  startInstance(): Promise<BusInstance>;
  /** Breaks the connections of every bus; they can come back at once. */
  breakConnections(): Promise<void>;
};

/** What every bus must do, whatever carries its wake-ups. */
export function describeBus(name: string, place: () => BusPlace, isSkipped = false): void {
  const start = () => place().startInstance();
  const caller = { userId: newId(), sessionId: newId(), isSuperadmin: false };

  describe.skipIf(isSkipped)(name, () => {
    it('should wake the listeners of a topic, on every instance, and only those', async () => {
      await using first = await start();
      await using second = await start();
      const heard: string[] = [];
      first.bus.subscribe('log:1', () => heard.push('first'));
      second.bus.subscribe('log:1', () => heard.push('second'));
      second.bus.subscribe('log:2', () => heard.push('other'));
      await first.bus.notify(first.database.pool, 'log:1');
      await vi.waitFor(() => expect(heard.toSorted()).toEqual(['first', 'second']));
      // What comes after it has overtaken nothing: each was woken once.
      await first.bus.notify(first.database.pool, 'log:2');
      await vi.waitFor(() => expect(heard.toSorted()).toEqual(['first', 'other', 'second']));
    });

    it.each(['pg', 'Prisma'] as const)('should wake when a transaction of %s commits, not before', async (library) => {
      await using first = await start();
      await using second = await start();
      const watches = [first, second].map(({ bus }) => bus.watch(['log:3', 'log:4']));
      const announced = Promise.withResolvers<void>();
      const mayCommit = Promise.withResolvers<void>();
      const done = inTransaction(first.database, library, async (executor) => {
        await first.bus.notify(executor, 'log:3');
        await first.bus.notify(executor, 'log:4');
        announced.resolve();
        await mayCommit.promise;
      });
      await announced.promise;
      for (const watch of watches) expect([...(await watch.wait(30))]).toEqual([]);
      mayCommit.resolve();
      await done;
      for (const watch of watches) await untilWoken(watch, ['log:3', 'log:4']);
      for (const watch of watches) watch.close();
    });

    it.each(['pg', 'Prisma'] as const)('should not wake for a transaction of %s that is undone', async (library) => {
      await using first = await start();
      await using second = await start();
      const heard: string[] = [];
      for (const { bus } of [first, second]) bus.subscribe('log:5', () => heard.push('undone'));
      second.bus.subscribe('log:6', () => heard.push('done'));
      const failing = inTransaction(first.database, library, async (executor) => {
        await first.bus.notify(executor, 'log:5');
        throw new Error('undone');
      });
      await expect(failing).rejects.toThrow('undone');
      await inTransaction(first.database, library, (executor) => first.bus.notify(executor, 'log:6'));
      await vi.waitFor(() => expect(heard).toEqual(['done']));
    });

    it('should not wake for a commit that undoes a transaction which had failed', async () => {
      await using instance = await start();
      const { bus, database } = instance;
      const heard: string[] = [];
      for (const topic of ['log:7', 'log:8']) bus.subscribe(topic, (it) => heard.push(it));
      const client = await database.pool.connect();
      await client.query('begin');
      await bus.notify(client, 'log:7');
      await expect(client.query('select 1 / 0')).rejects.toThrow();
      expect((await client.query('commit')).command).toBe('ROLLBACK');
      client.release();
      await bus.notify(database.pool, 'log:8');
      await vi.waitFor(() => expect(heard).toEqual(['log:8']));
    });

    it('should lose no wake-up that comes between reading and waiting', async () => {
      await using instance = await start();
      const { bus, database } = instance;
      using watch = bus.watch(['log:4', 'deployment:4']);
      const arrived = Promise.withResolvers<void>();
      bus.subscribe('log:4', () => arrived.resolve());
      await bus.notify(database.pool, 'log:4');
      await arrived.promise;
      expect([...(await watch.wait(LONG_MS))]).toEqual(['log:4']);
      expect([...(await watch.wait(10))]).toEqual([]);
    });

    it('should stop waiting when the signal aborts', async () => {
      await using instance = await start();
      using watch = instance.bus.watch(['log:5']);
      expect([...(await watch.wait(LONG_MS, AbortSignal.timeout(20)))]).toEqual([]);
    });

    it('should reconnect when its connection is lost and then wake everyone', async () => {
      await using first = await start();
      await using second = await start();
      using watch = first.bus.watch(['log:6', 'log:7']);
      await place().breakConnections();
      await untilWoken(watch, ['log:6', 'log:7']);
      await vi.waitFor(() => expect([first.bus.isConnected, second.bus.isConnected]).toEqual([true, true]), LONG_MS);
      await vi.waitFor(
        async () => {
          await second.bus.notify(second.database.pool, 'log:6');
          expect([...(await watch.wait(100))]).toContain('log:6');
        },
        { timeout: LONG_MS },
      );
    });

    it('should be woken by events, and by changes with theirs', async () => {
      await using first = await start();
      await using second = await start();
      const organizationId = newId();
      using watch = second.bus.watch([eventsTopic(organizationId), 'access:1']);
      await appendEvents(first.database.pool, [{ organizationId, type: 'stack.created', actor: null, subject: null }]);
      await untilWoken(watch, [eventsTopic(organizationId)]);
      await change(first.database.prisma, caller, async (_tx, record) => {
        record.accessChanged('1');
        record.event({ organizationId, type: 'stack.created', subject: null });
      });
      await untilWoken(watch, [eventsTopic(organizationId), 'access:1']);
    });
  });
}

type Executor = Parameters<Bus['notify']>[0];

async function inTransaction(
  { pool, prisma }: Database,
  library: 'pg' | 'Prisma',
  work: (executor: Executor) => Promise<void>,
): Promise<void> {
  if (library === 'Prisma') return prisma.$transaction(work);
  const client = await pool.connect();
  try {
    await client.query('begin');
    await work(client);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

/** Topics of one commit may come one by one. */
export async function untilWoken(watch: ReturnType<Bus['watch']>, topics: readonly string[]): Promise<void> {
  const missing = new Set(topics);
  while (missing.size > 0) {
    const woken = await watch.wait(LONG_MS);
    if (woken.size === 0) throw new Error(`not woken: ${[...missing].join(', ')}`);
    for (const topic of woken) missing.delete(topic);
  }
}
