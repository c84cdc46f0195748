import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buildSchema, parse, validate } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_OPERATIONS_PER_SOCKET } from '../../src/server/socket-operations.ts';
import { eventually } from '../support/eventually.ts';
import { guideOperations } from './api-guide.ts';
import { COUNTING, type Console, LAST_LINE, openConsole } from './console.ts';
import { startPast } from './past.ts';

type Line = { sequence: number; message: string };
type Change = { deployment: { id: string }; previousStatus: string | null; status: string };

const secretKey = randomBytes(32);
let console: Console;
beforeAll(async () => {
  console = await openConsole({ secretKey });
});
afterAll(() => console[Symbol.asyncDispose]());

const load = (name: string) => console.guide.load(name);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

it('should have operations that the schema knows', () => {
  const schema = buildSchema(readFileSync(new URL('../../schema/schema.graphql', import.meta.url), 'utf8'));
  expect(guideOperations().length).toBeGreaterThanOrEqual(3);
  for (const operation of guideOperations()) expect(validate(schema, parse(operation)), operation).toEqual([]);
});

it('should have modules with names that load as they stand there', async () => {
  expect(new Set(console.guide.names).size).toBe(console.guide.names.length);
  for (const name of console.guide.names) expect(Object.keys(await load(name))).not.toEqual([]);
});

describe('a request', () => {
  it('should be made again when its answer was lost, and create once', async () => {
    const { acme, session, connection } = console;
    const { deploy } = await load('deploy.js');
    const stackId = await acme.newStack('services: { web: { command: ["sleep", "1000"] } }', 'once');
    connection.loseNextAnswer();
    const { id, number } = await deploy(session, stackId, acme.environmentId);
    expect(connection.answersLost).toBe(1);
    expect(number).toBe(1);
    const count = 'query ($id: ID!) { stack(id: $id) { deployments { totalCount } } }';
    expect((await acme.ask(count, { id: stackId })).stack.deployments.totalCount).toBe(1);
    await acme.until(id, ['RUNNING']);
    await acme.stop(id);
  });

  it('should reject with what an error tells', async () => {
    const { acme, session } = console;
    const { deploy } = await load('deploy.js');
    await expect(deploy(session, 'nothing', acme.environmentId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(session.execute('{ nothing }')).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      requestId: expect.any(String),
    });
  });

  it('should read a list page by page', async () => {
    const { acme, session } = console;
    const { nodesOf } = await load('pages.js');
    for (const name of ['b', 'a', 'c']) await acme.newStack('services: { web: { command: ["true"] } }', `page ${name}`);
    const query = `query ($id: ID!, $after: String) { organization(id: $id) {
      stacks(first: 2, after: $after, filter: { search: "page" }) { nodes { name } pageInfo { hasNextPage endCursor } } } }`;
    const names = [];
    for await (const { name } of nodesOf(
      session,
      query,
      { id: acme.organizationId },
      (data: Console['session']) => data.organization.stacks,
    ))
      names.push(name);
    expect(names).toEqual(['page a', 'page b', 'page c']);
  });
});

describe('a session', () => {
  it('should be refused with a wrong password', async () => {
    const { logIn, LoginError } = await load('session.js');
    await expect(logIn(console.url, console.user.username, 'wrong password')).rejects.toBeInstanceOf(LoginError);
  });

  it('should refresh a token once that the server does not take any more, for all who ask', async () => {
    const { createSession } = await load('session.js');
    await using past = await startPast({ app: console.app, secretKey, seconds: 16 * 60 });
    const saved: string[] = [];
    const session = createSession(
      console.url,
      { ...(await past.register()), expiresInSeconds: 900 },
      async (token: string) => saved.push(token),
    );
    const viewers = await Promise.all(upTo(3).map(() => session.execute('{ organizations { totalCount } }')));
    expect(viewers).toEqual(upTo(3).map(() => ({ organizations: { totalCount: 0 } })));
    expect(saved).toHaveLength(1);
  });
});

