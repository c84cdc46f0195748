import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { decodeGlobalId } from '../src/shared/global-id.ts';
import { openBenchDatabase } from './database.ts';
import { type Appendfsync, HAS_REDIS, openBenchRedis } from './redis.ts';
import { median, quantile, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { prepareTenant } from './stack.ts';

/** Runs of a workflow of three requests, beside the same three steps on bare DBOS on the same database and as flows of BullMQ, in turns. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const RUNS = Number(process.env.BENCH_RUNS ?? 1_000);
const STARTS = 200;
const AT_ONCE = 20;
const POLL_MS = 20;

/** Runs so many and tells the milliseconds until all have ended; its rates in runs/ms, one a round. */
type Peer = { name: string; asked: string; rates: number[]; run(count: number): Promise<number> };

const arrivals = new Map<string, () => void>();
const web = createServer((request, response) => {
  request.resume();
  arrivals.get(request.url!)?.();
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}');
}).listen(0, '127.0.0.1');
await once(web, 'listening');
const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/`;

await using database = await openBenchDatabase();
await using server = await createBenchServer({ DATABASE_URL: database.url, WINDFLOW_ALLOWED_ADDRESSES: '127.0.0.1' });
await server.start();
const { organizationId } = await prepareTenant(server);
await using started = new AsyncDisposableStack();
const client = new Client(database.url);
await client.connect();
started.defer(() => client.end());
const three = await createWorkflow('three', {
  one: step(),
  two: step({ needs: ['one'] }),
  three: step({ needs: ['two'] }),
});
const one = await createWorkflow(
  'one',
  { only: step({ url: `${url}\${{ inputs.path }}` }) },
  { path: { type: 'string' } },
);
const peers = [await startDbos()];
if (HAS_REDIS) peers.push(await startBullMq('always'), await startBullMq('everysec'));
else console.log('BullMQ is left out: there is no redis-server (apt-get install redis-server)');

await runAsked(20);
for (const peer of peers) await peer.run(20);
const stored: number[] = [];
const asked: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  for (const { rates, run } of peers) rates.push(RUNS / (await run(RUNS)));
  stored.push(RUNS / (await runStored(RUNS)));
  asked.push(RUNS / (await runAsked(RUNS)));
  const beside = peers.map(({ name, rates }) => `${name} ${last(rates)}`).join('; ');
  console.log(`round ${round + 1}: ${last(stored)} runs/s, ${last(asked)} through the API; ${beside}`);
}
const latencies: number[] = [];
for (let start = 0; start < STARTS; start++) latencies.push(await measureStart(`start-${start}`));
web.close();

const rows: Row[] = [
  ...peers.flatMap((peer) => [
    { ...throughput('runs of three steps that are stored already', stored, peer), asked: peer.asked },
    { ...throughput('the same, asked for through the API', asked, peer), asked: '–' },
  ]),
  {
    ...{
      figure: 'from asking for a run to its first step, p50 / p99',
      unit: 'ms',
      peer: 'itself, p99',
      asked: 'p50 at most 50 ms',
    },
    ours: rounded(quantile(latencies, 0.5)),
    theirs: rounded(quantile(latencies, 0.99)),
    ratio: rounded(quantile(latencies, 0.5) / quantile(latencies, 0.99)),
  },
];
const theirs = Object.fromEntries(peers.map(({ name, rates }) => [name, rates]));
report('workflows', rows, { runsPerMs: { stored, asked, ...theirs } });

/** In runs/s. */
function last(rates: number[]): number {
  return rounded(rates.at(-1)! * 1_000);
}

function throughput(figure: string, ours: number[], { name, rates }: Peer): Omit<Row, 'asked'> {
  return {
    ...{ figure, unit: 'runs/s, median', peer: name },
    ours: rounded(median(ours) * 1_000),
    theirs: rounded(median(rates) * 1_000),
    ratio: rounded(median(ours.map((rate, round) => rate / rates[round]!))),
  };
}

function step(more: object = {}): object {
  return { kind: 'http', method: 'POST', url, body: {}, ...more };
}

async function createWorkflow(name: string, steps: object, inputs: object = {}): Promise<string> {
  const { workflowCreate } = await server.ask<{ workflowCreate: { id: string } }>(
    'mutation ($input: WorkflowCreateInput!) { workflowCreate(input: $input) { ... on Workflow { id } ... on Error { message } } }',
    { input: { organizationId, name, definition: { inputs, steps } } },
  );
  return workflowCreate.id;
}

async function run(workflowId: string, input: object = {}): Promise<string> {
  const { workflowRun } = await server.ask<{ workflowRun: { id: string } }>(
    'mutation ($input: WorkflowRunInput!) { workflowRun(input: $input) { ... on Execution { id } ... on Error { message } } }',
    { input: { workflowId, input } },
  );
  return workflowRun.id;
}

/** Through the API, so many requests at once; the milliseconds until all have ended. */
async function runAsked(count: number): Promise<number> {
  const begun = performance.now();
  let left = count;
  const ask = async () => {
    while (left-- > 0) await run(three);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return untilOver(begun);
}

/** Rows like those of a run that was asked for, all in one transaction. */
async function runStored(count: number): Promise<number> {
  const begun = performance.now();
  await client.query(
    `insert into executions (id, organization_id, kind, trigger, workflow_id, workflow_version, definition, input, created_by_id, deadline_at)
     select gen_random_uuid(), e.organization_id, e.kind, e.trigger, e.workflow_id, e.workflow_version, e.definition, e.input, e.created_by_id,
            now() + interval '1 hour'
     from (select * from executions where workflow_id = $1 limit 1) e, generate_series(1, $2)`,
    [decodeGlobalId(three)!.id, count],
  );
  return untilOver(begun);
}

async function untilOver(begun: number): Promise<number> {
  for (;;) {
    const { rows: found } = await client.query<{ open: number; failed: number }>(
      `select count(*) filter (where finished_at is null)::int as open, count(*) filter (where status = 'FAILED')::int as failed from executions`,
    );
    if (found[0]!.failed > 0) throw new Error(`${found[0]!.failed} runs failed`);
    if (found[0]!.open === 0) return performance.now() - begun;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function measureStart(path: string): Promise<number> {
  const arrived = new Promise<void>((resolve) => arrivals.set(`/${path}`, resolve));
  const begun = performance.now();
  await run(one, { path });
  await arrived;
  return performance.now() - begun;
}

function startDbos(): Promise<Peer> {
  const program = 'workflows-dbos.ts';
  return startPeer(program, { DATABASE_URL: database.url }, { name: 'bare DBOS', asked: 'at least 0.7' });
}

async function startBullMq(appendfsync: Appendfsync): Promise<Peer> {
  const { socket } = started.use(await openBenchRedis(appendfsync));
  const name = `BullMQ, appendfsync ${appendfsync}`;
  return startPeer('peers/workflows-bullmq.mjs', { REDIS_SOCKET: socket }, { name, asked: '–' });
}

/** A program that runs as many as a line says and prints the milliseconds. */
async function startPeer(program: string, settings: object, said: Pick<Peer, 'name' | 'asked'>): Promise<Peer> {
  const env = { ...process.env, ...settings, STEP_URL: url };
  const path = join(dirname(fileURLToPath(import.meta.url)), program);
  const child = spawn(process.execPath, [path], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  started.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.stdin.end();
    await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error('the peer ended');
      if (value === 'ready' || /^[\d.]+$/.test(value)) return value as string;
    }
  };
  await next();
  return {
    ...said,
    rates: [],
    async run(count) {
      child.stdin.write(`run ${count}\n`);
      return Number(await next());
    },
  };
}
