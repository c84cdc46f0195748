import { delay } from '../shared/clock.ts';
import type { SqlExecutor } from './sql.ts';

/** How many lines one transaction deletes at most. */
export const REMOVAL_BATCH_LINES = 5_000;
/** Between two transactions: ingest and readers come first. */
const REMOVAL_PAUSE_MS = 20;

export type RemovalOptions = { signal: AbortSignal; batchLines?: number };

/**
 * One transaction. The lines go first and the head moves last: a writer waits for it no longer than a commit takes. $1 deployment,
 * $2 lines, $3 date; null: all of the log, and what its head alone tells of.
 */
const DELETE_OLDEST = `
with oldest as (
  select head.first_sequence as first, found.through
  from log_heads as head cross join lateral (
    select coalesce(
      max(sequence) filter (where $3::timestamptz is null or received_at < $3),
      case when $3::timestamptz is null then head.last_sequence end
    ) as through
    from (select sequence, received_at from log_lines
          where deployment_id = $1 and sequence >= head.first_sequence order by sequence limit $2) as line
  ) as found
  where head.deployment_id = $1 and found.through >= head.first_sequence
), gone as (
  delete from log_lines using oldest
  where deployment_id = $1 and sequence between oldest.first and oldest.through returning 1
)
update log_heads as head set first_sequence = greatest(head.first_sequence, oldest.through + 1)
from oldest, (select count(*)::int as lines from gone) as deleted
where head.deployment_id = $1 returning deleted.lines`;

/**
 * Deletes the oldest lines of a log in small transactions, up to the last one received before the date, and moves the log's first
 * sequence along, so that readers count what is gone. Returns how many lines went; it stops between two batches when the signal aborts.
 */
export async function deleteLinesBefore(
  database: SqlExecutor,
  deploymentId: string,
  date: Date,
  options: RemovalOptions,
): Promise<number> {
  return deleteOldest(database, deploymentId, date, options);
}

/** Deletes a log that nobody can reach any more, in small transactions, its head last. Returns how many lines went. */
export async function deleteLog(database: SqlExecutor, deploymentId: string, options: RemovalOptions): Promise<number> {
  const lines = await deleteOldest(database, deploymentId, null, options);
  // A line that came meanwhile has raised the head: it stays, and the next run finds both.
  if (!options.signal.aborted)
    await database.query('delete from log_heads where deployment_id = $1 and last_sequence < first_sequence', [
      deploymentId,
    ]);
  return lines;
}

async function deleteOldest(
  database: SqlExecutor,
  deploymentId: string,
  date: Date | null,
  { signal, batchLines = REMOVAL_BATCH_LINES }: RemovalOptions,
): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    const { rows } = await database.query<{ lines: number }>(DELETE_OLDEST, [deploymentId, batchLines, date]);
    const lines = rows[0]?.lines ?? 0;
    if (lines === 0) break;
    total += lines;
    await delay(REMOVAL_PAUSE_MS, signal);
  }
  return total;
}
