import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/app.ts';
import { connectionUrl } from '../../src/engine/durable.ts';
import { LOG_REMOVAL_TOPIC, removeDeletedLogs, removeExpiredLines } from '../../src/modules/log-removal.ts';
import { dropPartitionsBefore, ensurePartitions } from '../../src/realtime/log-partitions.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { DAY_MS } from '../../src/shared/clock.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { appendAged, storedSequences } from '../support/aged-log.ts';
import { type Registered, startTestApi, type TestApi } from '../support/api.ts';
import { connectSocket, listen, type SocketClient } from '../support/api-clients.ts';
import type { TestApp } from '../support/app.ts';
import { Deployer, type LogView } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { COMPOSE } from '../support/tenant-objects.ts';

const FOLLOW = `subscription ($id: ID!, $after: String) { deploymentLogs(deploymentId: $id, after: $after) {
  live endCursor missedLines lines { sequence cursor } } }`;
const FIRST_PAGE = 'query ($id: ID!) { deployment(id: $id) { logs(first: 2) { nodes { sequence } } } }';
const OLD_LINES = 600;
const YOUNG_LINES = 5;
const { signal } = new AbortController();
const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS);

type Batch = { live: boolean; endCursor: string; missedLines: number; lines: LogView[] };

// No server works for its host here: what is created stays QUEUED, and nobody keeps house but the tests.
let api: TestApi;
let root: Registered;
let acme: Deployer;
let rival: Deployer;
let client: SocketClient;
beforeAll(async () => {
  api = await startTestApi();
  const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'stage-1' };
  await api.database.prisma.host.create({ data: host });
  const connect = () => {
    throw new Error('not needed here');
  };
  const app: TestApp = { ...api, runtimeDirectory: host.runtimeDirectory, connect };
  root = await api.register();
  acme = await Deployer.create(app, root, 'Acme');
  rival = await acme.newTenant('Rival');
  client = connectSocket(api, { authorization: `Bearer ${acme.token}` });
});
afterAll(async () => {
  await client?.dispose();
  await api?.[Symbol.asyncDispose]();
});

/** A deployment as old as its lines, the first ones, and some of today. */
async function agedDeployment(by: Deployer, days: number) {
  const { pool } = api.database;
  const stackId = await by.newStack(COMPOSE, `aged-${newId().slice(-8)}`);
  const { id } = await by.begin(stackId);
  const uuid = decodeIdOf('Deployment', id)!;
  await pool.query('update deployments set created_at = $2 where id = $1', [uuid, daysAgo(days)]);
  await pool.query('update log_lines set received_at = $2 where deployment_id = $1', [uuid, daysAgo(days)]);
  const own = (await storedSequences(pool, uuid)).length;
  await appendAged(pool, uuid, OLD_LINES - own, daysAgo(days));
  await appendAged(pool, uuid, YOUNG_LINES);
  return { id, uuid, stackId };
}

const stored = async (uuid: string) => (await storedSequences(api.database.pool, uuid)).length;

/** What a new subscription tells until it is live. */
async function replay(id: string, after: string | null): Promise<Batch[]> {
  const { heard, stop } = listen(client, FOLLOW, { id, after });
  const batches = (): Batch[] => heard.results.map(({ data }) => data.deploymentLogs);
  await eventually('the turn to live', () => batches().at(-1)?.live);
  stop();
  return batches();
}

describe('lines that are older than the installation keeps them', () => {
  it('should be counted for whoever resumes before them, and pages begin after them', async () => {
    const { pool } = api.database;
    const connection = await pool.connect();
    await ensurePartitions(connection, daysAgo(40), 0);
    const { id, uuid } = await agedDeployment(acme, 40);
    const before = (await replay(id, null)).flatMap(({ lines }) => lines);
    expect(before).toHaveLength(OLD_LINES + YOUNG_LINES);
    const { cursor } = before.find(({ sequence }) => sequence === 10)!;

    await dropPartitionsBefore(connection, daysAgo(30));
    connection.release();
    expect(await stored(uuid)).toBe(YOUNG_LINES);
    const after = await replay(id, cursor);
    expect(after.flatMap(({ lines }) => lines.map(({ sequence }) => sequence))).toEqual(
      Array.from({ length: YOUNG_LINES }, (_, index) => OLD_LINES + 1 + index),
    );
    expect(after.map(({ missedLines }) => missedLines)).toEqual([OLD_LINES - 10, ...after.slice(1).map(() => 0)]);
    const { deployment } = await acme.ask(FIRST_PAGE, { id });
    expect(deployment.logs.nodes).toEqual([{ sequence: OLD_LINES + 1 }, { sequence: OLD_LINES + 2 }]);
  });
});

