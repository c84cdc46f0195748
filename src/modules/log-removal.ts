import type { Pool } from 'pg';
import type { Transaction } from '../db/client.ts';
import { notifyTopics } from '../realtime/bus.ts';
import { deleteLinesBefore, deleteLog, type RemovalOptions } from '../realtime/log-retention.ts';
import { DAY_MS } from '../shared/clock.ts';

/** Wakes whoever removes the logs of deployments that are gone. */
export const LOG_REMOVAL_TOPIC = 'logs:removed';
export const MAX_LOG_RETENTION_DAYS = 3_650;
/** In an organization's settings. */
export const LOG_RETENTION_SETTING = 'logRetentionDays';
const LOGS_A_LOOK = 100;

/** What is wrong with the number of days in an organization's settings after which its lines go; null: nothing. */
export function logRetentionProblem(settings: Record<string, unknown>): string | null {
  const days = settings[LOG_RETENTION_SETTING];
  if (days === undefined) return null;
  if (Number.isInteger(days) && Number(days) >= 1 && Number(days) <= MAX_LOG_RETENTION_DAYS) return null;
  return `must be a whole number of days, 1 to ${MAX_LOG_RETENTION_DAYS}; leave it out to keep logs as long as the installation does`;
}

/** After deployments are deleted, whose logs nobody reaches from then on: their lines go later, in the background. */
export async function announceLogRemoval(tx: Transaction): Promise<void> {
  await notifyTopics(tx, [LOG_REMOVAL_TOPIC]);
}

/** Removes the logs of deployments that are gone, however large, in small transactions. Returns how many logs went. */
export async function removeDeletedLogs(pool: Pool, options: RemovalOptions): Promise<number> {
  for (let removed = 0; ; ) {
    const { rows } = await pool.query<{ id: string }>(
      `select deployment_id as id from log_heads as head
       where not exists (select from deployments where id = head.deployment_id) limit ${LOGS_A_LOOK}`,
    );
    for (const { id } of rows) await deleteLog(pool, id, options);
    removed += rows.length;
    if (rows.length === 0 || options.signal.aborted) return removed;
  }
}

/** Deletes the lines that are older than their organization wants, in small transactions. Returns how many lines went. */
export async function removeExpiredLines(pool: Pool, now: Date, options: RemovalOptions): Promise<number> {
  // A deployment has no line that is older than itself, and a log in order has its oldest first.
  const { rows } = await pool.query<{ id: string; days: number }>(
    `with given as materialized (
       select id, (settings->>$2)::numeric as days from organizations where jsonb_typeof(settings->$2) = 'number'
     ), wanted as (
       select id, days::float8 as days, $1::timestamptz - make_interval(hours => days::int * 24) as oldest from given
       where days between 1 and ${MAX_LOG_RETENTION_DAYS}
     )
     select head.deployment_id as id, wanted.days
     from wanted
     join deployments on organization_id = wanted.id and created_at < wanted.oldest
     join log_heads as head on head.deployment_id = deployments.id and first_sequence <= last_sequence
     cross join lateral (
       select received_at from log_lines
       where deployment_id = head.deployment_id and sequence >= head.first_sequence order by sequence limit 1
     ) as line
     where line.received_at < wanted.oldest`,
    [now, LOG_RETENTION_SETTING],
  );
  let lines = 0;
  for (const { id, days } of rows) {
    lines += await deleteLinesBefore(pool, id, new Date(now.getTime() - days * DAY_MS), options);
  }
  return lines;
}
