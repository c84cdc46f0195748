import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Bus } from '../../src/realtime/bus.ts';
import { followLog, type LogBatch, type LogFollowing } from '../../src/realtime/log-follower.ts';
import { FOLLOW_BATCH_BYTES, FOLLOW_BATCH_LINES } from '../../src/realtime/log-limits.ts';
import type { NewLogLine } from '../../src/realtime/log-line.ts';
import { appendLines, LogStore, logTopic } from '../../src/realtime/log-store.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let store: LogStore;
let bus: Bus;
beforeAll(async () => {
  database = await createTestDatabase();
  store = new LogStore(database.pool);
  bus = createPostgresBus(database.connection, createLogger('silent'));
  await bus.start();
});
afterAll(async () => {
  await bus?.close();
  await database?.[Symbol.asyncDispose]();
});

async function append(deploymentId: string, messages: string[], more: Partial<NewLogLine> = {}): Promise<void> {
  const lines = messages.map((message) => ({
    occurredAt: Date.now(),
    instanceId: null,
    service: 'web',
    replica: 1,
    stream: 'STDOUT' as const,
    level: 'INFO' as const,
    message,
    isPartial: false,
    dropped: 0,
    ...more,
  }));
  const client = await database.pool.connect();
  await client.query('begin');
  await appendLines(client, deploymentId, lines);
  await bus.notify(client, logTopic(deploymentId));
  await client.query('commit');
  client.release();
}

