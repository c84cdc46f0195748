import { decodeGlobalId } from '../src/shared/global-id.ts';
import { containersOf } from '../test/support/docker/containers.ts';
import { buildHaproxyImage } from '../test/support/docker/haproxy-image.ts';
import type { Seen } from '../test/support/docker/ingress-client.ts';
import { startClient } from '../test/support/docker/request-client.ts';
import { versionedWeb } from '../test/support/docker/versioned-web.ts';
import { onEngine, openBenchEngine } from './engine.ts';
import { median, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { changeStack, createStack, deploy, prepareTenant, stop } from './stack.ts';

/** Requests through a published port while versions come and go: those that fail, by strategy, the strategies in turns. */
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 10);
const MIN_REQUESTS = 20_000;
const PORT = 8_090;
const REPLICAS = 2;
const STRATEGIES = ['ROLLING', 'BLUE_GREEN', 'RECREATE'] as const;
type Strategy = (typeof STRATEGIES)[number];
type Measured = { seconds: number[]; requests: number; kept: number; failures: Record<string, number>; failed: number };

const engine = await openBenchEngine();
await using server = await createBenchServer({ WINDFLOW_INGRESS_IMAGE: await buildHaproxyImage(engine.docker) });
await server.start();
const { organizationId, environmentId } = await prepareTenant(server, onEngine(engine));
const stackId = await createStack(server, organizationId, 'web', versionedWeb(PORT, 'v0'));
let { id: live } = await deploy(server, stackId, environmentId);
let version = 0;

const measured = Object.fromEntries(STRATEGIES.map((strategy) => [strategy, nothing()])) as Record<Strategy, Measured>;
for (let round = 1; round <= ROUNDS; round++) {
  for (const strategy of STRATEGIES) await rollOut(strategy, measured[strategy]);
  console.log(`round ${round}: ${STRATEGIES.map((strategy) => inWords(strategy, measured[strategy])).join('; ')}`);
}
await stop(server, live);

report('roll-outs', STRATEGIES.flatMap(rowsOf), { measured });
const beside = [measured.ROLLING, measured.BLUE_GREEN];
const requests = beside.reduce((sum, one) => sum + one.requests, 0);
const failed = beside.reduce((sum, one) => sum + one.failed, 0);
console.log(`ROLLING and BLUE_GREEN: ${failed} of ${requests} requests failed, over ${2 * ROUNDS} roll-outs`);
if (failed > 0 || requests < MIN_REQUESTS) process.exitCode = 1;

/** One roll-out under requests, from before it was asked for until after it is live. Throws where it did not change what answers. */
async function rollOut(strategy: Strategy, into: Measured): Promise<void> {
  const former = `v${version}`;
  version += 1;
  const next = `v${version}`;
  const before = await instances();
  const client = startClient(engine, PORT);
  await client.whenAnsweredBy(former);
  await changeStack(server, stackId, versionedWeb(PORT, next));
  const { id, ms } = await deploy(server, stackId, environmentId, { strategy });
  live = id;
  await client.whenAnsweredBy(next);
  const seen = await client.end();
  const after = await instances();
  if (after.size !== REPLICAS || before.intersection(after).size > 0)
    throw new Error(`${strategy}: ${[...before]} became ${[...after]}`);
  if (Object.keys(seen.versions).length !== 2) throw new Error(`${strategy}: answers of ${Object.keys(seen.versions)}`);
  add(into, seen, ms / 1_000);
}

function nothing(): Measured {
  return { seconds: [], requests: 0, kept: 0, failures: {}, failed: 0 };
}

function add(into: Measured, { requests: asked, kept, failures }: Seen, seconds: number): void {
  into.seconds.push(seconds);
  into.requests += asked;
  into.kept += kept;
  into.failed += failures.length;
  for (const reason of failures) into.failures[reason] = (into.failures[reason] ?? 0) + 1;
}

/** Those that run. */
async function instances(): Promise<Set<string>> {
  const found = await containersOf(engine.docker, decodeGlobalId(environmentId)!.id);
  const running = found.filter(({ state }) => state === 'running');
  return new Set(running.flatMap(({ labels }) => labels['io.windflow.instance'] ?? []));
}

function inWords(strategy: Strategy, { failed: failures, requests: all }: Measured): string {
  return `${strategy} ${failures} of ${all} failed`;
}

function rowsOf(strategy: Strategy): Row[] {
  if (strategy === 'RECREATE') return [];
  const [own, recreate] = [measured[strategy], measured.RECREATE];
  const perRollOut = (one: Measured) => one.failed / ROUNDS;
  return [
    {
      figure: `failed requests, ${strategy}`,
      unit: `a roll-out, of ${Math.round(own.requests / ROUNDS)}`,
      ours: rounded(perRollOut(own)),
      peer: `RECREATE, of ${Math.round(recreate.requests / ROUNDS)}`,
      theirs: rounded(perRollOut(recreate)),
      ratio: rounded(own.failed / Math.max(1, recreate.failed)),
      asked: '0',
    },
    {
      figure: `deploymentCreate to RUNNING, ${strategy}`,
      unit: 's, median',
      ours: rounded(median(own.seconds)),
      peer: 'RECREATE',
      theirs: rounded(median(recreate.seconds)),
      ratio: rounded(median(own.seconds) / median(recreate.seconds)),
      asked: 'nothing',
    },
  ];
}
