import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LogPlace } from '../../src/realtime/log-chunk.ts';
import { FenceLostError, type LogCollectorOptions } from '../../src/realtime/log-collector.ts';
import { BATCH_LINES, PARTIAL_LINE_MS } from '../../src/realtime/open-batch.ts';
import { newId } from '../../src/shared/ids.ts';
import { CollectorBench, TEST_MASKER } from '../support/collector-bench.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { ScriptedLog } from '../support/scripted-log.ts';

let database: TestDatabase;
let bench: CollectorBench;
beforeAll(async () => {
  database = await createTestDatabase();
  bench = await CollectorBench.on(database);
});
afterAll(async () => database?.[Symbol.asyncDispose]());

const addInstance = (deploymentId: string) => bench.addInstance(deploymentId);
const messages = (deploymentId: string) => bench.messages(deploymentId);
const start = (script: ScriptedLog, stackEnvironmentId: string, more: Partial<LogCollectorOptions> = {}) =>
  bench.start(script, stackEnvironmentId, more);

describe('LogCollector', () => {
  it('should store lines, events and gaps in order, masked, with their level and origin', async () => {
    const [deploymentId, stack] = [newId(), newId()];
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    const db = { instanceId, service: 'db', replica: 2, time: 5_000 };
    script.event(db, 'started', 'db: started with hunter2!, pid 12');
    script.output(db, 'STDOUT', 'ready, password hunt');
    script.output(db, 'STDERR', 'oh no\nERROR: bad\n');
    script.output({ ...db, time: 6_000 }, 'STDOUT', 'er2!\nhalf a line');
    script.gap(db, 'STDOUT', 1_204, 99_999, 'the log spool is full');
    script.output(db, 'STDOUT', 'no newline');
    script.event(db, 'ended', 'exited with code 1');
    const { collector, stop } = start(script, stack);
    expect(await collector.waitFor(script.end)).toBe(true);
    await stop();
    const { lines } = await bench.store.read({ deploymentId, limit: 100 });
    expect(lines.map(({ stream, level, message, dropped }) => [stream, level, message, dropped])).toEqual([
      ['SYSTEM', 'INFO', 'db: started with ***, pid 12', 0],
      ['STDERR', 'WARN', 'oh no', 0],
      ['STDERR', 'ERROR', 'ERROR: bad', 0],
      ['STDOUT', 'INFO', 'ready, password ***', 0],
      ['STDOUT', 'INFO', 'half a line', 0],
      ['SYSTEM', 'WARN', '1,204 lines dropped: the log spool is full', 1_204],
      ['STDOUT', 'INFO', 'no newline', 0],
      ['SYSTEM', 'INFO', 'exited with code 1', 0],
    ]);
    for (const line of lines) expect(line).toMatchObject({ service: 'db', replica: 2, isPartial: false });
    expect(lines.map((line) => line.timestamp.getTime())).toEqual([5e3, 5e3, 5e3, 5e3, 6e3, 5e3, 5e3, 5e3]);
  });

  it('should store an unfinished line after a while, and then its rest', async () => {
    const deploymentId = newId();
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    script.output({ instanceId }, 'STDERR', 'ERROR: password? hunt');
    const { stop } = start(script, newId());
    await vi.waitFor(async () => expect(await messages(deploymentId)).toEqual(['ERROR: password? ']), 5_000);
    script.output({ instanceId }, 'STDERR', 'ers\n');
    await vi.waitFor(async () => expect(await messages(deploymentId)).toHaveLength(2), 5_000);
    await stop();
    const { lines } = await bench.store.read({ deploymentId, limit: 10 });
    expect(lines.map(({ message, isPartial, level }) => [message, isPartial, level])).toEqual([
      ['ERROR: password? ', true, 'ERROR'],
      ['hunters', false, 'ERROR'],
    ]);
  });

  it('should count a position as stored when all that is left there is held back', async () => {
    const instanceId = await addInstance(newId());
    const script = new ScriptedLog();
    script.output({ instanceId }, 'STDOUT', 'hunter');
    const trimmed: number[] = [];
    const { collector, stop } = start(script, newId(), { onStored: (position) => trimmed.push(position) });
    expect(await collector.waitFor(script.end)).toBe(true);
    expect(collector.storedPosition).toBe(script.end);
    expect(Math.max(...trimmed)).toBeLessThan(script.end);
    await stop();
  });

  it('should follow an instance to the deployment that its row names', async () => {
    const [before, after, gone] = [newId(), newId(), newId()];
    const instanceId = await addInstance(before);
    const script = new ScriptedLog();
    const fallbackDeployment = async (id: string) => (id === gone ? before : null);
    const { collector, stop } = start(script, newId(), { fallbackDeployment });
    script.output({ instanceId }, 'STDOUT', 'one\n');
    await collector.waitFor(script.end);
    await database.pool.query('update instances set deployment_id = $1 where id = $2', [after, instanceId]);
    script.output({ instanceId }, 'STDOUT', 'two\n');
    script.output({ instanceId: gone }, 'STDOUT', 'three\n');
    script.output({ instanceId: newId() }, 'STDOUT', 'of nobody\n');
    await collector.waitFor(script.end);
    await stop();
    expect(await messages(before)).toEqual(['one', 'three']);
    expect(await messages(after)).toEqual(['two']);
  });

  it('should store nothing unmasked: it waits for the secrets, and leaves out what has none', async () => {
    const deploymentId = newId();
    const [instanceId, unknown] = [await addInstance(deploymentId), await addInstance(deploymentId)];
    const script = new ScriptedLog();
    let attempts = 0;
    const maskerOf = async (id: string) => {
      if (id === unknown) return null;
      if (attempts++ < 3) throw new Error('the release cannot be read now');
      return TEST_MASKER;
    };
    script.output({ instanceId: unknown }, 'STDOUT', 'hunter2!\n');
    script.output({ instanceId }, 'STDOUT', 'hunter2!\n');
    const { collector, stop } = start(script, newId(), { maskerOf });
    await collector.waitFor(script.end);
    await stop();
    expect(await messages(deploymentId)).toEqual(['***']);
    expect(attempts).toBe(4);
  });

  it('should stop when the fence is lost, and store nothing', async () => {
    const deploymentId = newId();
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    script.output({ instanceId }, 'STDOUT', 'one\n');
    const { stopped } = start(script, newId(), { fence: async () => false });
    await expect(stopped).rejects.toThrow(FenceLostError);
    expect(await messages(deploymentId)).toEqual([]);
  });

  it('should stop when another reader stores the same log', async () => {
    const [deploymentId, stack] = [newId(), newId()];
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    const [one, two] = [start(script, stack), start(script, stack)];
    // Both know where the log ends that is stored: one that came later would find nothing left to do.
    await vi.waitFor(() => expect(script.begun).toBe(2));
    for (let index = 0; index < 200; index++) script.output({ instanceId }, 'STDOUT', `${index}\n`);
    await expect(Promise.race([one.stopped, two.stopped])).rejects.toThrow(FenceLostError);
    await Promise.any([one.collector.waitFor(script.end), two.collector.waitFor(script.end)]);
    await Promise.allSettled([one.stop(), two.stop()]);
    expect(await messages(deploymentId)).toEqual(Array.from({ length: 200 }, (_, index) => `${index}`));
  });

  it('should read no more than a second batch while the database is slow', async () => {
    const deploymentId = newId();
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    const open = Promise.withResolvers<void>();
    let waiting = false;
    const fence = async () => {
      waiting = true;
      await open.promise;
      return true;
    };
    for (let index = 0; index < 5_000; index++) script.output({ instanceId }, 'STDOUT', `${index}\n`);
    const { collector, stop } = start(script, newId(), { fence });
    await vi.waitFor(() => expect(waiting).toBe(true));
    await vi.waitFor(() => expect(script.handedOut).toBeGreaterThanOrEqual(BATCH_LINES));
    await new Promise(setImmediate);
    expect(script.handedOut).toBeLessThanOrEqual(2 * BATCH_LINES + 2);
    open.resolve();
    await collector.waitFor(script.end);
    await stop();
    expect(await messages(deploymentId)).toHaveLength(5_000);
  });

  it('should let go of what it holds back before it keeps too much of the log from being forgotten', async () => {
    const deploymentId = newId();
    const [idle, busy] = [await addInstance(deploymentId), await addInstance(deploymentId)];
    const script = new ScriptedLog();
    script.output({ instanceId: idle }, 'STDOUT', 'hunter');
    script.skip(20 * 1024 * 1024);
    script.output({ instanceId: busy }, 'STDOUT', 'x\n');
    let trimmed = 0;
    const { collector, stop } = start(script, newId(), { onStored: (position) => (trimmed = position) });
    await collector.waitFor(script.end);
    expect(trimmed).toBe(script.end);
    await stop();
    expect(await messages(deploymentId)).toEqual(['x', '***']);
  });

  it('should return from waiting when the signal aborts', async () => {
    const { collector, stop } = start(new ScriptedLog(), newId());
    expect(await collector.waitFor(1_000, AbortSignal.timeout(20))).toBe(false);
    expect(await collector.waitFor(1_000, AbortSignal.abort())).toBe(false);
    await stop();
  });

  /** Writes to two services' streams in odd pieces; returns what must be in the log at the end, by stream. */
  function writeOddly(script: ScriptedLog, instances: string[], count: number): Map<string, string[]> {
    const expected = new Map<string, string[]>();
    for (const [index, instanceId] of instances.entries()) {
      for (const stream of ['STDOUT', 'STDERR'] as const) {
        const lines = Array.from({ length: count }, (_, n) => `${index} ${stream} ${n} hunter2! ${'x'.repeat(n % 50)}`);
        expected.set(
          `${index} ${stream}`,
          lines.map((line) => line.replace('hunter2!', '***')),
        );
        const bytes = Buffer.from(`${lines.join('\n')}\n`);
        for (let start = 0, size = 1; start < bytes.length; start += size, size = 1 + ((size * 7 + start) % 211)) {
          script.output({ instanceId }, stream, bytes.subarray(start, start + size));
        }
      }
    }
    return expected;
  }

  function byStream(stored: string[]): Map<string, string[]> {
    return Map.groupBy(stored, (message) => message.split(' ', 2).join(' '));
  }

  it('should store every line once when it is stopped at any moment, again and again', async () => {
    const [deploymentId, stack] = [newId(), newId()];
    const instances = [await addInstance(deploymentId), await addInstance(deploymentId)];
    const script = new ScriptedLog();
    const expected = writeOddly(script, instances, 3_000);
    let transactions = 0;
    for (let round = 0, stored = 0; stored < script.end; round++) {
      const stopping = Promise.withResolvers<void>();
      const stopAt = transactions + 1 + (round % 4);
      const fence = async () => {
        if (++transactions >= stopAt) stopping.resolve();
        return true;
      };
      const { collector, stop, stopped } = start(script, stack, { fence });
      await Promise.race([stopping.promise, collector.waitFor(script.end), stopped]);
      stored = collector.storedPosition;
      await stop();
      expect(round).toBeLessThan(500);
    }
    expect(byStream(await messages(deploymentId))).toEqual(expected);
  });

  it('should store every line once when connections break at any point, the commit included', async () => {
    const deploymentId = newId();
    const instances = [await addInstance(deploymentId), await addInstance(deploymentId)];
    const script = new ScriptedLog();
    const expected = writeOddly(script, instances, 5_000);
    let [commits, statements] = [0, 0];
    const broken = () => Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
    const connect = async (): Promise<PoolClient> => {
      const client = await database.pool.connect();
      return new Proxy(client, {
        get(target, name) {
          const value = Reflect.get(target, name);
          if (name !== 'query') return typeof value === 'function' ? value.bind(target) : value;
          return async (...args: [string, unknown[]]) => {
            const isCommit = args[0] === 'commit';
            // Two of three commits break, once when done and once before; of the rest every eleventh statement does.
            const fate = isCommit ? ++commits % 3 : ++statements % 22;
            const [whenDone, before] = isCommit ? [1, 2] : [7, 18];
            if (fate === before) throw broken();
            const result = await target.query(...args);
            if (fate === whenDone) throw broken();
            return result;
          };
        },
      });
    };
    const pool = new Proxy(database.pool, {
      get: (target, name) => (name === 'connect' ? connect : Reflect.get(target, name).bind(target)),
    });
    const { collector, stop, stopped } = start(script, newId(), { pool });
    await Promise.race([collector.waitFor(script.end), stopped]);
    await stop();
    expect(commits).toBeGreaterThan(6);
    expect(statements).toBeGreaterThan(44);
    expect(byStream(await messages(deploymentId))).toEqual(expected);
  });

  it('should keep what it has not read again yet when it stores something after a restart', async () => {
    const [deploymentId, stack] = [newId(), newId()];
    const [first, slow, last] = [
      await addInstance(deploymentId),
      await addInstance(deploymentId),
      await addInstance(deploymentId),
    ];
    const script = new ScriptedLog();
    for (const instanceId of [first, slow, last]) script.output({ instanceId }, 'STDOUT', `held back: ${instanceId}`);
    script.output({ instanceId: first }, 'STDERR', 'one line\n');
    const untilFirstWrite = async (more: Partial<LogCollectorOptions>) => {
      const writing = Promise.withResolvers<void>();
      const fence = async () => {
        writing.resolve();
        return true;
      };
      const { stop } = start(script, stack, { ...more, fence });
      await writing.promise;
      await stop();
    };
    await untilFirstWrite({});
    // What the first one wrote counts as unfinished before the last one's is read.
    const read = async function* ({ position }: LogPlace, signal: AbortSignal) {
      for await (const chunk of script.read(position, signal)) {
        if (chunk.instanceId === slow) await new Promise((resolve) => setTimeout(resolve, 2 * PARTIAL_LINE_MS));
        yield chunk;
      }
    };
    await untilFirstWrite({ read });
    for (const instanceId of [first, slow, last]) script.output({ instanceId }, 'STDOUT', '.\n');
    const { collector, stop } = start(script, stack);
    await collector.waitFor(script.end);
    await stop();
    const text = (await messages(deploymentId)).join('');
    for (const instanceId of [first, slow, last]) expect(text.split(`held back: ${instanceId}`)).toHaveLength(2);
  });

  it('should outlast a database that ends all connections', async () => {
    const deploymentId = newId();
    const instanceId = await addInstance(deploymentId);
    const script = new ScriptedLog();
    const { collector, stop } = start(script, newId());
    for (let round = 0; round < 8; round++) {
      for (let n = 0; n < 300; n++) script.output({ instanceId }, 'STDOUT', `${round * 300 + n}\n`);
      await database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'windflow-sql' and pid <> pg_backend_pid()`,
      );
    }
    await collector.waitFor(script.end);
    await stop();
    expect(await messages(deploymentId)).toEqual(Array.from({ length: 2_400 }, (_, index) => `${index}`));
  });
});
