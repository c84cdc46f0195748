import { LogCollector, type LogCollectorOptions } from '../../src/realtime/log-collector.ts';
import type { LogLine } from '../../src/realtime/log-line.ts';
import { LogStore } from '../../src/realtime/log-store.ts';
import { createMasker } from '../../src/realtime/masking.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import type { TestDatabase } from './database.ts';
import type { ScriptedLog } from './scripted-log.ts';

export const TEST_MASKER = createMasker(['hunter2!', 'second-secret']);

export type StartedCollector = { collector: LogCollector; stopped: Promise<void>; stop: () => Promise<void> };

/** Collectors on a database of which only what they read and write is there, not the whole domain around it. */
export class CollectorBench {
  readonly store: LogStore;
  readonly #database: TestDatabase;

  private constructor(database: TestDatabase) {
    this.#database = database;
    this.store = new LogStore(database.pool);
  }

  static async on(database: TestDatabase): Promise<CollectorBench> {
    await database.pool.query(`do $$ declare one record; begin
      for one in select conrelid::regclass as of, conname from pg_constraint
        where contype = 'f' and conrelid in ('log_offsets'::regclass, 'instances'::regclass)
      loop execute format('alter table %s drop constraint %I', one.of, one.conname); end loop;
    end $$`);
    return new CollectorBench(database);
  }

  async addInstance(deploymentId: string, service = 'web'): Promise<string> {
    const instanceId = newId();
    await this.#database.pool.query(
      `insert into instances (id, stack_environment_id, deployment_id, release_id, service, replica, config_hash)
       values ($1, $2, $3, $4, $5, 1, 'x')`,
      [instanceId, newId(), deploymentId, newId(), service],
    );
    return instanceId;
  }

  start(script: ScriptedLog, stackEnvironmentId: string, more: Partial<LogCollectorOptions> = {}): StartedCollector {
    const end = new AbortController();
    const collector = new LogCollector({
      pool: this.#database.pool,
      log: createLogger('silent'),
      owner: { stackEnvironmentId, instanceId: null },
      read: ({ position }, signal) => script.read(position, signal),
      maskerOf: async () => TEST_MASKER,
      fence: async () => true,
      ...more,
    });
    const stopped = collector.run(end.signal);
    stopped.catch(() => {});
    const stop = async () => {
      end.abort();
      await stopped;
    };
    return { collector, stopped, stop };
  }

  /** All lines of a log, and how many a bound took of it. Throws where one is missing. */
  async log(deploymentId: string): Promise<{ lines: LogLine[]; dropped: number }> {
    const log: { lines: LogLine[]; dropped: number } = { lines: [], dropped: 0 };
    for (let after = 0, complete = false; !complete; ) {
      const page = await this.store.read({ deploymentId, after, limit: 5_000 });
      for (const line of page.lines)
        if (line.sequence !== log.lines.push(line)) throw new Error(`line ${log.lines.length} is missing`);
      log.dropped += page.dropped;
      ({ through: after, complete } = page);
    }
    return log;
  }

  async messages(deploymentId: string): Promise<string[]> {
    return (await this.log(deploymentId)).lines.map(({ message }) => message);
  }
}
