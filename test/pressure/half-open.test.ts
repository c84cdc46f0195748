import { once } from 'node:events';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { STALL_MS } from '../../src/server/stall-watch.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { FarHost } from '../support/far-host.ts';
import { readMetric } from '../support/metrics.ts';

/** Goes on, and more than what the system keeps for a connection. */
const FLOOD = `while :; do yes ${'x'.repeat(700)} | head -n 1000; sleep 0.1; done`;
const LOG = 'subscription ($id: ID!) { deploymentLogs(deploymentId: $id, last: 0) { lines { message } } }';
/** Sooner than a slow reader is given up. */
const DEADLINE_MS = STALL_MS - 2_000;
const CLIENT = `const { WebSocket } = require(process.argv[1]);
const [url, token, payload] = process.argv.slice(2);
const socket = new WebSocket(url, 'graphql-transport-ws', { perMessageDeflate: false });
socket.on('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: token } })));
let heard = 0;
socket.on('message', (data) => {
  if (data.includes('connection_ack')) socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: JSON.parse(payload) }));
  if (data.includes('xxx') && heard++ === 0) console.log('hears');
});`;

const host = FarHost.create();
if (!host) console.log('half-open sockets are not tested: this user may not make network namespaces');
let app: TestApp;
let acme: Deployer;
beforeAll(async () => {
  if (!host) return;
  app = await startApp({ host: host.here, allowedHosts: [host.here], publicUrl: `http://${host.here}:0` });
  acme = await Deployer.create(app, null, 'Acme');
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  host?.[Symbol.dispose]();
});

it.skipIf(!host)(
  'should find that nobody is there any more behind a socket that was being written to',
  { timeout: 120_000 },
  async () => {
    const url = `${host!.here}:${app.port}`;
    const sockets = () => readMetric(`http://${url}`, 'windflow_open_sockets');
    const { id } = await acme.deployNew(stack(service('web', FLOOD)));
    const payload = JSON.stringify({ query: LOG, variables: { id } });
    const client = host!.run(process.execPath, [
      '-e',
      CLIENT,
      createRequire(import.meta.url).resolve('ws'),
      `ws://${url}/graphql`,
      `Bearer ${acme.token}`,
      payload,
    ]);
    try {
      await once(client.stdout, 'data');
      expect(await sockets()).toBe(1);
      host!.pullCable();
      await eventually('the end of the socket', async () => (await sockets()) === 0, { deadlineMs: DEADLINE_MS });
    } finally {
      client.kill('SIGKILL');
    }
  },
);
