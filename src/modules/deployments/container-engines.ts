import { readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import { HostLease, type Lease } from '../../engine/host-lease.ts';
import { type Runtime, RuntimeUnavailableError } from '../../runtimes/runtime.ts';
import { delay, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { connectionContext, ENGINES_TOPIC } from '../engine-connection.ts';
import { HostWorker, type HostWorkerDependencies } from './host-worker.ts';

/** Engines that came, went or moved are noticed so soon, at the latest. */
const LOOK_MS = 5 * SECOND_MS;
/** One that cannot be reached is tried again so often. */
const UNREACHED_RETRY_MS = 2 * SECOND_MS;
/** Where another engine answers than at first, somebody has to mend that. */
const FOREIGN_RETRY_MS = MINUTE_MS;

/** How engines are reached; the connection is what an environment was configured with. */
export type EngineDriver = {
  open(connection: unknown): Runtime;
  /** Which engine answers there. Throws RuntimeUnavailableError. */
  identify(connection: unknown): Promise<{ id: string; name: string }>;
};

export type ContainerEnginesOptions = Omit<HostWorkerDependencies, 'runtime' | 'recovers'> & {
  keyring: Keyring;
  /** Loaded with the first engine: most of what it brings is of no use without one. */
  loadDriver: () => Promise<EngineDriver>;
  /** The id of this server process. */
  instanceId: string;
  bootId: string;
};

type EngineRow = { id: string; name: string; connection: string; engineId: string | null };
type Engine = { connection: string; runtime: Runtime; close(): Promise<void> };

/**
 * The container engines of all environments, as far as this server reaches them: seeks the lease of each and works for it while it is
 * held. Runs in a process whose durable engine runs.
 */
export class ContainerEngines {
  readonly #options: ContainerEnginesOptions;
  readonly #engines = new Map<string, Engine>();
  #driver: EngineDriver | null = null;
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: ContainerEnginesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#stop = new AbortController();
    this.#running = this.#lookForever(this.#stop.signal);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all([...this.#engines.keys()].map((hostId) => this.#leave(hostId)));
  }

  /** The runtime of a host that is an engine; null: it is none, or this server does not work with it. */
  runtimeOf(hostId: string): Runtime | null {
    return this.#engines.get(hostId)?.runtime ?? null;
  }

  async #lookForever(over: AbortSignal): Promise<void> {
    const { bus, log } = this.#options;
    using watch = bus.watch([ENGINES_TOPIC]);
    while (!over.aborted) {
      try {
        await this.#look();
      } catch (error) {
        log[isOutage(error) ? 'debug' : 'error']({ err: error }, 'the container engines are looked at again soon');
      }
      await watch.wait(LOOK_MS, over);
    }
  }

  async #look(): Promise<void> {
    // Of an environment that was deleted nothing is left to be removed.
    await this.#options.pool.query(
      `delete from hosts h where connection is not null and not exists (select 1 from environments where host_id = h.id)
         and not exists (select 1 from stack_removals where host_id = h.id)`,
    );
    const { rows } = await this.#options.pool.query<EngineRow>(
      'select id, name, connection, engine_id as "engineId" from hosts where connection is not null',
    );
    const wanted = new Map(rows.map((row) => [row.id, row]));
    for (const [hostId, { connection }] of [...this.#engines])
      if (wanted.get(hostId)?.connection !== connection) await this.#leave(hostId);
    if (rows.length > 0) this.#driver ??= await this.#options.loadDriver();
    for (const row of rows) if (!this.#engines.has(row.id)) this.#engines.set(row.id, this.#join(row, this.#driver!));
  }

  async #leave(hostId: string): Promise<void> {
    const engine = this.#engines.get(hostId);
    this.#engines.delete(hostId);
    await engine?.close();
  }

  #join(row: EngineRow, driver: EngineDriver): Engine {
    const { keyring, pool, instanceId, bootId, log } = this.#options;
    const connection: unknown = JSON.parse(keyring.decrypt(row.connection, connectionContext(row.id)));
    const runtime = driver.open(connection);
    const end = new AbortController();
    let worker: HostWorker | null = null;
    const seek = async () => {
      if (!(await this.#isReached(row, () => driver.identify(connection), end.signal))) return null;
      const lease = new HostLease({
        pool,
        hostId: row.id,
        instanceId,
        bootId: await placeOf(bootId),
        log,
        lockDirectory: join(tmpdir(), `windflow-engine-${row.id}`),
        onAcquired: async (held: Lease) => {
          worker = new HostWorker({ ...this.#options, runtime, recovers: false }, held);
          worker.begin();
          worker.run();
        },
        onLost: async () => {
          await worker?.close();
          worker = null;
        },
      });
      await lease.start();
      return lease;
    };
    const seeking = seek().catch((error: unknown) => {
      log.error({ err: error, hostId: row.id }, 'an engine could not be worked for');
      return null;
    });
    return {
      connection: row.connection,
      runtime,
      async close() {
        end.abort();
        await (await seeking)?.close();
        await runtime.close();
      },
    };
  }

  /** Waits until the engine answers that answered at first. False: it is not wanted any more. */
  async #isReached(row: EngineRow, identify: () => Promise<{ id: string }>, over: AbortSignal): Promise<boolean> {
    const { pool, log } = this.#options;
    let { engineId } = row;
    let isTold = false;
    while (!over.aborted) {
      let wait = UNREACHED_RETRY_MS;
      try {
        const { id } = await identify();
        engineId ??= await rememberEngine(pool, row.id, id);
        if (engineId === id) return true;
        wait = FOREIGN_RETRY_MS;
        log.error(
          { hostId: row.id, engineId, found: id },
          'another container engine answers than at first: left alone',
        );
      } catch (error) {
        const level = error instanceof RuntimeUnavailableError || isOutage(error) ? 'warn' : 'error';
        if (!isTold)
          log[level]({ err: error, hostId: row.id }, 'a container engine cannot be reached; it is tried again');
        isTold = true;
      }
      await delay(wait, over);
    }
    return false;
  }
}

/** The first engine that answered; what another server remembered meanwhile counts. */
async function rememberEngine(pool: Pool, hostId: string, engineId: string): Promise<string | null> {
  await pool.query('update hosts set engine_id = $2 where id = $1 and engine_id is null', [hostId, engineId]);
  const { rows } = await pool.query<{ engineId: string | null }>(
    'select engine_id as "engineId" from hosts where id = $1',
    [hostId],
  );
  return rows[0]?.engineId ?? null;
}

/** Locks of a machine hold within one network namespace only: two of them, on one kernel, are two places. */
async function placeOf(bootId: string): Promise<string> {
  return `${bootId}/${await readlink('/proc/self/ns/net').catch(() => '')}`;
}
