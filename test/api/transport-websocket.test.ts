// Before the schema is built.
import '../support/probe-schema.ts';

import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { MAX_OPERATIONS_PER_SOCKET } from '../../src/server/socket-operations.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { connectSocket, listen, type SocketClient } from '../support/api-clients.ts';
import { probeEvents } from '../support/probe-schema.ts';

const LOGOUT = 'mutation { authLogout(input: {}) { ... on LoggedOut { sessions } } }';
const VIEWER = '{ viewer { user { id } } }';

let api: TestApi;
const clients: SocketClient[] = [];
beforeAll(async () => {
  api = await startTestApi();
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.dispose()));
});
afterAll(() => api[Symbol.asyncDispose]());

const connect = (params?: object, options?: { retryAttempts?: number }) => {
  const client = connectSocket(api, params, options);
  clients.push(client);
  return client;
};
const within = { timeout: 5_000, interval: 20 };

describe('operations', () => {
  it('should run queries, mutations and subscriptions on one socket', async () => {
    const { accessToken, userId } = await api.register();
    const client = connect({ authorization: `Bearer ${accessToken}` });
    const viewer = listen(client, VIEWER);
    const ticks = listen(client, 'subscription ($count: Int!) { probeTicks(count: $count) }', { count: 3 });
    await expect.poll(() => ticks.heard.end, within).toBe('complete');
    await expect.poll(() => viewer.heard.end, within).toBe('complete');
    expect(viewer.heard.results).toEqual([{ data: { viewer: { user: { id: userId } } } }]);
    expect(ticks.heard.results.map(({ data }) => data.probeTicks)).toEqual([1, 2, 3]);
    const logout = listen(client, LOGOUT);
    await expect.poll(() => logout.heard.results, within).toEqual([{ data: { authLogout: { sessions: 1 } } }]);
  });

  it.each([
    ['syntax', 'subscription {', 'BAD_REQUEST'],
    ['an unknown field', 'subscription { nothing }', 'BAD_REQUEST'],
    ['a wrong variable', 'subscription ($count: Int!) { probeTicks(count: $count) }', 'BAD_REQUEST'],
    [
      'too many aliases',
      `{ ${Array.from({ length: 60 }, (_, n) => `a${n}: __typename`).join(' ')} }`,
      'QUERY_TOO_COMPLEX',
    ],
    ['no token', 'subscription { probeEndless }', 'UNAUTHENTICATED'],
  ])('should be refused with an error message, never complete: %s', async (_what, query, code) => {
    const { heard } = listen(connect(), query);
    await expect
      .poll(() => heard.end, within)
      .toMatchObject({ errors: [{ extensions: { code, requestId: expect.any(String) } }] });
    expect(heard.results).toEqual([]);
    expect(JSON.stringify(heard)).not.toContain('"http"');
  });

  it.each([
    ['probeRefused', 'NOT_FOUND', 0],
    ['probeLosesAccess', 'NOT_FOUND', 1],
    ['probeBreaks', 'INTERNAL', 1],
  ])('should end with an error message when they may not go on: %s', async (field, code, results) => {
    const { accessToken } = await api.register();
    const { heard } = listen(connect({ authorization: `Bearer ${accessToken}` }), `subscription { ${field} }`);
    await expect
      .poll(() => heard.end, within)
      .toMatchObject({ errors: [{ extensions: { code, requestId: expect.any(String) } }] });
    expect(heard.results).toHaveLength(results);
    expect(JSON.stringify(heard)).not.toContain('hunter2');
  });

  it('should tell a masked fault with its requestId', async () => {
    const { heard } = listen(connect(), '{ probeFault }');
    await expect.poll(() => heard.end, within).toBe('complete');
    expect(heard.results[0]).toMatchObject({
      data: { probeFault: null },
      errors: [{ extensions: { code: 'INTERNAL' } }],
    });
    expect(JSON.stringify(heard)).not.toContain('hunter2');
  });

  it('should end their source at once when the client completes or leaves', async () => {
    const { accessToken } = await api.register();
    for (const leave of [
      (_client: SocketClient, stop: () => void) => stop(),
      (client: SocketClient) => client.terminate(),
    ]) {
      probeEvents.length = 0;
      const client = connect({ authorization: `Bearer ${accessToken}` });
      const { heard, stop } = listen(client, 'subscription { probeEndless }');
      await expect.poll(() => heard.results.length, within).toBe(1);
      leave(client, stop);
      await expect.poll(() => probeEvents, within).toEqual(['started', 'ended']);
    }
  });

  it('should be bounded in number', async () => {
    const { accessToken } = await api.register();
    const client = connect({ authorization: `Bearer ${accessToken}` });
    const all = Array.from({ length: MAX_OPERATIONS_PER_SOCKET + 1 }, () =>
      listen(client, 'subscription { probeEndless }'),
    );
    await expect
      .poll(() => all.filter(({ heard }) => heard.results.length > 0 || heard.end).length, within)
      .toBe(all.length);
    expect(all.filter(({ heard }) => heard.end)).toHaveLength(1);
    expect(all.find(({ heard }) => heard.end)?.heard.end).toMatchObject({
      errors: [{ extensions: { code: 'RATE_LIMITED', retryAfterMs: expect.any(Number) } }],
    });
  });
});

