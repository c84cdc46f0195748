import type { SqlExecutor } from '../../realtime/sql.ts';
import type { Drift, InstanceStatus, Runtime, StackRef } from '../../runtimes/runtime.ts';
import { isAlive } from './health.ts';
import { type InstanceRow, presentInstances, type StackHandle } from './instances.ts';
import type { ReplicaSpec } from './release.ts';
import type { ReleaseStore } from './release-store.ts';

/** An instance as it is found, beside what it was started as. */
export type ObservedInstance = Pick<
  InstanceRow,
  'id' | 'releaseId' | 'service' | 'replica' | 'configHash' | 'exitCode'
> & {
  state: InstanceRow['state'];
  spec: ReplicaSpec;
  /** Runs, or ended as it should. */
  isAlive: boolean;
  drift: Drift[];
};

export type Viewpoint = {
  database: SqlExecutor;
  releases: ReleaseStore;
  stack: StackRef;
  /** Null where it cannot be asked from here: then no drift is seen. */
  runtime: Pick<Runtime, 'drift'> | null;
  /** Only this service; absent: all. */
  service?: string;
  /** What the runtime last said of an instance; absent: what is stored of it. */
  status?: (instanceId: string) => InstanceStatus | undefined;
};

/** What really runs of a stack, changes by hand included. */
export async function observe(from: Viewpoint): Promise<ObservedInstance[]> {
  const { database, releases, stack, runtime, service: only, status } = from;
  const rows = await presentInstances(database, stack.id);
  const observed: ObservedInstance[] = [];
  for (const row of rows) {
    if (only !== undefined && row.service !== only) continue;
    const { specs } = await releases.read(row.releaseId);
    const spec = specs.services.find(({ name }) => name === row.service)?.replicas[row.replica - 1];
    if (!spec) throw new Error(`the release of instance ${row.id} has no such replica`);
    const { id, releaseId, service, replica, configHash } = row;
    const { state, exitCode } = (status ? status(id) : null) ?? row;
    const told = isAlive(status ? (status(id) ?? endOf(row)) : row);
    observed.push({ id, releaseId, service, replica, configHash, state, exitCode, spec, isAlive: told, drift: [] });
  }
  // What has ended needs its files no more.
  const present = observed.filter(({ state }) => state !== 'EXITED' && state !== 'STOPPED');
  const found = await runtime?.drift(
    stack,
    present.map(({ id, spec }) => ({ ...spec, instanceId: id })),
  );
  for (const instance of observed) instance.drift = found?.get(instance.id) ?? [];
  return observed;
}

/** What an instance that the runtime knows nothing of any more came to, where that is stored: a job that is done stays so. */
export function endOf(row: InstanceRow): InstanceRow | undefined {
  return row.state === 'EXITED' ? row : undefined;
}

/** As the holder of the lease sees it. */
export function observeWorker(
  database: SqlExecutor,
  releases: ReleaseStore,
  worker: Pick<StackHandle, 'stack' | 'runtime' | 'status'>,
  service?: string,
): Promise<ObservedInstance[]> {
  const { stack, runtime } = worker;
  return observe({ database, releases, stack, runtime, service, status: (id) => worker.status(id) });
}

/** Whether an instance is what a release wants, so that nothing needs to be done about it. */
export function isAsWanted(instance: ObservedInstance, spec: ReplicaSpec): boolean {
  const { service, replica, configHash } = instance;
  return (
    service === spec.service &&
    replica === spec.replica &&
    configHash === spec.configHash &&
    instance.isAlive &&
    instance.drift.length === 0
  );
}
