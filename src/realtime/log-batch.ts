import type { Pool, PoolClient } from 'pg';
import { isOutage } from '../db/outage.ts';
import { notifyTopics } from './bus.ts';
import type { NewLogLine } from './log-line.ts';
import { type LogOffset, type LogOwner, loadOffset, saveOffset } from './log-offset.ts';
import { appendLines, logTopic } from './log-writer.ts';

/** A batch whose transaction takes longer is given up and tried again on another connection. */
export const BATCH_TIMEOUT_MS = 30_000;
/** PostgreSQL's class of exhausted resources: a full disk among them. */
const EXHAUSTED = /^53...$/;
/** A log line once delivered must never be forgotten, whatever the server's default. */
const BEGIN = `begin; select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'`;

/** Another control plane instance has taken over this stack's log; nothing of this batch is stored by this one. */
export class FenceLostError extends Error {
  override name = 'FenceLostError';
}

/** The database did not answer in time: whether the batch is stored is unknown. */
export class AnswerTimeoutError extends Error {
  override name = 'AnswerTimeoutError';
}

/** Lines of instances in order, and how far the log that they come from is stored with them. */
export type CollectedBatch = { lines: readonly (NewLogLine & { instanceId: string })[]; offset: LogOffset };

export type LogBatchTarget = {
  owner: LogOwner;
  /** Whether this process still holds the lease: reads, and locks for share, what says so. */
  fence: (client: PoolClient) => Promise<boolean>;
  /** Where the lines of an instance without a row belong; absent, or null: nowhere, they are left out. */
  fallbackDeployment?: (instanceId: string) => Promise<string | null>;
};

/**
 * Stores a batch in one transaction: fence, offset, which deployment each instance belongs to now, lines, one wake-up
 * a deployment. Safe to call again after any error: what was stored is not stored twice.
 */
export async function writeBatch(pool: Pool, target: LogBatchTarget, batch: CollectedBatch): Promise<void> {
  const client = await pool.connect();
  // A lost connection fails the query; without a listener it would end the process as well.
  const onError = () => {};
  client.on('error', onError);
  try {
    await inTime(inTransaction(client, target, batch));
    client.removeListener('error', onError);
    client.release();
  } catch (error) {
    // In whatever state it is: never to be used again.
    client.release(true);
    throw error;
  }
}

/** Whether a batch that failed so may be stored by the same call later. */
export function isWorthRetrying(error: unknown): boolean {
  if (error instanceof AnswerTimeoutError || isOutage(error)) return true;
  return EXHAUSTED.test(String((error as { code?: unknown }).code));
}

async function inTime(work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new AnswerTimeoutError('the database did not answer in time')),
    BATCH_TIMEOUT_MS,
  );
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Three round trips: what must be known, all that is written, and the commit, which goes out once the rest is known to be done. */
async function inTransaction(client: PoolClient, target: LogBatchTarget, batch: CollectedBatch): Promise<void> {
  const instanceIds = new Set(batch.lines.map((line) => line.instanceId));
  const [, isHeld, deploymentOf] = await Promise.all([
    client.query(BEGIN),
    target.fence(client),
    deploymentsOf(client, [...instanceIds]),
  ]);
  if (!isHeld) throw new FenceLostError('another instance holds the lease of this stack');
  for (const instanceId of instanceIds) {
    if (deploymentOf.has(instanceId)) continue;
    deploymentOf.set(instanceId, (await target.fallbackDeployment?.(instanceId)) ?? null);
  }
  const byDeployment = linesByDeployment(batch.lines, deploymentOf);
  // In the order of ids: nobody who also appends to several logs can deadlock with this.
  const deploymentIds = [...byDeployment.keys()].sort();
  const [isNext] = await Promise.all([
    saveOffset(client, target.owner, batch.offset),
    ...deploymentIds.map((deploymentId) => appendLines(client, deploymentId, byDeployment.get(deploymentId)!)),
    notifyTopics(client, deploymentIds.map(logTopic)),
  ]);
  if (isNext) await client.query('commit');
  else await leave(client, target, batch);
}

/** Not the next batch: stored by an earlier try whose answer was lost, or in competition with somebody else. */
async function leave(client: PoolClient, target: LogBatchTarget, { offset }: CollectedBatch): Promise<void> {
  await client.query('rollback');
  const stored = await loadOffset(client, target.owner);
  if (stored.writer === offset.writer && stored.batch === offset.batch) return;
  throw new FenceLostError('another reader has moved the log of this stack');
}

/** The instances' rows stay locked for share: a commit that moves them comes wholly before or after this batch. */
async function deploymentsOf(client: PoolClient, instanceIds: string[]): Promise<Map<string, string | null>> {
  const { rows } = await client.query<{ id: string; deployment_id: string }>(
    'select id, deployment_id from instances where id = any($1::uuid[]) order by id for share',
    [instanceIds],
  );
  return new Map(rows.map((row) => [row.id, row.deployment_id]));
}

function linesByDeployment(
  lines: CollectedBatch['lines'],
  deploymentOf: ReadonlyMap<string, string | null>,
): Map<string, NewLogLine[]> {
  const byDeployment = new Map<string, NewLogLine[]>();
  for (const line of lines) {
    const deploymentId = deploymentOf.get(line.instanceId);
    if (!deploymentId) continue;
    const known = byDeployment.get(deploymentId);
    if (known) known.push(line);
    else byDeployment.set(deploymentId, [line]);
  }
  return byDeployment;
}
