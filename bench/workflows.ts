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
import { median, quantile, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { prepareTenant } from './stack.ts';

/** Runs of a workflow of three requests, beside the same three steps on bare DBOS on the same database, in turns. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const RUNS = Number(process.env.BENCH_RUNS ?? 1_000);
const STARTS = 200;
const AT_ONCE = 20;
const POLL_MS = 20;

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
const client = new Client(database.url);
await client.connect();
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
await using bare = await startBare();

await runAsked(20);
await bare.run(20);
const stored: number[] = [];
const asked: number[] = [];
const theirs: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  theirs.push(RUNS / (await bare.run(RUNS)));
  stored.push(RUNS / (await runStored(RUNS)));
  asked.push(RUNS / (await runAsked(RUNS)));
  const [ours, through, dbos] = [stored, asked, theirs].map((each) => rounded(each.at(-1)! * 1_000));
  console.log(`round ${round + 1}: ${ours} runs/s, ${through} through the API, bare DBOS ${dbos}`);
}
const latencies: number[] = [];
for (let start = 0; start < STARTS; start++) latencies.push(await measureStart(`start-${start}`));
await client.end();
web.close();

const peer = 'DBOS, the same three steps, on the same database';
const rows: Row[] = [
  { ...throughput('runs of three steps that are stored already', stored), asked: 'at least 0.7' },
  { ...throughput('the same, asked for through the API', asked), asked: '–' },
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
report('workflows', rows, { runsPerMs: { stored, asked, bare: theirs } });

function throughput(figure: string, ours: number[]): Omit<Row, 'asked'> {
  return {
    ...{ figure, unit: 'runs/s, median', peer },
    ours: rounded(median(ours) * 1_000),
    theirs: rounded(median(theirs) * 1_000),
    ratio: rounded(median(ours.map((rate, round) => rate / theirs[round]!))),
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

async function startBare() {
  const program = join(dirname(fileURLToPath(import.meta.url)), 'workflows-dbos.ts');
  const env = { ...process.env, DATABASE_URL: database.url, STEP_URL: url };
  const child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'inherit'] });
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
    async run(count: number): Promise<number> {
      child.stdin.write(`run ${count}\n`);
      return Number(await next());
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}
