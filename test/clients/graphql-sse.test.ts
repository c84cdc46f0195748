import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { COUNTING, type Console, LAST_LINE, openConsole } from './console.ts';
import { startPast } from './past.ts';

type Line = { sequence: number; message: string };
// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;

const secretKey = randomBytes(32);
let console: Console;
let createEventStreams: (url: string, session: unknown) => import('graphql-sse').Client;
beforeAll(async () => {
  console = await openConsole({ secretKey });
  ({ createEventStreams } = (await console.guide.load('graphql-sse-client.js')) as never);
});
afterAll(() => console[Symbol.asyncDispose]());

it('should subscribe, and go on where it stopped when the connection is cut', async () => {
  const { acme, connection, url, session } = console;
  const client = createEventStreams(url, session);
  const { id } = await acme.begin(await acme.newStack(COUNTING, 'counting'));
  const lines: Line[] = [];
  const states: { status: string; revision: number }[] = [];
  const LOG = `subscription Log($id: ID!, $after: String) {
    deploymentLogs(deploymentId: $id, after: $after) { lines { sequence message } endCursor } }`;
  const STATUS = 'subscription Status($id: ID!) { deploymentStatus(deploymentId: $id) { id status revision } }';
  const ended = Promise.all([
    follow(client, LOG, { id }, ({ deploymentLogs }) => lines.push(...deploymentLogs.lines)),
    follow(client, STATUS, { id }, ({ deploymentStatus }) => states.push(deploymentStatus)),
  ]);
  const before = connection.cuts;
  for (const length of [20, 200]) {
    await eventually(`${length} lines`, () => lines.length >= length);
    connection.cut();
  }
  expect(connection.cuts - before).toBeGreaterThanOrEqual(4);
  await eventually('the last line', () => lines.some(({ message }) => message === LAST_LINE));
  await acme.stop(id);
  await ended;
  expect(lines).toEqual((await acme.log(id)).map(({ sequence, message }) => ({ sequence, message })));
  const revisions = states.map(({ revision }) => revision);
  expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
  expect(states.at(-1)?.status).toBe('STOPPED');
});

it('should go on with a fresh token when the server refuses the one it had', async () => {
  const { createSession } = await console.guide.load('session.js');
  await using past = await startPast({ app: console.app, secretKey, seconds: 16 * 60 });
  const user = await past.register();
  const client = createEventStreams(console.url, createSession(console.url, { ...user, expiresInSeconds: 900 }));
  const results: Data[] = [];
  await follow(client, '{ viewer { user { id } } }', {}, (data) => results.push(data));
  expect(results).toEqual([{ viewer: { user: { id: user.userId } } }]);
});

it('should end when the session is over', async () => {
  const { logIn, LoginError } = await console.guide.load('session.js');
  const session = await logIn(console.url, console.user.username, console.user.password);
  const client = createEventStreams(console.url, session);
  const CHANGES = 'subscription Changes($id: ID!) { deploymentsChanged(organizationId: $id) { endCursor } }';
  const outcome = follow(client, CHANGES, { id: console.acme.organizationId }, () => {}).catch((error) => error);
  await session.execute('mutation { authLogout(input: {}) { ... on LoggedOut { sessions } } }');
  expect(await outcome).toBeInstanceOf(LoginError);
});

it('should end where it may not go on', async () => {
  const client = createEventStreams(console.url, console.session);
  const LOG = 'subscription Log($id: ID!) { deploymentLogs(deploymentId: $id) { endCursor } }';
  await expect(follow(client, LOG, { id: 'nothing' }, () => {})).rejects.toMatchObject([
    { extensions: { code: 'NOT_FOUND' } },
  ]);
});

/** Each result of an operation; resolves when it is complete, rejects with the errors that ended it. */
function follow(
  client: import('graphql-sse').Client,
  query: string,
  variables: Record<string, unknown>,
  onData: (data: Data) => void,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.subscribe<Data>(
    { query, variables },
    { next: ({ data, errors }) => (errors ? reject(errors) : onData(data)), error: reject, complete: resolve },
  );
  return promise;
}
