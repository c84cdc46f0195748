import { fork } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { quantile, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { createStack, deploy, prepareTenant, stop } from './stack.ts';

/** From the moment that a program writes a line to the moment that a subscriber has it, at 1,000 lines a second and with 100 subscribers. */
const SUBSCRIBERS = 100;
const LINES_PER_SECOND = 1_000;
const TICK_MS = 5;
const ROUNDS = 3;
const MEASURED_MS = 10_000;
const WARM_MS = 3_000;
const MARK = Buffer.from('at 1');
const TIME_DIGITS = 13;

const WRITER = `let due = Date.now(), left = 0;
setInterval(() => { const now = Date.now(); left += (now - due) * ${LINES_PER_SECOND / 1_000}; due = now;
  let text = ''; for (; left >= 1; left--) text += 'at ' + Date.now() + ' GET /items 200 in 12 ms, a line of ordinary length, as programs write them\\n';
  process.stdout.write(text); }, ${TICK_MS});`;
const DOCUMENT =
  'subscription ($id: ID!) { deploymentLogs(deploymentId: $id, last: 0) { lines { sequence message } endCursor } }';

const folder = dirname(fileURLToPath(import.meta.url));
await using server = await createBenchServer();
await server.start();
const { organizationId, environmentId } = await prepareTenant(server);
const compose = JSON.stringify({ services: { web: { command: ['node', '-e', WRITER.replaceAll('$', '$$')] } } });
const stackId = await createStack(server, organizationId, 'writer', compose);

let ours: number[] = [];
let peer: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  peer = peer.concat(await measurePeer());
  ours = ours.concat(await measureOurs());
}
const rows: Row[] = [
  [0.5, 'p50', 25],
  [0.99, 'p99', 100],
].map(([part, name, asked]) => {
  const [mine, theirs] = [ours, peer].map((all) => quantile(all, Number(part))) as [number, number];
  return {
    figure: `line written to line at the subscriber, ${name}`,
    unit: 'ms',
    ours: rounded(mine),
    peer: 'a pipe and a broadcast with ws, nothing stored',
    theirs: rounded(theirs),
    ratio: rounded(mine / Math.max(theirs, 0.5)),
    asked: `at most ${asked} ms`,
  };
});
report('latency', rows, { lines: ours.length });

async function measureOurs(): Promise<number[]> {
  const { id } = await deploy(server, stackId, environmentId);
  const payload = { query: DOCUMENT, variables: { id } };
  const sockets = Array.from({ length: SUBSCRIBERS }, () => {
    const socket = new WebSocket(server.url.replace('http', 'ws'), 'graphql-transport-ws', {
      perMessageDeflate: false,
    });
    const begin = { type: 'connection_init', payload: { authorization: `Bearer ${server.token}` } };
    socket.once('open', () => socket.send(JSON.stringify(begin)));
    socket.once('message', () => socket.send(JSON.stringify({ id: 'one', type: 'subscribe', payload })));
    return socket;
  });
  const found = await hear(sockets);
  await stop(server, id);
  return found;
}

async function measurePeer(): Promise<number[]> {
  const child = fork(join(folder, 'peers/latency-raw.mjs'), [WRITER], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const url = `ws://127.0.0.1:${port}`;
  const found = await hear(Array.from({ length: SUBSCRIBERS }, () => new WebSocket(url, { perMessageDeflate: false })));
  child.disconnect();
  await once(child, 'exit');
  return found;
}

/** How late the lines of a while are, at all subscribers. */
async function hear(sockets: WebSocket[]): Promise<number[]> {
  const found: number[] = [];
  await Promise.all(sockets.map((socket) => once(socket, 'open')));
  const begun = Date.now();
  for (const socket of sockets) {
    socket.on('message', (data: Buffer) => {
      const now = Date.now();
      if (now - begun < WARM_MS) return;
      for (let at = data.indexOf(MARK); at >= 0; at = data.indexOf(MARK, at + 1))
        found.push(now - Number(data.toString('latin1', at + 3, at + 3 + TIME_DIGITS)));
    });
  }
  await new Promise((resolve) => setTimeout(resolve, WARM_MS + MEASURED_MS));
  for (const socket of sockets) socket.terminate();
  return found;
}
