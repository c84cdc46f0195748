import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { DockerRuntime } from '../src/runtimes/docker/docker-runtime.ts';
import type { StackRef } from '../src/runtimes/runtime.ts';
import { DockerPlace, IMAGE } from '../test/runtimes/docker-place.ts';
import { onEngine, openBenchEngine } from './engine.ts';
import { LineCheck, writerScript } from './line-check.ts';
import { median, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { createStack, deploy, prepareTenant, stop } from './stack.ts';

/** The log of a container that writes as fast as it can: read through the runtime, beside `docker logs -f` of the like, in turns. */
const LINES = Number(process.env.BENCH_LINES ?? 400_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const FOLLOWERS = 20;
const EPOCH = 1;
const DOCUMENT =
  'subscription ($id: ID!) { deploymentLogs(deploymentId: $id, filter: { streams: [STDOUT] }) { lines { message } } }';

type Writer = { stack: StackRef; instanceId: string; containerId: string };
type Figure = { figure: string; asked: string; ours: number[]; theirs: number[] };

const engine = await openBenchEngine();
const place = new DockerPlace(engine.endpoint);
let wrong = 0;
/** The same of `docker logs`, whose readers may lose lines too. */
let wrongElsewhere = 0;

const live: Figure = { figure: 'one follower, while it is written', asked: 'at least 0.8', ours: [], theirs: [] };
const written: Figure = { figure: 'one follower, of what is written', asked: 'at least 0.8', ours: [], theirs: [] };
const many: Figure = { figure: `${FOLLOWERS} followers at once`, asked: 'nothing lost', ours: [], theirs: [] };
await using runtime: DockerRuntime = await place.open();
for (let round = 0; round <= ROUNDS; round++) {
  // The first only warms up: what is loaded and compiled once is so by then, on both sides.
  const isCounted = round > 0;
  for (const isOurs of round % 2 === 0 ? [true, false] : [false, true]) {
    const writer = await startWriter();
    await follow(live, writer, isOurs, isCounted);
    await follow(written, writer, isOurs, isCounted);
    await follow(written, writer, !isOurs, isCounted);
    await removeWriter(writer);
  }
  if (isCounted) console.log(`round ${round}: ${[live, written].map(lastOf).join('; ')}`);
}
for (const isOurs of [false, true]) {
  const writer = await startWriter();
  await follow(many, writer, isOurs, true, FOLLOWERS);
  await removeWriter(writer);
}
const subscribed: Figure = {
  figure: `${FOLLOWERS} subscribers of deploymentLogs, all lines stored`,
  asked: 'nothing lost',
  ours: [await measureSubscribers()],
  theirs: many.theirs,
};

const rows = [live, written, many, subscribed].map(rowOf);
report('container-logs', rows, { lines: LINES, wrong, wrongElsewhere, live, written, many, subscribed });
console.log(wrong === 0 ? 'every line came once, in order, to every reader' : `${wrong} lines are missing or wrong`);
console.log(`docker logs: ${wrongElsewhere} lines are missing or wrong`);
if (wrong > 0) process.exitCode = 1;

/** Adds the lines per second that each of so many readers gets, all of them at once. */
async function follow(figure: Figure, writer: Writer, isOurs: boolean, isCounted: boolean, readers = 1): Promise<void> {
  const read = isOurs ? throughRuntime : throughCli;
  const checks = await Promise.all(Array.from({ length: readers }, () => read(writer)));
  const faults = faultsOf(checks);
  if (isOurs) wrong += faults;
  else wrongElsewhere += faults;
  if (isCounted) (isOurs ? figure.ours : figure.theirs).push(rateOf(checks));
}

function faultsOf(checks: readonly LineCheck[]): number {
  return checks.reduce((sum, check) => sum + check.wrong + check.missing, 0);
}

/** Of the slowest. */
function rateOf(checks: readonly LineCheck[]): number {
  return Math.min(...checks.map((check) => check.linesPerSecond));
}

async function throughRuntime({ stack, instanceId }: Writer): Promise<LineCheck> {
  const check = new LineCheck(LINES);
  const end = new AbortController();
  void check.end.then(() => end.abort());
  for await (const chunk of runtime.logs({ stack, instanceId }, { position: 0, mark: null }, end.signal))
    if (chunk.kind === 'output') check.bytes(chunk.bytes);
  return check;
}

async function throughCli({ containerId }: Writer): Promise<LineCheck> {
  const check = new LineCheck(LINES);
  const child = spawn('docker', ['logs', '-f', containerId], {
    env: { ...process.env, DOCKER_HOST: engine.endpoint },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.on('data', (bytes: Buffer) => check.bytes(bytes));
  await check.end;
  child.kill();
  await once(child, 'exit');
  return check;
}

async function startWriter(): Promise<Writer> {
  const stack = place.newStack();
  const spec = place.spec(stack, 'writer', writerScript(LINES), { stopGracePeriodMs: 1_000 });
  const { instanceId, reason } = await runtime.start(stack, spec, EPOCH);
  const filters = { label: [`io.windflow.instance=${instanceId}`] };
  const [container] = await engine.docker.listContainers({ filters });
  if (!container) throw new Error(`the writer does not run: ${reason}`);
  return { stack, instanceId, containerId: container.Id };
}

async function removeWriter({ stack, containerId }: Writer): Promise<void> {
  await engine.docker.getContainer(containerId).remove({ force: true });
  await runtime.removeStack(stack, { volumes: true }, EPOCH);
}

/** Lines per second that the slowest of the subscribers gets, from a container through the store. */
async function measureSubscribers(): Promise<number> {
  await using server = await createBenchServer({ WINDFLOW_LOG_LINES_PER_SECOND: '0' });
  await server.start();
  const { organizationId, environmentId } = await prepareTenant(server, onEngine(engine));
  const command = ['sh', '-c', writerScript(LINES)];
  const compose = JSON.stringify({
    services: { writer: { image: IMAGE, init: true, command, stop_grace_period: '1s' } },
  });
  const { id } = await deploy(server, await createStack(server, organizationId, 'writer', compose), environmentId);
  const subscribers = Array.from({ length: FOLLOWERS }, () => subscribe(server.url, server.token, id));
  await Promise.all(subscribers.map(({ check }) => check.end));
  for (const { socket } of subscribers) socket.terminate();
  await stop(server, id);
  const checks = subscribers.map(({ check }) => check);
  wrong += faultsOf(checks);
  return rateOf(checks);
}

function subscribe(url: string, token: string, id: string): { socket: WebSocket; check: LineCheck } {
  const check = new LineCheck(LINES);
  const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', { perMessageDeflate: false });
  const send = (message: object) => socket.send(JSON.stringify(message));
  socket.on('open', () => send({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
  socket.on('message', (data: Buffer) => {
    const { type, payload } = JSON.parse(data.toString('utf8'));
    const query = { query: DOCUMENT, variables: { id } };
    if (type === 'connection_ack') send({ id: 'one', type: 'subscribe', payload: query });
    if (type !== 'next') return;
    for (const { message } of payload.data.deploymentLogs.lines) check.line(message);
  });
  return { socket, check };
}

function rowOf({ figure, asked, ours, theirs }: Figure): Row {
  const [mine, cli] = [median(ours), median(theirs)];
  return {
    figure,
    unit: 'lines/s each, median',
    ours: rounded(mine),
    peer: '`docker logs -f`, as many of them',
    theirs: rounded(cli),
    ratio: rounded(median(ours.map((rate, round) => rate / theirs[round]!))),
    asked,
  };
}

function lastOf({ figure, ours, theirs }: Figure): string {
  return `${figure} ${rounded(ours.at(-1)!)} lines/s, docker logs ${rounded(theirs.at(-1)!)}`;
}
