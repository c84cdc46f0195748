import type { PoolConfig } from 'pg';
import { launchEngine, shutdownEngine } from '../../engine/durable.ts';
import { HostLease, type Lease } from '../../engine/host-lease.ts';
import type { Runtime } from '../../runtimes/runtime.ts';
import type { Keyring } from '../../shared/crypto.ts';
import { ContainerEngines, type EngineDriver } from './container-engines.ts';
import { HostWorker, type HostWorkerDependencies } from './host-worker.ts';
import { stepHosts } from './workflow.ts';

export type HostEngineOptions = Omit<HostWorkerDependencies, 'runtime' | 'recovers'> & {
  connection: PoolConfig;
  keyring: Keyring;
  hostId: string;
  /** What runs processes on this host; null: nothing does, and only container engines are worked for. */
  runtime: Runtime | null;
  loadDriver: () => Promise<EngineDriver>;
  /** What else the holder of the lease does. */
  beside(held: Lease): LeaseWorker[];
  instanceId: string;
  bootId: string;
  runtimeDirectory: string;
};

/** Works from its start to its end; what it leaves half done whoever comes next goes on with. */
export type LeaseWorker = { start(): void; close(): Promise<void> };

export type HostEngine = {
  /** Resolves once this process holds its host's lease and works, or another one does. */
  start(): Promise<void>;
  /** Whether this process is the one that works for its host. */
  readonly isHolder: boolean;
  /** What this process can ask of a host; null: nothing. */
  runtimeOf(hostId: string): Runtime | null;
  /** Lets go of everything; what runs goes on. */
  close(): Promise<void>;
};

/**
 * Seeks the host's lease and, while it is held, runs the host's worker on a durable engine of its own, and the workers of the container
 * engines whose leases it gets.
 */
export function createHostEngine(options: HostEngineOptions): HostEngine {
  const { pool, log, connection, hostId, runtime, instanceId, bootId, runtimeDirectory } = options;
  const engines = new ContainerEngines(options);
  let worker: HostWorker | null = null;
  let beside: LeaseWorker[] = [];
  const lease = new HostLease({
    pool,
    hostId,
    instanceId,
    bootId,
    log,
    lockDirectory: runtimeDirectory,
    async onAcquired(held: Lease) {
      stepHosts.use(pool);
      worker = runtime && new HostWorker({ ...options, runtime, recovers: true }, held);
      worker?.begin();
      // The engine's name for this host's work: whoever holds the lease takes up what the former holder left.
      await launchEngine(connection, hostId, log);
      worker?.run();
      beside = options.beside(held);
      for (const each of beside) each.start();
      engines.start();
    },
    async onLost() {
      await Promise.all(beside.map((each) => each.close()));
      beside = [];
      await engines.close();
      await worker?.close();
      worker = null;
      stepHosts.use(null);
      await shutdownEngine();
    },
  });
  return {
    start: () => lease.start(),
    get isHolder() {
      return lease.current !== null;
    },
    runtimeOf: (id) => (id === hostId ? runtime : engines.runtimeOf(id)),
    close: () => lease.close(),
  };
}