describe('a subscription', () => {
  it('should bring each line once and in order, over sockets and streams that are cut, and each change of status', async () => {
    const { acme, session, connection, url } = console;
    const { createSocket } = await load('socket.js');
    const { resuming } = await load('resuming.js');
    const { followLog, followChanges, followEvents } = await load('follow.js');
    const { eventsOf } = await load('event-stream.js');
    const socket = createSocket(url, session);
    const client = resuming(socket);
    const changes: Change[] = [];
    const CURSOR = 'query ($id: ID!) { organization(id: $id) { eventCursor } }';
    const after = (await session.execute(CURSOR, { id: acme.organizationId })).organization.eventCursor;
    const following = followChanges(client, acme.organizationId, (change: Change) => changes.push(change), after);
    const told: string[] = [];
    const onBatch = ({ events }: { events: { type: string }[] }) => told.push(...events.map(({ type }) => type));
    const feed = followEvents(client, acme.organizationId, onBatch, { after, types: ['stack.*', 'deployment.*'] });
    const stackId = await acme.newStack(COUNTING, 'counting');
    const { id } = await acme.begin(stackId);

    const bySocket: Line[] = [];
    const byStream: Line[] = [];
    const socketEnded = followLog(client, id, ({ lines }: { lines: Line[] }) => bySocket.push(...lines));
    const LOG = `subscription ($id: ID!, $after: String) {
      deploymentLogs(deploymentId: $id, after: $after) { lines { sequence message } endCursor } }`;
    const streamEnded = (async () => {
      for await (const { deploymentLogs } of eventsOf(url, session, LOG, { id }))
        byStream.push(...deploymentLogs.lines);
    })();

    const before = connection.cuts;
    for (const length of [20, 200]) {
      await eventually(`${length} lines`, () => bySocket.length >= length && byStream.length >= length);
      connection.cut();
    }
    expect(connection.cuts - before).toBeGreaterThanOrEqual(4);
    await eventually('the last line', () =>
      [bySocket, byStream].every((lines) => lines.some(({ message }) => message === LAST_LINE)),
    );
    await acme.stop(id);
    await Promise.all([socketEnded, streamEnded]);
    const stored = (await acme.log(id)).map(({ sequence, message }) => ({ sequence, message }));
    expect(stored.length).toBeGreaterThan(400);
    expect(bySocket.map(({ sequence }) => sequence)).toEqual(upTo(stored.length));
    expect(bySocket).toMatchObject(stored);
    expect(byStream).toEqual(stored);

    const own = () => changes.filter(({ deployment }) => deployment.id === id);
    await eventually('the last change', () => own().some(({ status }) => status === 'STOPPED'));
    // Each begins where the one before ended: none is missing, none doubled.
    expect(own().map(({ previousStatus }) => previousStatus)).toEqual(
      [null, ...own().map(({ status }) => status)].slice(0, -1),
    );
    const moves = own()
      .slice(1)
      .map(({ status }) => `deployment.${status.toLowerCase()}`);
    await eventually('the last event', () => told.includes('deployment.stopped'));
    expect(told).toEqual(['stack.created', 'deployment.created', ...moves]);
    for (const { stop, ended } of [following, feed]) {
      stop();
      await ended;
    }
    await socket.dispose();
  });

  it('should go on with a fresh token when the server refuses the one it had', async () => {
    const { createSession } = await load('session.js');
    const { createSocket } = await load('socket.js');
    await using past = await startPast({ app: console.app, secretKey, seconds: 16 * 60 });
    const user = await past.register();
    const session = createSession(console.url, { ...user, expiresInSeconds: 900 });
    const socket = createSocket(console.url, session);
    const closes: unknown[] = [];
    socket.on('closed', ({ code, reason }: { code: number; reason: string }) => closes.push([code, reason]));
    const results = [];
    for await (const { data } of socket.iterate({ query: '{ viewer { user { id } } }' })) results.push(data);
    expect(results).toEqual([{ viewer: { user: { id: user.userId } } }]);
    expect(closes[0]).toEqual([4403, 'TOKEN_EXPIRED']);
  });

  it('should end when the session is over', async () => {
    const { acme, url } = console;
    const { logIn, LoginError } = await load('session.js');
    const { createSocket } = await load('socket.js');
    const { resuming } = await load('resuming.js');
    const { followChanges } = await load('follow.js');
    const session = await logIn(url, console.user.username, console.user.password);
    const socket = createSocket(url, session);
    let isConnected = false;
    socket.on('connected', () => {
      isConnected = true;
    });
    const { ended } = followChanges(resuming(socket), acme.organizationId, () => {});
    const outcome = ended.catch((error: unknown) => error);
    await eventually('a socket', () => isConnected);
    await session.execute('mutation { authLogout(input: {}) { ... on LoggedOut { sessions } } }');
    expect(await outcome).toBeInstanceOf(LoginError);
  });

  it('should start again after the time that the server asks for', async () => {
    const { acme, url, session } = console;
    const { createSocket } = await load('socket.js');
    const { resuming } = await load('resuming.js');
    const { followChanges } = await load('follow.js');
    const socket = createSocket(url, session);
    const refusals: string[] = [];
    socket.on('message', ({ type, payload }: { type: string; payload: { extensions: { code: string } }[] }) => {
      if (type === 'error') refusals.push(payload[0]!.extensions.code);
    });
    const all = upTo(MAX_OPERATIONS_PER_SOCKET).map(() => followChanges(socket, acme.organizationId, () => {}));
    const results: unknown[] = [];
    const sink = { next: (result: unknown) => results.push(result), error: () => {}, complete: () => {} };
    const stop = resuming(socket).subscribe({ query: '{ viewer { user { id } } }' }, sink);
    await eventually('a refusal', () => refusals.length > 0);
    expect(new Set(refusals)).toEqual(new Set(['RATE_LIMITED']));
    expect(results).toEqual([]);
    all[0]!.stop();
    await eventually('the answer', () => results.length > 0);
    expect(results).toEqual([{ data: { viewer: { user: { id: console.user.userId } } } }]);
    stop();
    for (const { stop: leave } of all) leave();
  });

  it('should end where it may not go on', async () => {
    const { url, session } = console;
    const { createSocket } = await load('socket.js');
    const { resuming } = await load('resuming.js');
    const { followLog } = await load('follow.js');
    const { eventsOf } = await load('event-stream.js');
    const client = resuming(createSocket(url, session));
    await expect(followLog(client, 'nothing', () => {})).rejects.toMatchObject([{ extensions: { code: 'NOT_FOUND' } }]);
    const query = 'subscription { deploymentLogs(deploymentId: "nothing") { endCursor } }';
    await expect(eventsOf(url, session, query, {}).next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
