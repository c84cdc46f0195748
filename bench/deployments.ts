import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { median, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { createStack, deploy, prepareTenant, stop } from './stack.ts';

/** Each figure beside what the same takes without us, measured in turns: on a busy machine only the ratio means something. */
const DEPLOYMENTS = 7;
const LINES = 200;
const LINE_INTERVAL_MS = 40;
const STARTS = 5;

type Figure = { name: string; ours: number[]; peer: number[]; peerName: string; aimMs: number };

const CHAIN = `services:
  one: { command: [sleep, infinity], healthcheck: { test: [CMD, "true"], interval: 1s } }
  two: { command: [sleep, infinity], healthcheck: { test: [CMD, "true"], interval: 1s }, depends_on: { one: { condition: service_healthy } } }
  three: { command: [sleep, infinity], healthcheck: { test: [CMD, "true"], interval: 1s }, depends_on: { two: { condition: service_healthy } } }
`;
const TICKER = `setInterval(() => console.log('at ' + Date.now()), ${LINE_INTERVAL_MS})`;
const TICKER_STACK = `services:
  ticker: { command: [node, -e, "${TICKER}"] }
`;

await using server = await createBenchServer();
const firstStart = await server.start();
const { organizationId, environmentId } = await prepareTenant(server);

const figures = [await measureDeployments(), await measureLines()];
await server.stop();
figures.push(await measureStarts());
print(figures, firstStart);

async function measureDeployments(): Promise<Figure> {
  const ours: number[] = [];
  const peer: number[] = [];
  const stackId = await createStack(server, organizationId, 'chain', CHAIN);
  for (let run = 0; run < DEPLOYMENTS; run++) {
    peer.push(await startChainByHand());
    const { id, ms } = await deploy(server, stackId, environmentId);
    ours.push(ms);
    await stop(server, id);
  }
  return {
    name: 'deploymentCreate to RUNNING, chain of three',
    ours,
    peer,
    peerName: 'the same processes and checks by hand',
    aimMs: 1_500,
  };
}

/** Starts the chain's processes in order, each after the former one's check has passed. */
async function startChainByHand(): Promise<number> {
  const begun = performance.now();
  const children = [];
  for (let service = 0; service < 3; service++) {
    const child = spawn('sleep', ['infinity'], { stdio: 'ignore' });
    children.push(child);
    await once(child, 'spawn');
    await once(spawn('true', { stdio: 'ignore' }), 'exit');
  }
  const ms = performance.now() - begun;
  for (const child of children) child.kill('SIGKILL');
  return ms;
}

async function measureLines(): Promise<Figure> {
  const stackId = await createStack(server, organizationId, 'ticker', TICKER_STACK);
  const { id } = await deploy(server, stackId, environmentId);
  const ours: number[] = [];
  const batches = server.follow<{ deploymentLogs: { live: boolean; lines: Array<{ message: string }> } }>(
    'subscription ($id: ID!) { deploymentLogs(deploymentId: $id, last: 0) { live lines { message } } }',
    { id },
  );
  const peer = readPipe();
  for await (const { deploymentLogs } of batches) {
    const now = Date.now();
    for (const { message } of deploymentLogs.lines)
      if (message.startsWith('at ')) ours.push(now - Number(message.slice(3)));
    if (ours.length >= LINES) break;
  }
  await stop(server, id);
  return {
    name: 'line written to line at the subscriber',
    ours,
    peer: await peer,
    peerName: 'the same line through a pipe',
    aimMs: 100,
  };
}

async function readPipe(): Promise<number[]> {
  const child = spawn(process.execPath, ['-e', TICKER], { stdio: ['ignore', 'pipe', 'ignore'] });
  const latencies: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    latencies.push(Date.now() - Number(line.slice(3)));
    if (latencies.length >= LINES) break;
  }
  child.kill('SIGKILL');
  return latencies;
}

async function measureStarts(): Promise<Figure> {
  const ours: number[] = [];
  const peer: number[] = [];
  for (let run = 0; run < STARTS; run++) {
    peer.push(await npmAlone());
    ours.push(await server.start());
    await server.stop();
  }
  return {
    name: 'second `npm start` to ready',
    ours,
    peer,
    peerName: 'npm running a script that does nothing',
    aimMs: 2_000,
  };
}

async function npmAlone(): Promise<number> {
  const begun = performance.now();
  await once(spawn('npm', ['exec', '--silent', '--', 'node', '-e', '0'], { stdio: 'ignore' }), 'exit');
  return performance.now() - begun;
}

function print(all: Figure[], first: number): void {
  const rows = all.map(({ name, ours, peer, peerName, aimMs }) => ({
    figure: name,
    unit: 'ms, median',
    ours: rounded(median(ours)),
    peer: peerName,
    theirs: rounded(median(peer)),
    ratio: rounded(median(ours) / Math.max(median(peer), 0.5)),
    asked: `aim ${aimMs} ms`,
  }));
  report('deployments', rows, { firstStartMs: Math.round(first) });
}
