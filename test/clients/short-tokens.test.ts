import { randomBytes } from 'node:crypto';
import { type Client, createClient } from 'graphql-ws';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { service, stack } from '../support/compose-stacks.ts';
import { eventually } from '../support/eventually.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type Console, openConsole } from './console.ts';
import { startPast } from './past.ts';

const SEED = Number(process.env.WINDFLOW_TOKEN_SEED ?? 1);
const TOKEN_SECONDS = 5;
const TOKEN_LIFE_SECONDS = 15 * 60;
/** Ten a second: at least a minute. */
const LINES = 600;
const CUTS = 9;
const DEADLINE_MS = 150_000;
const LOGIN = `mutation ($input: AuthLoginInput!) {
  authLogin(input: $input) { ... on AuthSession { accessToken refreshToken expiresInSeconds } } }`;
const LOG = `subscription ($id: ID!, $after: String) {
  deploymentLogs(deploymentId: $id, after: $after) { lines { sequence stream message } endCursor missedLines } }`;
const TICKING = `i=0; while [ $$i -lt ${LINES} ]; do i=$$((i + 1)); echo line $$i; sleep 0.1; done; exec sleep 1000`;

type Line = { sequence: number; stream: string; message: string };
type Session = { token(): Promise<string>; refused(token: string): void };

const secretKey = randomBytes(32);
let console: Console;
beforeAll(async () => {
  console = await openConsole({ secretKey });
});
afterAll(() => console[Symbol.asyncDispose]());

it(`should follow a log for a minute with tokens that live ${TOKEN_SECONDS} s, without a gap (seed ${SEED})`, {
  timeout: DEADLINE_MS + 30_000,
}, async () => {
  const { acme, connection, url, guide, user } = console;
  const { createSession } = await guide.load('session.js');
  const { resuming } = await guide.load('resuming.js');
  await using issuer = await startPast({ app: console.app, secretKey, seconds: TOKEN_LIFE_SECONDS - TOKEN_SECONDS });
  const { data } = await issuer.execute(LOGIN, { input: { username: user.username, password: user.password } });
  let refreshed = 0;
  // It takes the issuer's word for how long tokens live: each but the first is asked for once the server refused one.
  const session = createSession(issuer.url, data.authLogin, async () => refreshed++);
  const watcher = createWatcher(url, session);
  const { id } = await acme.begin(await acme.newStack(stack(service('web', TICKING)), 'ticking'));
  const log = follow(resuming(watcher.client), id);

  const random = seededRandom(SEED);
  const cuts = Array.from({ length: CUTS }, () => random.below(0.9 * LINES)).toSorted((a, b) => a - b);
  const until = (what: string, has: () => boolean) =>
    Promise.race([log.ended, eventually(what, has, { deadlineMs: DEADLINE_MS })]);
  for (const length of cuts) {
    await until(`${length} lines`, () => log.lines.length > length);
    connection.cut();
  }
  await until('the last line', () => log.lines.some(({ message }) => message === `line ${LINES}`));
  await acme.stop(id);
  await log.ended;
  // A client without subscriptions closes its socket, a moment later.
  await eventually('its own close', () => watcher.closes.at(-1) === '1000 Normal Closure');

  const written = log.lines.filter(({ stream }) => stream === 'STDOUT').map(({ message }) => message);
  expect(written).toEqual(Array.from({ length: LINES }, (_, index) => `line ${index + 1}`));
  expect(log.lines.map(({ sequence }) => sequence)).toEqual(log.lines.map((_, index) => index + 1));
  expect(log.missed).toBe(0);
  expect(watcher.connected).toBeGreaterThan(CUTS / 2);
  expect(refreshed).toBeGreaterThan(0);
  expect(new Set(watcher.closes)).toEqual(new Set(['1006', '4403 TOKEN_EXPIRED', '1000 Normal Closure']));
});

type Watcher = { client: Client; closes: string[]; connected: number };

/** graphql-ws' own client, which asks for a token whenever it connects. */
function createWatcher(url: string, session: Session): Watcher {
  let token: string;
  const client = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: async () => {
      token = await session.token();
      return { authorization: `Bearer ${token}` };
    },
    retryAttempts: Number.POSITIVE_INFINITY,
    retryWait: async () => {},
    shouldRetry: () => true,
    on: {
      connected: () => watcher.connected++,
      closed: (event) => {
        const { code, reason } = event as { code: number; reason: string };
        watcher.closes.push(`${code} ${reason}`.trim());
        if (code === 4403) session.refused(token);
      },
    },
  });
  const watcher: Watcher = { client, closes: [], connected: 0 };
  return watcher;
}

type Batch = { deploymentLogs: { lines: Line[]; missedLines: number } };
type Followed = { lines: Line[]; missed: number; ended: Promise<void> };

function follow(client: Client, id: string): Followed {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  const followed: Followed = { lines: [], missed: 0, ended };
  client.subscribe<Batch>(
    { query: LOG, variables: { id } },
    {
      next({ data, errors }) {
        if (!data || errors) return reject(errors);
        followed.lines.push(...data.deploymentLogs.lines);
        followed.missed += data.deploymentLogs.missedLines;
      },
      error: reject,
      complete: resolve,
    },
  );
  return followed;
}
