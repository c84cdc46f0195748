import { readFileSync, writeFileSync } from 'node:fs';
import { Client } from 'pg';
import { BATCH_LINES } from '../src/realtime/open-batch.ts';
import { decodeGlobalId } from '../src/shared/global-id.ts';
import { newId } from '../src/shared/ids.ts';
import { openBenchDatabase } from './database.ts';
import { insertAlone, writerStack } from './ingest-lines.ts';
import { median, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { createStack, deploy, prepareTenant, stop } from './stack.ts';

/** Lines from a service's stdout to the store, beside the bare insert of as many on the same database, in turns. */
const ROUNDS = Number(process.env.WINDFLOW_BENCH_ROUNDS ?? 5);
const LINES = 300_000;
const POLL_MS = 100;

await using database = await openBenchDatabase();
await using server = await createBenchServer({
  DATABASE_URL: database.url,
  WINDFLOW_LOG_LINES_PER_SECOND: '0',
});
await server.start();
const { organizationId, environmentId } = await prepareTenant(server);
const idleMiB = residentMiB(server.pid(), 'VmRSS');
const client = new Client(database.url);
await client.connect();
client.on('error', (error) => console.error(`the benchmark’s connection broke: ${error.message}`));

// Whatever is compiled, allocated and planned once is so by now.
await measureService(LINES);
await measureInsert(LINES);
const ours: number[] = [];
const theirs: number[] = [];
const peaks: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const measured = await measureService(LINES);
  ours.push(measured.linesPerSecond);
  peaks.push(measured.peakMiB);
  theirs.push(await measureInsert(LINES));
  console.log(`round ${round + 1}: ${rounded(ours.at(-1)!)} lines/s, insert alone ${rounded(theirs.at(-1)!)} rows/s`);
}
await client.end();

const rows: Row[] = [
  {
    figure: 'durable lines, stdout to store',
    unit: 'lines/s, median',
    ours: rounded(median(ours)),
    peer: `insert … unnest alone, ${BATCH_LINES} rows each`,
    theirs: rounded(median(theirs)),
    ratio: rounded(median(ours.map((rate, round) => rate / theirs[round]!))),
    asked: 'at least 0.6',
  },
  {
    figure: 'peak memory after all of these rounds',
    unit: 'MiB resident',
    ours: rounded(peaks.at(-1)!),
    peer: 'the same after half of them',
    theirs: rounded(peaks[Math.floor(ROUNDS / 2)]!),
    ratio: rounded(peaks.at(-1)! / peaks[Math.floor(ROUNDS / 2)]!),
    asked: 'about 1: bounded',
  },
];
report('ingest', rows, { linesPerSecond: ours, insertsPerSecond: theirs, idleMiB, peakMiB: peaks });

/** A real service, deployed, writes so many lines as fast as it can: from the first to the last of them in the store. */
async function measureService(lines: number): Promise<{ linesPerSecond: number; peakMiB: number }> {
  const stackId = await createStack(server, organizationId, `writer-${newId()}`, writerStack(lines));
  const pid = server.pid();
  // Linux counts the peak from here.
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const { id } = await deploy(server, stackId, environmentId);
  const deploymentId = decodeGlobalId(id)!.id;
  const { rows: heads } = await untilStored(deploymentId, lines);
  const [stored] = heads;
  if (stored!.lines !== lines) throw new Error(`${stored!.lines} of ${lines} lines are stored`);
  const peakMiB = residentMiB(pid, 'VmHWM');
  await stop(server, id);
  return { linesPerSecond: lines / stored!.seconds, peakMiB };
}

async function untilStored(deploymentId: string, lines: number) {
  for (;;) {
    const { rows: found } = await client.query<{ last: number }>(
      'select last_sequence::int as last from log_heads where deployment_id = $1',
      [deploymentId],
    );
    if ((found[0]?.last ?? 0) >= lines) {
      const stored = await client.query<{ lines: number; seconds: number }>(
        `select (count(*) filter (where not is_partial))::int as lines, extract(epoch from max(received_at) - min(received_at))::float8 as seconds
         from log_lines where deployment_id = $1 and stream = 0`,
        [deploymentId],
      );
      if (stored.rows[0]!.lines >= lines) return stored;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function measureInsert(lines: number): Promise<number> {
  return lines / (await insertAlone(client, newId(), newId(), lines, BATCH_LINES));
}

function residentMiB(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const [, kB] = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kB) / 1_024;
}
