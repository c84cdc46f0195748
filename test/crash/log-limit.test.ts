import { expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { startServer } from '../support/server.ts';
import { registerAt } from '../support/server-client.ts';

const LINES_PER_SECOND = 200;
const LINES = 60_000;
const MS = 6_000;
/** Of these lines, stored or dropped, the server is killed. */
const KILL_AT = [0.2, 0.6];
const DEADLINE_MS = 120_000;

/** Writes its lines evenly over a while, by the clock. */
const WRITER = `
const { writeSync } = require('node:fs');
const begun = Date.now();
let written = 0;
const timer = setInterval(() => {
  const due = Math.min(${LINES}, Math.floor((Date.now() - begun) / ${MS} * ${LINES}));
  let text = '';
  for (; written < due; written++) text += 'line ' + (written + 1) + '\\n';
  for (let at = 0; at < text.length; ) at += writeSync(1, text.slice(at));
  if (written === ${LINES}) { clearInterval(timer); process.exitCode = 7; }
}, 10);`;

it('should count every line of a noisy service, stored or dropped, with the server killed meanwhile', async () => {
  await using database = await createTestDatabase();
  const env = { WINDFLOW_LOG_LINES_PER_SECOND: String(LINES_PER_SECOND) };
  await using server = await startServer({ databaseUrl: connectionUrl(database.connection), env });
  const client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  const compose = JSON.stringify({ services: { writer: { command: ['node', '-e', WRITER.replaceAll('$', '$$$$')] } } });
  const stackId = await client.createStack(organizationId, 'noisy', compose);
  const deploymentId = await client.deploy(stackId, environmentId);
  using subscriber = client.followLog(deploymentId);
  const told = () => subscriber.missed + subscriber.lines.filter(({ stream }) => stream === 'STDOUT').length;

  for (const share of KILL_AT) {
    await eventually(`${share} of all lines told`, () => told() >= share * LINES, { deadlineMs: DEADLINE_MS });
    await server.restart();
  }
  await client.until(deploymentId, ['DEGRADED'], DEADLINE_MS);
  await client.stop(deploymentId);
  await client.until(deploymentId, ['STOPPED'], DEADLINE_MS);
  await eventually('the end of the subscription', () => subscriber.isComplete, { deadlineMs: DEADLINE_MS });

  expect(told()).toBe(LINES);
  const numbers = subscriber.lines.flatMap(({ stream, message }) =>
    stream === 'STDOUT' ? [Number(message.slice(5))] : [],
  );
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  const gaps = subscriber.lines.filter(({ message }) => /^[\d,]+ lines? dropped: rate limit$/.test(message));
  expect(gaps.length).toBeGreaterThan(3);
  expect(gaps.every(({ service, stream }) => service === 'writer' && stream === 'SYSTEM')).toBe(true);
});