describe('who opens a socket', () => {
  it.each(['authorization', 'Authorization', 'AUTHORIZATION'])('should be known by "%s"', async (name) => {
    const { accessToken, userId } = await api.register();
    const { heard } = listen(connect({ [name]: `Bearer ${accessToken}` }), VIEWER);
    await expect.poll(() => heard.results, within).toEqual([{ data: { viewer: { user: { id: userId } } } }]);
  });

  it('should be anonymous without one', async () => {
    const { heard } = listen(connect(), VIEWER);
    await expect.poll(() => heard.results, within).toEqual([{ data: { viewer: null } }]);
  });

  it('should be refused with 4403 and a reason, on which a client comes back with a fresh token', async () => {
    const past = { now: () => new Date(Date.now() - 16 * 60_000) };
    await using earlier = await startTestApi({ shares: api, clock: past });
    const { accessToken: expired } = await earlier.register();
    const { accessToken: good, userId } = await api.register();
    for (const [token, reason] of [
      ['rubbish', 'TOKEN_INVALID'],
      [expired, 'TOKEN_EXPIRED'],
    ] as const) {
      const params = { authorization: `Bearer ${token}` };
      const client = connect(params, { retryAttempts: 1 });
      const { heard } = listen(client, VIEWER);
      await expect.poll(() => client.closes[0], within).toEqual({ code: 4403, reason });
      params.authorization = `Bearer ${good}`;
      await expect
        .poll(() => heard.results, { timeout: 10_000 })
        .toEqual([{ data: { viewer: { user: { id: userId } } } }]);
    }
  });

  it('should be known by the headers that GraphiQL sends with an operation', async () => {
    const { accessToken, userId } = await api.register();
    const client = connect();
    const results: unknown[] = [];
    client.subscribe(
      { query: VIEWER, extensions: { headers: { Authorization: `Bearer ${accessToken}` } } },
      { next: (result) => results.push(result), error: () => {}, complete: () => {} },
    );
    await expect.poll(() => results, within).toEqual([{ data: { viewer: { user: { id: userId } } } }]);
  });

  it('should come from a page of this server, or from no page', async () => {
    const open = async (headers: Record<string, string>) => {
      const socket = new WebSocket(`ws://127.0.0.1:${api.port}/graphql`, 'graphql-transport-ws', { headers });
      const opened = await Promise.race([
        once(socket, 'open').then(() => true),
        once(socket, 'error').then(() => false),
      ]).catch(() => false);
      socket.terminate();
      return opened;
    };
    expect(await open({})).toBe(true);
    expect(await open({ origin: `http://127.0.0.1:${api.port}` })).toBe(true);
    expect(await open({ origin: 'https://evil.example.com' })).toBe(false);
    expect(await open({ host: 'evil.example.com' })).toBe(false);
  });
});

