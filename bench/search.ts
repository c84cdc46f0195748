import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, type PoolConfig } from 'pg';
import { startEmbeddedServer } from '../src/db/embedded-server.ts';
import { migrate } from '../src/db/migrations.ts';
import { migrateEngine } from '../src/engine/durable.ts';
import { BLOCK_LINES, summarizeLogs } from '../src/realtime/log-blocks.ts';
import type { LogFilter } from '../src/realtime/log-filter.ts';
import type { NewLogLine } from '../src/realtime/log-line.ts';
import { appendLines, LogStore } from '../src/realtime/log-store.ts';
import { delay, MINUTE_MS, SECOND_MS } from '../src/shared/clock.ts';
import { newId } from '../src/shared/ids.ts';
import { createLogger } from '../src/shared/logger.ts';
import { fillLog, type LogCorpus, RARE_TEXT } from './log-corpus.ts';
import { median, type Row, report, rounded } from './report.ts';

/** First pages of filtered logs, a million lines among ten, beside a plain scan of the same lines in turns; and what it costs ingest. */
const RUNS = 3;
const PAGE_LINES = 51;
const ASKED_MS = 500;
const INGEST_ROUNDS = 4;
const INGEST_ROUND_MS = 6 * SECOND_MS;
const INGEST_BATCH_LINES = 500;
const SUMMARY_PAUSE_MS = SECOND_MS;

type Search = { name: string; filter: LogFilter; direction?: 'forward' | 'backward'; scan: string; values?: unknown[] };
type Timed = { name: string; before: number[]; ours: number[]; scan: number[]; lines: number };

