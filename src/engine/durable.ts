import { DBOS } from '@dbos-inc/dbos-sdk';
import { migrateSystemDatabase } from '@dbos-inc/dbos-sdk/internal/system_database';
import { Pool, type PoolConfig } from 'pg';
import type { Logger } from '../shared/logger.ts';

/** The schema of the durable engine's own tables, beside ours in the same database. */
export const ENGINE_SCHEMA = 'dbos';
/** Constant: recovery after an update of the program goes on with what the former release began. */
const APPLICATION = { name: 'windflow', applicationVersion: 'windflow' };
const ENGINE_POOL_SIZE = 6;
const PRUNE_LIMIT = 500;

let pool: Pool | null = null;

/** A durable function: registered once in a process under a versioned name, run under an id of its own. */
export type DurableWorkflow = {
  /** Starts it, or does nothing where that id was started before. */
  start(workflowId: string, argument: string): Promise<void>;
};

/** A PostgreSQL URL for what takes nothing else; a unix socket's folder goes into `?host=`. */
export function connectionUrl(connection: PoolConfig): string {
  if (connection.connectionString) return connection.connectionString;
  const { user, password, host = 'localhost', port = 5432, database } = connection;
  if (typeof password === 'function') throw new TypeError('a password function has no URL');
  const login = `${encodeURIComponent(user ?? '')}:${encodeURIComponent(password ?? '')}`;
  if (host.startsWith('/'))
    return `postgresql://${login}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
  return `postgresql://${login}@${host}:${port}/${database}`;
}

/** The engine's own remarks are details of ours. */
function engineLog(log: Logger) {
  const at = (level: 'debug' | 'warn' | 'error') => (entry: unknown) =>
    log[level]({ engine: entry instanceof Error ? { message: entry.message } : entry }, 'durable engine');
  return { info: at('debug'), debug: at('debug'), warn: at('warn'), error: at('error') };
}

/** What `DBOS.migrate` does, but with our log: that one writes to standard output. */
export async function migrateEngine(connection: PoolConfig, log: Logger): Promise<void> {
  await migrateSystemDatabase(connectionUrl(connection), engineLog(log) as never, ENGINE_SCHEMA);
}

/** A workflow ended with an error, which the engine could not always record: then it counts as running, and nothing runs it. */
export type BrokenWorkflow = { workflowId: string; argument: string; error: unknown };

/** Names a workflow's code; must come before `launchEngine`. The name carries a version: other steps, another name. */
export function registerWorkflow(
  name: string,
  run: (argument: string) => Promise<void>,
  onBroken: (broken: BrokenWorkflow) => void,
): DurableWorkflow {
  const guarded = async (argument: string) => {
    const workflowId = DBOS.workflowID ?? '';
    try {
      await run(argument);
    } catch (error) {
      onBroken({ workflowId, argument, error });
      throw error;
    }
  };
  const registered = DBOS.registerWorkflow(guarded, { name });
  return {
    async start(workflowId, argument) {
      await DBOS.startWorkflow(registered, { workflowID: workflowId })(argument);
    },
  };
}

/** Runs `work` once for the workflow that calls it: after a crash the recorded result stands, an interrupted step runs again. */
export function runStep<T>(name: string, work: () => Promise<T>): Promise<T> {
  return DBOS.runStep(work, { name });
}

/** The id of the workflow whose step calls it. */
export function currentWorkflow(): string {
  return DBOS.workflowID ?? '';
}

/** How a workflow ended, or `null` while it is unknown or still to be worked on. */
export async function workflowOutcome(workflowId: string): Promise<'SUCCESS' | 'ERROR' | 'RUNNING' | null> {
  const status = await DBOS.getWorkflowStatus(workflowId);
  if (!status) return null;
  if (status.status === 'SUCCESS') return 'SUCCESS';
  return status.status === 'PENDING' || status.status === 'ENQUEUED' ? 'RUNNING' : 'ERROR';
}

/** Ends for good what no process runs: it is never taken up again. */
export async function cancelWorkflow(workflowId: string): Promise<void> {
  await DBOS.cancelWorkflow(workflowId);
}

/** Deletes what ended longer ago, a bounded number at a time: the engine itself keeps everything. Returns how many. */
export async function pruneWorkflows(endedBefore: Date): Promise<number> {
  const ended = await DBOS.listWorkflows({
    completedBefore: endedBefore.toISOString(),
    status: ['SUCCESS', 'ERROR', 'CANCELLED'],
    loadInput: false,
    loadOutput: false,
    limit: PRUNE_LIMIT,
  });
  if (ended.length > 0)
    await DBOS.deleteWorkflows(
      ended.map(({ workflowID }) => workflowID),
      true,
    );
  return ended.length;
}

/**
 * Starts the engine of this process and takes up what an earlier holder of `executorId` left. Only the holder of the lease that the
 * id stands for may call it: two engines under one id would run the same work twice.
 */
export async function launchEngine(connection: PoolConfig, executorId: string, log: Logger): Promise<void> {
  pool = new Pool({ ...connection, max: ENGINE_POOL_SIZE, application_name: 'windflow-engine' });
  pool.on('error', (error) => log.warn({ err: error }, 'an idle database connection was lost'));
  pool.on('connect', (client) => client.on('error', () => undefined));
  DBOS.setConfig({
    ...APPLICATION,
    executorID: executorId,
    systemDatabaseUrl: connectionUrl(connection),
    // A pool of ours: one of its own sets each connection up with a query that nothing waits for, and pg warns of that.
    systemDatabasePool: pool,
    systemDatabaseSchemaName: ENGINE_SCHEMA,
    runMigrations: false,
    logger: engineLog(log),
  });
  await DBOS.launch();
}

/** Lets go of the engine at once: unfinished workflows stay pending, for whoever launches it next. */
export async function shutdownEngine(): Promise<void> {
  await DBOS.shutdown();
  await pool?.end();
  pool = null;
}