/** Follows and gathers; `isFinal` answers what the test says. */
function follow(deploymentId: string, more: Partial<LogFollowing> = {}) {
  const state = { final: false };
  const end = new AbortController();
  const batches: LogBatch[] = [];
  const following = followLog({
    deploymentId,
    store,
    bus,
    authorize: async () => {},
    isFinal: async () => state.final,
    signal: end.signal,
    ...more,
  });
  const done = (async () => {
    for await (const batch of following) batches.push(batch);
  })();
  done.catch(() => {});
  return {
    batches,
    done,
    lines: () => batches.flatMap((batch) => batch.lines.map((line) => line.message)),
    isLive: () => batches.at(-1)?.live === true,
    stop: () => {
      end.abort();
      return done;
    },
    finish: async () => {
      state.final = true;
      await bus.notify(database.pool, `deployment:${deploymentId}`);
      await done;
    },
  };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`);

describe('followLog', () => {
  it('should replay, turn live with an empty batch, follow, and complete when the deployment is final', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 3));
    const reader = follow(deploymentId);
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    await append(deploymentId, range(4, 5));
    await vi.waitFor(() => expect(reader.lines()).toEqual(range(1, 5)));
    await reader.finish();
    const told = reader.batches.map(({ lines, endSequence, live, missed }) => [
      lines.length,
      endSequence,
      live,
      missed,
    ]);
    expect(told).toEqual([
      [3, 3, false, 0],
      [0, 3, true, 0],
      [2, 5, true, 0],
    ]);
  });

  it('should deliver what is stored between the end and the look at it', async () => {
    const deploymentId = newId();
    let looks = 0;
    const isFinal = async () => {
      // Lines come after the reader found nothing more, and before it learns of the end.
      if (++looks === 1) await append(deploymentId, ['the last words']);
      return true;
    };
    const reader = follow(deploymentId, { isFinal });
    await reader.done;
    expect(reader.lines()).toEqual(['the last words']);
  });

  it('should begin after a position, at the last lines, or past both', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 20));
    const started = async (more: Partial<LogFollowing>) => {
      const reader = follow(deploymentId, { isFinal: async () => true, ...more });
      await reader.done;
      return reader.lines();
    };
    expect(await started({ after: 17 })).toEqual(range(18, 20));
    expect(await started({ last: 2 })).toEqual(range(19, 20));
    expect(await started({ last: 0 })).toEqual([]);
    expect(await started({ last: 100 })).toEqual(range(1, 20));
    expect(await started({ last: 1, filter: { search: 'LINE 7' } })).toEqual(['line 7']);
    expect(await started({ after: 15, last: 10 })).toEqual(range(16, 20));
  });

  it('should not lose lines to a position beyond the log', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 2));
    const reader = follow(deploymentId, { after: 1_000 });
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    await append(deploymentId, ['new']);
    await vi.waitFor(() => expect(reader.lines()).toEqual(['new']));
    await reader.stop();
  });

  it('should keep batches below their limits, in order and without gaps, while lines are written', async () => {
    const deploymentId = newId();
    const reader = follow(deploymentId);
    const all: string[] = [];
    for (let round = 0; round < 12; round++) {
      const lines = range(round * 300 + 1, round * 300 + 300).map((line) => line + '\x02'.repeat((round % 3) * 200));
      all.push(...lines);
      await append(deploymentId, lines);
    }
    await vi.waitFor(() => expect(reader.lines()).toHaveLength(all.length), 10_000);
    await reader.finish();
    expect(reader.lines()).toEqual(all);
    for (const { lines } of reader.batches) {
      expect(lines.length).toBeLessThanOrEqual(FOLLOW_BATCH_LINES);
      expect(JSON.stringify(lines).length).toBeLessThanOrEqual(FOLLOW_BATCH_BYTES);
    }
  });

  it('should move past lines that the filter leaves out', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 10));
    let time = 0;
    const reader = follow(deploymentId, { filter: { search: 'nothing' }, now: () => time });
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    await append(deploymentId, range(11, 20));
    time = 6_000;
    await append(deploymentId, ['line 21']);
    await vi.waitFor(() => expect(reader.batches.at(-1)?.endSequence).toBeGreaterThan(10));
    await append(deploymentId, ['line 22']);
    await reader.finish();
    const ends = reader.batches.map((batch) => batch.endSequence);
    expect([ends.length, ends[0], ends[2]]).toEqual([3, 10, 22]);
    expect(reader.lines()).toEqual([]);
  });

  it('should say what retention and bounds took', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 10));
    await database.pool.query('delete from log_lines where deployment_id = $1 and sequence <= 6', [deploymentId]);
    await database.pool.query('update log_heads set first_sequence = 7 where deployment_id = $1', [deploymentId]);
    await append(deploymentId, ['40 lines dropped: the log spool is full'], { dropped: 40, stream: 'SYSTEM' });
    const reader = follow(deploymentId, { after: 2, filter: { streams: ['STDOUT'] } });
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    await reader.stop();
    expect(reader.lines()).toEqual(range(7, 10));
    expect(reader.batches.map((batch) => batch.missed)).toEqual([44, 0]);
  });

  it('should complete when the time of its filter is over, and not before', async () => {
    const deploymentId = newId();
    let time = 10_000;
    const reader = follow(deploymentId, { filter: { until: new Date(20_000) }, now: () => time });
    await append(deploymentId, ['early'], { occurredAt: 15_000 });
    await vi.waitFor(() => expect(reader.lines()).toEqual(['early']));
    await append(deploymentId, ['late'], { occurredAt: 20_001 });
    time = 60_000;
    await bus.notify(database.pool, `deployment:${deploymentId}`);
    await reader.done;
    expect(reader.lines()).toEqual(['early']);
  });

  it('should end with the error when it is no longer allowed, at once when a topic says so', async () => {
    const deploymentId = newId();
    await append(deploymentId, range(1, 3));
    let allowed = true;
    const authorize = async () => {
      if (!allowed) throw new Error('no such deployment');
    };
    const topic = `access:${newId()}`;
    const reader = follow(deploymentId, { authorize, wakeTopics: [topic] });
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    allowed = false;
    await bus.notify(database.pool, topic);
    await expect(reader.done).rejects.toThrow('no such deployment');
    await append(deploymentId, ['secret']);
    expect(reader.lines()).toEqual(range(1, 3));
  });

  it('should end quietly when the signal aborts, also while it waits', async () => {
    const reader = follow(newId());
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    await reader.stop();
  });

  it('should go on after the database was away', async () => {
    const deploymentId = newId();
    const reader = follow(deploymentId);
    await vi.waitFor(() => expect(reader.isLive()).toBe(true));
    for (let round = 1; round <= 5; round++) {
      await append(deploymentId, [`line ${round}`]);
      await database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'windflow%' and pid <> pg_backend_pid()`,
      );
    }
    await vi.waitFor(() => expect(reader.lines()).toEqual(range(1, 5)), 15_000);
    await reader.stop();
  });
});
