import { once } from 'node:events';
import { glob, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { readMetric } from '../support/metrics.ts';

const READERS = 50;
/** Of them go on reading, once everything is written. */
const RESUMED = 3;
/** Together more than what the system keeps for a socket that is not read. */
const LINES = 30_000;
const LINE = 'x'.repeat(700);
/** What a reader may cost the server, buffers of the system aside. */
const MOST_BYTES = 256 * 1024;
const DEADLINE_MS = 100_000;
const LOG = `subscription ($id: ID!) { deploymentLogs(deploymentId: $id, filter: { streams: [STDOUT] }) {
  lines { message isPartial } missedLines } }`;

type Batch = { lines: { message: string; isPartial: boolean }[]; missedLines: number };

let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(() => app[Symbol.asyncDispose]());

/** A subscriber that reads until it is paused. */
async function read(deploymentId: string) {
  const socket = new WebSocket(app.url.replace('http', 'ws'), 'graphql-transport-ws', { perMessageDeflate: false });
  const numbers: number[] = [];
  let missed = 0;
  let continues = false;
  let closed: string | null = null;
  socket.on('message', (data) => {
    const { type, payload } = JSON.parse(String(data));
    if (type === 'connection_ack')
      socket.send(
        JSON.stringify({ id: '1', type: 'subscribe', payload: { query: LOG, variables: { id: deploymentId } } }),
      );
    if (type !== 'next') return;
    const batch: Batch = payload.data.deploymentLogs;
    missed += batch.missedLines;
    for (const { message, isPartial } of batch.lines) {
      // A line that came in pieces, the writer having been held up, is one.
      if (!continues) numbers.push(Number.parseInt(message, 10));
      continues = isPartial;
    }
  });
  socket.on('close', (code, reason) => {
    closed = `${code} ${reason}`;
  });
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${acme.token}` } }));
  return { socket, numbers, missed: () => missed, closed: () => closed };
}

const backlog = () => readMetric(app.url, 'windflow_socket_backlog_bytes');

it(`should keep at most so much for each of ${READERS} readers that stall, and tell those that go on everything, once and in order`, async () => {
  // Everybody follows by the time that it begins in earnest.
  const write = `echo 0; while [ ! -e data/go ]; do sleep 0.05; done; awk 'BEGIN { for (i = 1; i <= ${LINES}; i++) print i " ${LINE}" }'; exec sleep 1000`;
  const { id } = await acme.deployNew(
    JSON.stringify({
      services: { web: { command: ['sh', '-c', write], volumes: ['data:/data'] } },
      volumes: { data: {} },
    }),
  );
  const readers = await Promise.all(Array.from({ length: READERS }, () => read(id)));
  await eventually('all to have begun', () => readers.every(({ numbers }) => numbers.length > 0));
  for (const { socket } of readers) socket.pause();
  const [volume] = await Array.fromAsync(glob(`${app.runtimeDirectory}/e/*/*/volumes/data`));
  await writeFile(`${volume}/go`, '');
  let most = 0;
  await eventually(
    'all lines stored',
    async () => {
      most = Math.max(most, await backlog());
      const { rows } = await app.database.pool.query('select max(last_sequence)::int as last from log_heads');
      return rows[0].last > LINES;
    },
    { deadlineMs: DEADLINE_MS },
  );
  await eventually('readers to be behind', async () => (await backlog()) > 0, { deadlineMs: DEADLINE_MS });
  expect(Math.max(most, await backlog())).toBeLessThan(READERS * MOST_BYTES);
  const [gone, resumed] = [readers.slice(RESUMED), readers.slice(0, RESUMED)];
  for (const { socket } of gone) socket.terminate();
  for (const { socket } of resumed) socket.resume();
  const all = Array.from({ length: LINES + 1 }, (_, index) => index);
  for (const { numbers, missed, closed, socket } of resumed) {
    await eventually('every line, or the end', () => numbers.length > LINES || closed(), { deadlineMs: DEADLINE_MS });
    expect(closed()).toBeNull();
    expect(numbers).toEqual(all);
    expect(missed()).toBe(0);
    socket.close();
  }
  await eventually('nothing left behind', async () => (await backlog()) === 0);
}, 240_000);