describe('an organization’s own logRetentionDays', () => {
  const setDays = (by: Deployer, settings: object) =>
    by.mutate('organizationUpdate', 'Organization { settings }', { organizationId: by.organizationId, settings });
  const remove = () => removeExpiredLines(api.database.pool, new Date(), { signal, batchLines: 250 });

  it('should take its older lines alone, and be counted by whoever resumes', async () => {
    const [ours, theirs] = [await agedDeployment(acme, 10), await agedDeployment(rival, 10)];
    await setDays(acme, { logRetentionDays: 11 });
    expect(await remove()).toBe(0);
    expect(await setDays(acme, { logRetentionDays: 7, theme: 'dark' })).toMatchObject({
      settings: { logRetentionDays: 7 },
    });
    expect(await remove()).toBe(OLD_LINES);
    expect(await remove()).toBe(0);
    expect([await stored(ours.uuid), await stored(theirs.uuid)]).toEqual([YOUNG_LINES, OLD_LINES + YOUNG_LINES]);
    const [batch] = await replay(ours.id, null);
    expect(batch).toMatchObject({ missedLines: OLD_LINES, lines: [{ sequence: OLD_LINES + 1 }, {}, {}, {}, {}] });
  });

  it('should be nothing where an earlier release stored something else under that name', async () => {
    const { uuid } = await agedDeployment(rival, 100);
    for (const value of ['7', 'soon', 0, -3, 1e300, null, { days: 1 }]) {
      await api.database.pool.query('update organizations set settings = $2 where id = $1', [
        decodeIdOf('Organization', rival.organizationId),
        { logRetentionDays: value },
      ]);
      expect(await remove(), JSON.stringify(value)).toBe(0);
    }
    expect(await stored(uuid)).toBe(OLD_LINES + YOUNG_LINES);
  });
});

describe('deleting a stack', () => {
  it('should not wait for the lines of its logs: they go afterwards, in batches', async () => {
    const { pool, connection } = api.database;
    await using bus = createPostgresBus(connection, createLogger('silent'));
    await bus.start();
    using watch = bus.watch([LOG_REMOVAL_TOPIC]);
    const { id, uuid, stackId } = await agedDeployment(acme, 1);
    await acme.tryCancel(id);
    const holder = await pool.connect();
    try {
      await holder.query('begin');
      await holder.query('select from log_lines where deployment_id = $1 for update', [uuid]);
      await acme.mutate('stackDelete', 'Deleted { id }', { stackId });
      expect(await stored(uuid)).toBeGreaterThan(OLD_LINES);
      expect(await acme.read(id)).toBeNull();
      await holder.query('commit');
    } finally {
      holder.release();
    }
    expect([...(await watch.wait(5_000))]).toEqual([LOG_REMOVAL_TOPIC]);
    expect(await removeDeletedLogs(pool, { signal, batchLines: 250 })).toBe(1);
    expect(await stored(uuid)).toBe(0);
    expect(await removeDeletedLogs(pool, { signal })).toBe(0);
  });
});

describe('a server', () => {
  it('should keep house by itself: days, organizations’ lines, and logs of what is deleted', async () => {
    const { pool, connection } = api.database;
    const [expired, ours, deleted] = [
      await agedDeployment(rival, 40),
      await agedDeployment(acme, 10),
      await agedDeployment(acme, 1),
    ];
    await acme.mutate('organizationUpdate', 'Organization { id }', {
      organizationId: acme.organizationId,
      settings: { logRetentionDays: 7 },
    });
    await using app = await createApp(
      {
        host: '127.0.0.1',
        port: 0,
        publicUrl: 'http://127.0.0.1:0',
        dataDirectory: tmpdir(),
        databaseUrl: connectionUrl(connection),
        redisUrl: null,
        secretKey: randomBytes(32),
        registration: 'open',
        processRuntime: false,
        runtimeDirectory: tmpdir(),
        allowedHosts: [],
        corsOrigins: [],
        allowedAddresses: [],
        logRetentionDays: 30,
        executionRetentionDays: 90,
        logLinesPerSecond: 0,
        ingressImage: 'haproxy:local',
        llm: { baseUrl: null, apiKey: null, model: null },
        logLevel: 'fatal',
      },
      createLogger('fatal'),
    );
    expect(app.url).toMatch(/^http/);
    await eventually('the lines of the installation and the organization go', async () => {
      return (await stored(expired.uuid)) === YOUNG_LINES && (await stored(ours.uuid)) === YOUNG_LINES;
    });
    await acme.tryCancel(deleted.id);
    await acme.mutate('stackDelete', 'Deleted { id }', { stackId: deleted.stackId });
    await eventually('the lines of the deleted stack go', async () => (await stored(deleted.uuid)) === 0);
    await eventually('its head goes', async () => {
      const { rows } = await pool.query('select from log_heads where deployment_id = $1', [deleted.uuid]);
      return rows.length === 0;
    });
  });
});
