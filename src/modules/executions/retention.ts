import type { Pool } from 'pg';

/** How many retention takes at a time, with their steps and what they wrote. */
const BATCH = 100;

/**
 * Deletes executions that ended before, in small transactions. One that another goes on from stays as long as that: it is the beginning
 * of its conversation. Returns how many went.
 */
export async function removeEndedExecutions(pool: Pool, before: Date, signal?: AbortSignal): Promise<number> {
  let removed = 0;
  for (let isMore = true; isMore && !signal?.aborted; ) {
    const { rowCount } = await pool.query(
      `delete from executions where id in (
         select e.id from executions e
         where e.finished_at < $1 and not exists (select from executions later where later.continues_id = e.id)
         order by e.finished_at limit $2 for update skip locked)`,
      [before, BATCH],
    );
    removed += rowCount ?? 0;
    isMore = (rowCount ?? 0) > 0;
  }
  return removed;
}
