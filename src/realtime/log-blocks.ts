import { delay, SECOND_MS } from '../shared/clock.ts';
import { type Folding, foldedMessagesSql, readFolding } from './search-folding.ts';
import type { SqlExecutor } from './sql.ts';

/** Block n holds the sequences BLOCK_LINES × n + 1 to BLOCK_LINES × (n + 1): as migration 0003 says. */
export const BLOCK_LINES = 1_000;
/** Between two rounds. */
export const SUMMARY_INTERVAL_MS = 30 * SECOND_MS;
/** So many lines without a block are quickly looked at: shorter logs have none. */
export const UNSUMMARIZED_LINES = 10_000;

const LOCK = "(hashtext('windflow'), hashtext('log_blocks'))";

/**
 * Summarizes what has been appended to long logs, block by block, and drops the blocks whose lines are gone. Takes half the time that
 * there is: ingest and readers come first. Returns how many blocks it made: none while another instance does it. One connection.
 */
export async function summarizeLogs(client: SqlExecutor, signal: AbortSignal): Promise<number> {
  const { rows } = await client.query<{ had: boolean }>(`select pg_try_advisory_lock${LOCK} as had`);
  if (!rows[0]!.had) return 0;
  try {
    // What a power cut takes is made again.
    await client.query('set synchronous_commit = off');
    const folding = await readFolding(client);
    await dropStale(client, folding);
    let made = 0;
    for (const log of await longLogs(client)) made += await summarize(client, log, folding, signal);
    return made;
  } finally {
    await client.query(`reset synchronous_commit; select pg_advisory_unlock${LOCK}`).catch(() => {});
  }
}

/** Blocks go with the first of their lines: no text outlives its line by more than a round. */
async function dropStale(client: SqlExecutor, { version }: Folding): Promise<void> {
  await client.query(
    `delete from log_blocks as block where folding <> $1 or not exists (
       select from log_heads where deployment_id = block.deployment_id and first_sequence <= block.number * ${BLOCK_LINES} + 1)`,
    [version],
  );
}

/** A log that has lines for blocks from `next` to `last`. */
type LongLog = { id: string; next: string; last: string };

async function longLogs(client: SqlExecutor): Promise<LongLog[]> {
  const { rows } = await client.query<LongLog>(
    `select head.deployment_id as id, todo.next, head.last_sequence / ${BLOCK_LINES} - 1 as last
     from log_heads as head cross join lateral (
       select greatest(max(number) + 1, (head.first_sequence + ${BLOCK_LINES - 2}) / ${BLOCK_LINES}) as next
       from log_blocks where deployment_id = head.deployment_id
     ) as todo
     where head.last_sequence - head.first_sequence >= ${UNSUMMARIZED_LINES}
       and head.last_sequence - todo.next * ${BLOCK_LINES} >= ${UNSUMMARIZED_LINES}`,
  );
  return rows;
}

async function summarize(client: SqlExecutor, log: LongLog, folding: Folding, signal: AbortSignal): Promise<number> {
  let made = 0;
  for (let number = Number(log.next); number <= Number(log.last) && !signal.aborted; number++) {
    const start = performance.now();
    // Lines that retention has taken meanwhile: blocks after them would leave a hole.
    if (!(await makeBlock(client, log.id, number, folding))) break;
    made++;
    await delay(performance.now() - start, signal);
  }
  return made;
}

async function makeBlock(
  client: SqlExecutor,
  deploymentId: string,
  number: number,
  folding: Folding,
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into log_blocks (deployment_id, number, occurred_from, occurred_to, services, streams, max_level, has_dropped,
                             folding, bytes, folded)
     select $1, $2, block.occurred_from, block.occurred_to, coalesce(block.services, '{}'), block.streams, block.max_level,
            block.has_dropped, $3, octet_length(block.folded), block.folded
     from (
       select min(occurred_at) as occurred_from, max(occurred_at) as occurred_to,
              array_agg(distinct service) filter (where service is not null) as services,
              bit_or(1 << stream) as streams, max(level) as max_level, bool_or(dropped > 0) as has_dropped,
              ${foldedMessagesSql(folding)} as folded
       from log_lines where deployment_id = $1 and sequence between $4 and $5
       having count(*) = ${BLOCK_LINES}
     ) as block
     on conflict do nothing`,
    [deploymentId, number, folding.version, number * BLOCK_LINES + 1, (number + 1) * BLOCK_LINES],
  );
  return rowCount === 1;
}
