import { ensurePartitions } from '../src/realtime/log-partitions.ts';
import type { SqlExecutor } from '../src/realtime/sql.ts';
import { DAY_MS } from '../src/shared/clock.ts';
import { newId } from '../src/shared/ids.ts';

/** 10 million lines in all: nine deployments that ran for five days, and one that said as much today. */
const STEADY_DEPLOYMENTS = 9;
const DAYS = 5;
const LINES_A_DAY = 200_000;
/** As ingest writes them: the lines of deployments lie in turns in the table. */
const BATCH_LINES = 500;
const TODAY_LINES = DAYS * LINES_A_DAY;

/** In five lines of each deployment; nothing else says it. */
export const RARE_TEXT = 'checksum mismatch';
const RARE_SEQUENCES = [70_001, 370_002, 500_003, 810_004, 930_005];

export type LogCorpus = { steady: string; today: string; linesEach: number; lines: number };

/** Fills an empty log, fast, with what servers write: about 100 bytes a line, ids and numbers that hardly repeat. */
export async function fillLog(client: SqlExecutor, now: Date): Promise<LogCorpus> {
  const start = Math.floor(now.getTime() / DAY_MS) * DAY_MS;
  const steady = Array.from({ length: STEADY_DEPLOYMENTS }, newId);
  const today = newId();
  await client.query('set synchronous_commit = off');
  for (let day = DAYS - 1; day >= 0; day--) {
    const from = new Date(start - day * DAY_MS);
    await ensurePartitions(client, from, 0);
    const spanMs = day > 0 ? DAY_MS : now.getTime() - start;
    await insertLines(client, steady, { from, spanMs, base: (DAYS - 1 - day) * LINES_A_DAY, lines: LINES_A_DAY });
  }
  await insertLines(client, [today], {
    from: new Date(start),
    spanMs: now.getTime() - start,
    base: 0,
    lines: TODAY_LINES,
  });
  await client.query('insert into log_heads select id, $2, 1 from unnest($1::uuid[]) as id', [
    [...steady, today],
    TODAY_LINES,
  ]);
  await client.query('reset synchronous_commit');
  await client.query('vacuum analyze log_lines');
  return { steady: steady[4]!, today, linesEach: TODAY_LINES, lines: TODAY_LINES * (STEADY_DEPLOYMENTS + 1) };
}

type Span = { from: Date; spanMs: number; base: number; lines: number };

async function insertLines(
  client: SqlExecutor,
  deployments: string[],
  { from, spanMs, base, lines }: Span,
): Promise<void> {
  await client.query(
    `insert into log_lines (deployment_id, sequence, received_at, occurred_at, instance_id, service, replica, stream, level, message)
     select id, sequence, at, at, id, service, 1 + n % 2, case when n % 40000 = 7 then 2 when n % 11 = 0 then 1 else 0 end,
            case when n % 20000 = 9 then 3 when n % 50 = 0 then 2 when n % 9 = 0 then 0 else 1 end,
            case when sequence = any($7::bigint[]) then '${RARE_TEXT} in block ' || n || ' of volume data-3, expected ' || digest
                 when n % 5 = 0 then 'GET /api/v1/orders/' || n % 86243 || '/items 200 in ' || n % 913 || ' ms request_id=' || digest
                 when n % 5 = 1 then '{"msg":"user signed in","userId":' || n % 52361 || ',"trace":"' || digest || '","ms":' || n % 77 || '}'
                 when n % 5 = 2 then 'cache miss for key session:' || left(digest, 16) || ', loaded from replica 2 in ' || n % 431 || ' ms'
                 when n % 5 = 3 then 'worker 3 finished job #' || n || ' of queue emails (attempt 1, ' || n % 19 || ' left, Größe ' || n % 4096 || ' kB)'
                 else 'connection from 10.' || n % 251 || '.' || n % 241 || '.7:' || 1024 + n % 60000 || ' accepted, ' || n % 13 || ' idle and ' || n % 17 || ' busy in pool' end
     from (
       select *, md5(n::text || id) as digest, hashint8(n) & 65535 as mixed from (
         select id, batch * $6::int + line + $2::bigint as sequence, (ordinal * 7919 + batch * $6::int + line + $2)::int as n,
                $3::timestamptz + make_interval(secs => (batch * $6::int + line) * $4::float8 / 1000 / $5::int) as at
         from generate_series(0, $5::int / $6::int - 1) as batch
         cross join unnest($1::uuid[]) with ordinality as deployment(id, ordinal)
         cross join generate_series(1, $6::int) as line
       ) as numbered
     ) as line cross join lateral (
       select case when n % 50000 = 3 then 'migrate' when mixed % 4 = 0 then 'worker' when mixed % 4 = 1 then 'db' else 'web' end as service
     ) as named`,
    [deployments, base, from, spanMs, lines, BATCH_LINES, RARE_SEQUENCES],
  );
}