const log = createLogger('warn');
const folder = await mkdtemp(join(tmpdir(), 'wf-search-'));
// Where we are root, PostgreSQL is another user, who must pass through.
await chmod(folder, 0o711);
const server = await startEmbeddedServer({ dataDirectory: folder, log, settings: ['max_wal_size=512MB'] });
try {
  await migrate(server.connection, log, () => migrateEngine(server.connection, log));
  await measure(server.connection);
} finally {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function measure(connection: PoolConfig): Promise<void> {
  await using client = await connect(connection);
  const begun = performance.now();
  const now = new Date();
  const corpus = await fillLog(client, now);
  console.log(`${corpus.lines} lines in ${rounded((performance.now() - begun) / 1_000)} s`);
  const store = new LogStore(client);
  const logs = [
    { of: 'over days', deploymentId: corpus.steady },
    { of: 'all of today', deploymentId: corpus.today },
  ];
  const timed = logs.flatMap(({ of, deploymentId }) =>
    searches(now).map((search) => ({ ...search, deploymentId, name: `${search.name}, ${of}` })),
  );
  const results: Timed[] = timed.map(({ name }) => ({ name, before: [], ours: [], scan: [], lines: 0 }));
  for (const [index, one] of timed.entries())
    results[index]!.before.push((await timeOf(() => find(store, one.deploymentId, one))).ms);
  const summary = await summarizeAll(client, corpus);
  for (let run = 0; run < RUNS; run++) {
    for (const [index, one] of timed.entries()) {
      const { ms, value } = await timeOf(() => find(store, one.deploymentId, one));
      const order = one.direction === 'backward' ? 'desc' : 'asc';
      const scan = `select * from log_lines where deployment_id = $1 and ${one.scan} order by sequence ${order} limit ${PAGE_LINES}`;
      results[index]!.ours.push(ms);
      results[index]!.lines = value;
      results[index]!.scan.push((await timeOf(() => client.query(scan, [one.deploymentId, ...(one.values ?? [])]))).ms);
    }
  }
  const last = await lastPositions(store, corpus);
  const ingest = await measureIngest(connection);
  const rows = results.map(rowOf);
  rows.push({
    figure: 'ingest while blocks are made',
    unit: 'lines/s, median',
    ours: rounded(median(ingest.beside)),
    peer: 'ingest alone',
    theirs: rounded(median(ingest.alone)),
    ratio: rounded(median(ingest.beside) / median(ingest.alone)),
    asked: 'as much',
  });
  report('search', rows, { summary, results, last, ingest });
  console.log(JSON.stringify({ summary, last }, null, 1));
}

function searches(now: Date): Search[] {
  const like = { scan: 'message ilike $2' };
  const since = new Date(now.getTime() - MINUTE_MS);
  return [
    { name: 'five lines in a million', filter: { search: RARE_TEXT }, ...like, values: [`%${RARE_TEXT}%`] },
    {
      name: 'five lines, backward',
      direction: 'backward',
      filter: { search: RARE_TEXT.toUpperCase() },
      ...like,
      values: [`%${RARE_TEXT}%`],
    },
    { name: 'text in no line', filter: { search: 'deadbeefdead' }, ...like, values: ['%deadbeefdead%'] },
    { name: 'text beyond ASCII in no line', filter: { search: 'größere' }, ...like, values: ['%größere%'] },
    { name: 'two characters in no line', filter: { search: '~~' }, ...like, values: ['%~~%'] },
    { name: 'text in every fifth line', filter: { search: 'request_id' }, ...like, values: ['%request\\_id%'] },
    { name: 'text in one line of 250', filter: { search: '/orders/777' }, ...like, values: ['%/orders/777%'] },
    { name: 'service of 20 lines', filter: { services: ['migrate'] }, scan: "service = 'migrate'" },
    { name: 'stream of 25 lines', filter: { streams: ['SYSTEM'] }, scan: 'stream = 2' },
    { name: 'level of 50 lines', filter: { minLevel: 'ERROR' }, scan: 'level >= 3' },
    { name: 'since a minute ago', filter: { since }, scan: 'occurred_at >= $2', values: [since] },
    { name: 'until before all', filter: { until: new Date(0) }, direction: 'backward', scan: "occurred_at <= 'epoch'" },
    {
      name: 'service and text, never together',
      filter: { services: ['db'], search: RARE_TEXT, minLevel: 'ERROR' },
      scan: "service = 'db' and level >= 3 and message ilike $2",
      values: [`%${RARE_TEXT}%`],
    },
  ];
}

async function find(store: LogStore, deploymentId: string, { filter, direction }: Search): Promise<number> {
  const query = { deploymentId, filter, direction, limit: PAGE_LINES, scanLimit: Number.MAX_SAFE_INTEGER };
  return (await store.read(query)).lines.length;
}

async function summarizeAll(client: Client, corpus: LogCorpus): Promise<object> {
  const { value: blocks, ms } = await timeOf(() => summarizeLogs(client, new AbortController().signal));
  const { rows } = await client.query(
    `select pg_total_relation_size('log_blocks') as blocks, sum(pg_table_size(inhrelid))::float8 as lines,
            sum(pg_indexes_size(inhrelid))::float8 as keys from pg_inherits where inhparent = 'log_lines'::regclass`,
  );
  await client.query('vacuum analyze log_blocks');
  const perLine = (bytes: unknown) => Math.round(Number(bytes) / corpus.lines);
  // Half of the time it pauses.
  const microseconds = rounded((ms * 500) / (blocks * BLOCK_LINES));
  const { blocks: ours, lines, keys } = rows[0];
  return {
    blocks,
    microsecondsALine: microseconds,
    bytesALine: { blocks: perLine(ours), rows: perLine(lines), keys: perLine(keys) },
  };
}

async function lastPositions(store: LogStore, { steady, today }: LogCorpus): Promise<object> {
  const ms: Record<string, number[]> = { steady: [], today: [] };
  for (let run = 0; run < RUNS; run++) {
    for (const [name, id] of Object.entries({ steady, today }))
      ms[name]!.push((await timeOf(() => store.positionOfLast(id, 10, { search: RARE_TEXT }))).ms);
  }
  return { positionOfLastMs: { steady: rounded(median(ms.steady!)), today: rounded(median(ms.today!)) } };
}

/** Batches one after the other into today's partition: alone, and while another connection makes blocks of them. */
async function measureIngest(connection: PoolConfig): Promise<{ alone: number[]; beside: number[] }> {
  await using client = await connect(connection);
  await using other = await connect(connection);
  const rates = { alone: [] as number[], beside: [] as number[] };
  for (let round = 0; round < INGEST_ROUNDS; round++) {
    rates.alone.push(await ingestRate(client));
    const stop = new AbortController();
    const summarizing = keepSummarizing(other, stop.signal);
    rates.beside.push(await ingestRate(client));
    stop.abort();
    await summarizing;
    // What the round alone left behind is none of the next one's work.
    await summarizeLogs(other, new AbortController().signal);
  }
  return rates;
}

async function keepSummarizing(client: Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await summarizeLogs(client, signal);
    await delay(SUMMARY_PAUSE_MS, signal);
  }
}

async function ingestRate(client: Client): Promise<number> {
  const deploymentId = newId();
  const begun = performance.now();
  let count = 0;
  while (performance.now() - begun < INGEST_ROUND_MS) {
    await appendLines(client, deploymentId, batchFrom(count));
    count += INGEST_BATCH_LINES;
  }
  return (count * 1_000) / (performance.now() - begun);
}

function batchFrom(start: number): NewLogLine[] {
  return Array.from({ length: INGEST_BATCH_LINES }, (_, index) => ({
    occurredAt: Date.now(),
    instanceId: null,
    service: 'web',
    replica: 1,
    stream: 'STDOUT',
    level: 'INFO',
    message: `GET /api/v1/orders/${start + index}/items 200 in ${index} ms request_id=${(start * 7_919 + index).toString(16).padStart(32, 'f')}`,
    isPartial: false,
    dropped: 0,
  }));
}

function rowOf({ name, ours, scan }: Timed): Row {
  return {
    figure: name,
    unit: 'ms, median',
    ours: rounded(median(ours)),
    peer: 'one plain scan',
    theirs: rounded(median(scan)),
    ratio: rounded(median(ours) / median(scan)),
    asked: `at most ${ASKED_MS} ms`,
  };
}

async function timeOf<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const begun = performance.now();
  const value = await work();
  return { ms: performance.now() - begun, value };
}

async function connect(connection: PoolConfig): Promise<Client & AsyncDisposable> {
  const client = new Client(connection);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}
