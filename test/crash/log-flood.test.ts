import { expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { LOG_STREAMS } from '../../src/realtime/log-line.ts';
import { createTestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { startServer } from '../support/server.ts';
import { type Line, registerAt } from '../support/server-client.ts';
import { lineWriter } from './line-writer.ts';

const SECONDS = Number(process.env.WINDFLOW_FLOOD_SECONDS ?? 20);
/** Of both streams together. */
const LINES_PER_SECOND = 5_000;
const EXIT_CODE = 7;
const LINES_PER_STREAM = (SECONDS * LINES_PER_SECOND) / 2;
/** At which shares of the lines the server is killed. */
const KILL_AT = [0.2, 0.6];

it(`should store and deliver each of ${2 * LINES_PER_STREAM} lines once and in order, with the server killed meanwhile`, async () => {
  await using database = await createTestDatabase();
  await using server = await startServer({ databaseUrl: connectionUrl(database.connection) });
  const client = await registerAt(server);
  const { organizationId, environmentId } = await client.createEnvironment();
  const compose = lineWriter({
    linesPerSecond: LINES_PER_SECOND,
    lines: 2 * LINES_PER_STREAM,
    streams: [1, 2],
    exitCode: EXIT_CODE,
  });
  const stackId = await client.createStack(organizationId, 'flood', compose);
  const deploymentId = await client.deploy(stackId, environmentId);
  using subscriber = client.followLog(deploymentId);

  for (const share of KILL_AT) {
    const enough = share * 2 * LINES_PER_STREAM;
    await eventually(`${enough} lines delivered`, () => subscriber.lines.length >= enough, { deadlineMs: 300_000 });
    await server.restart();
  }
  const ended = await client.until(deploymentId, ['DEGRADED'], 300_000);
  expect(ended.services[0]?.replicas).toMatchObject([{ state: 'EXITED', exitCode: EXIT_CODE, restarts: 0 }]);
  await client.stop(deploymentId);
  await client.until(deploymentId, ['STOPPED'], 300_000);
  await eventually('the end of the subscription', () => subscriber.isComplete, { deadlineMs: 300_000 });

  const { rows } = await database.pool.query<Omit<Line, 'stream'> & { stream: number }>(
    'select sequence::int, service, stream, message from log_lines order by sequence',
  );
  expectEachOnce(rows.map((row) => ({ ...row, stream: LOG_STREAMS[row.stream]! })));
  expectEachOnce(subscriber.lines);
  expect(subscriber.lines.length).toBe(rows.length);
  expect(subscriber.missed).toBe(0);
  expect(subscriber.resumed).toBeGreaterThanOrEqual(KILL_AT.length);
});

function expectEachOnce(lines: readonly Line[]): void {
  expect(lines.findIndex(({ sequence }, index) => sequence !== index + 1)).toBe(-1);
  for (const stream of ['STDOUT', 'STDERR']) {
    const own = lines.filter((line) => line.stream === stream);
    expect(own.findIndex(({ message }, index) => message !== `line ${index + 1}`)).toBe(-1);
    expect(own.length).toBe(LINES_PER_STREAM);
  }
}