describe('the end of a session', () => {
  it('should close its sockets with 4403 SESSION_REVOKED within 5 s, and no others', async () => {
    const [user, other] = [await api.register(), await api.register()];
    await using second = await startTestApi({ shares: api });
    const here = connect({ authorization: `Bearer ${user.accessToken}` });
    const there = connectSocket(second, { authorization: `Bearer ${user.accessToken}` });
    const bystander = connect({ authorization: `Bearer ${other.accessToken}` });
    const [a, b, c] = [here, there, bystander].map((client) => listen(client, 'subscription { probeEndless }').heard);
    await expect.poll(() => [a, b, c].map((heard) => heard!.results.length), within).toEqual([1, 1, 1]);
    const started = performance.now();
    await api.execute(LOGOUT, {}, { token: user.accessToken });
    await expect.poll(() => here.closes[0], within).toEqual({ code: 4403, reason: 'SESSION_REVOKED' });
    await expect.poll(() => there.closes[0], within).toEqual({ code: 4403, reason: 'SESSION_REVOKED' });
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(a!.end).toEqual({ code: 4403, reason: 'SESSION_REVOKED' });
    expect(bystander.closes).toEqual([]);
    await there.dispose();
  });

  it('should be noticed when nobody announces it', async () => {
    const user = await api.register();
    const client = connect({ authorization: `Bearer ${user.accessToken}` });
    const { heard } = listen(client, 'subscription { probeEndless }');
    await expect.poll(() => heard.results.length, within).toBe(1);
    await api.database.prisma.session.updateMany({
      where: { user: { usernameKey: user.username } },
      data: { revokedAt: new Date() },
    });
    await expect.poll(() => client.closes[0], within).toEqual({ code: 4403, reason: 'SESSION_REVOKED' });
  });

  it('should close a socket that GraphiQL used with the session', async () => {
    const user = await api.register();
    const client = connect();
    const results: unknown[] = [];
    client.subscribe(
      {
        query: 'subscription { probeEndless }',
        extensions: { headers: { Authorization: `Bearer ${user.accessToken}` } },
      },
      { next: (result) => results.push(result), error: () => {}, complete: () => {} },
    );
    await expect.poll(() => results.length, within).toBe(1);
    await api.execute(LOGOUT, {}, { token: user.accessToken });
    await expect.poll(() => client.closes[0], within).toEqual({ code: 4403, reason: 'SESSION_REVOKED' });
  });
});

describe('the protocol', () => {
  const raw = async (protocol = 'graphql-transport-ws') => {
    const socket = new WebSocket(`ws://127.0.0.1:${api.port}/graphql`, protocol);
    const closed = once(socket, 'close').then(([code, reason]) => [code, String(reason)]);
    await once(socket, 'open').catch(() => {});
    return { socket, closed };
  };

  it('should close a socket that breaks it, and only that', async () => {
    const cases: [string | Buffer, number][] = [
      ['not json', 4400],
      ['{"type":"subscribe","id":"1","payload":{"query":"{ __typename }"}}', 4401],
      [Buffer.alloc(3 * 1024 * 1024), 1009],
    ];
    for (const [message, code] of cases) {
      const { socket, closed } = await raw();
      socket.send(message);
      expect((await closed)[0]).toBe(code);
    }
    expect((await (await raw('graphql-ws')).closed.catch(() => [4406]))[0]).not.toBe(1000);
    const { heard } = listen(connect(), '{ __typename }');
    await expect.poll(() => heard.end, within).toBe('complete');
  });
});

it('should close sockets with 1001 and end streams with an error when the server stops, within the grace', async () => {
  const stopping = await startTestApi({ shares: api });
  const { accessToken } = await api.register();
  const client = connectSocket(stopping, { authorization: `Bearer ${accessToken}` });
  const { heard } = listen(client, 'subscription { probeEndless }');
  await expect.poll(() => heard.results.length, within).toBe(1);
  const started = performance.now();
  await stopping[Symbol.asyncDispose]();
  expect(performance.now() - started).toBeLessThan(2_500);
  await expect.poll(() => client.closes[0]?.code, within).toBe(1001);
});
