// Before the schema is built.
import '../support/probe-schema.ts';

import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAnswer, startTestApi, type TestApi } from '../support/api.ts';
import { openEventStream } from '../support/api-clients.ts';
import { INTERNAL_TEXT, probeEvents } from '../support/probe-schema.ts';

let api: TestApi;
let ready = true;
beforeAll(async () => {
  api = await startTestApi({
    publicUrl: 'https://deploy.example.com',
    allowedHosts: ['inner.example.com'],
    corsOrigins: ['https://console.example.com'],
    checks: async () => ({ database: { ok: ready }, runtime: { ok: true, detail: 'fine' } }),
  });
});
afterAll(() => api[Symbol.asyncDispose]());

/** A request with any headers, `Host` included: `fetch` does not let one set it. */
function raw(path: string, headers: Record<string, string>, options: { method?: string; body?: string } = {}) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const { method = 'GET', body } = options;
    const sent = request({ host: '127.0.0.1', port: api.port, path, method, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
const post = (headers: Record<string, string>, body: object = { query: '{ viewer { isSuperadmin } }' }) =>
  raw('/graphql', { 'content-type': 'application/json', ...headers }, { method: 'POST', body: JSON.stringify(body) });

describe('operations', () => {
  it('should come as POST and, where they only read, as GET', async () => {
    const { accessToken } = await api.register();
    const posted = await api.execute('{ viewer { user { username } } }', {}, { token: accessToken });
    expect(posted.status).toBe(200);
    const query = new URLSearchParams({
      query: 'query ($text: String!) { probeEcho(text: $text) }',
      variables: '{"text":"hi"}',
    });
    const got = await readAnswer(await fetch(`${api.url}?${query}`));
    expect(got).toMatchObject({ status: 200, data: { probeEcho: 'hi' } });
    const mutation = new URLSearchParams({
      query: 'mutation { authLogout(input: {}) { ... on LoggedOut { sessions } } }',
    });
    const refused = await readAnswer(await fetch(`${api.url}?${mutation}`));
    expect(refused).toMatchObject({ status: 405, errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
  });

  it('should not come in batches', async () => {
    const answer = await post({}, [{ query: '{ __typename }' }, { query: '{ __typename }' }]);
    expect(JSON.parse(answer.body).errors[0].extensions.code).toBe('BAD_REQUEST');
  });

  it.each([
    ['text/plain', '{"query":"{ __typename }"}'],
    ['application/x-www-form-urlencoded', 'query=%7B+__typename+%7D'],
    [
      'multipart/form-data; boundary=x',
      '--x\r\ncontent-disposition: form-data; name="query"\r\n\r\n{ __typename }\r\n--x--',
    ],
    ['', '{"query":"{ __typename }"}'],
  ])('should be refused as %s: a form of any page could send that', async (contentType, body) => {
    const headers: Record<string, string> = contentType ? { 'content-type': contentType } : {};
    const answer = await raw('/graphql', headers, { method: 'POST', body });
    expect(answer.status).toBe(415);
    expect(JSON.parse(answer.body).errors[0]).toMatchObject({
      extensions: { code: 'BAD_REQUEST', requestId: expect.any(String) },
    });
  });

  it('should be answered with an id that the headers name too', async () => {
    const { headers, errors } = await api.execute('{ probeFault }');
    expect(errors[0]?.extensions.requestId).toBe(headers.get('x-request-id'));
  });
});

describe('what is wrong', () => {
  it.each([
    ['syntax', '{', 'BAD_REQUEST'],
    ['an unknown field', '{ nothing }', 'BAD_REQUEST'],
    ['an empty document', '', 'BAD_REQUEST'],
    ['two anonymous operations', '{ __typename } { __typename }', 'BAD_REQUEST'],
    ['a fault of ours', '{ probeFault }', 'INTERNAL'],
    ['a result of the wrong type', '{ probeNumber }', 'INTERNAL'],
    ['an outage', '{ probeOutage }', 'UNAVAILABLE'],
    ['no token', '{ organizations { totalCount } }', 'UNAUTHENTICATED'],
    ['an expected failure at the top level', '{ probeConflict }', 'CONFLICT'],
  ])('should be told with its code: %s', async (_what, query, code) => {
    const { errors, text } = await api.execute(query);
    expect(errors[0]?.extensions).toMatchObject({ code, requestId: expect.any(String) });
    if (code === 'UNAVAILABLE') expect(errors[0]?.extensions.retryAfterMs).toBe(1_000);
    expect(text).not.toContain('hunter2');
    expect(text).not.toContain(INTERNAL_TEXT);
    expect(text).not.toMatch(/stack|\.ts:|originalError/);
  });

  it('should leave the other fields their answers', async () => {
    const { data, errors } = await api.execute('{ probeFault probeEcho(text: "hi") }');
    expect(data).toEqual({ probeFault: null, probeEcho: 'hi' });
    expect(errors).toHaveLength(1);
    expect(errors[0]?.path).toEqual(['probeFault']);
  });

  it.each([
    ['a variable of the wrong type', { text: 1 }],
    ['a missing variable', {}],
  ])('should be told with its code: %s', async (_what, variables) => {
    const { errors } = await api.execute('query ($text: String!) { probeEcho(text: $text) }', variables);
    expect(errors[0]?.extensions.code).toBe('BAD_REQUEST');
  });

  it('should be told with an HTTP status to clients that ask for it', async () => {
    const accept = { accept: 'application/graphql-response+json' };
    expect((await post(accept, { query: '{' })).status).toBe(400);
    expect((await post(accept, { query: '{ probeFault }' })).status).toBe(200);
    const broken = await raw(
      '/graphql',
      { 'content-type': 'application/json', ...accept },
      { method: 'POST', body: '{' },
    );
    expect(broken.status).toBe(400);
    expect(JSON.parse(broken.body).errors[0].extensions.code).toBe('BAD_REQUEST');
  });

  it('should be refused beyond 2 MiB, and a text of 1 MiB taken', async () => {
    const text = '\n'.repeat(1024 * 1023);
    expect(
      (await api.execute('query ($text: String!) { probeEcho(text: $text) }', { text })).data.probeEcho,
    ).toHaveLength(text.length);
    const tooLong = await api.execute('query ($text: String!) { probeEcho(text: $text) }', {
      text: 'x'.repeat(2 * 1024 * 1024),
    });
    expect(tooLong).toMatchObject({ status: 413, errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
  });

  it('should say so for a path that is not there', async () => {
    expect((await fetch(`${api.server.url}/nothing`)).status).toBe(404);
  });
});

describe('who may ask', () => {
  const own = () => `127.0.0.1:${api.port}`;

  it.each([
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1:80',
    '[::1]:4000',
    'deploy.example.com',
    'inner.example.com:8443',
  ])('should take Host %s', async (host) => {
    expect((await post({ host })).status).toBe(200);
  });

  it.each([
    'evil.example.com',
    'localhost.evil.example.com',
    '127.0.0.1.evil.example.com',
    '10.0.0.1',
  ])('should refuse Host %s', async (host) => {
    const answer = await post({ host });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.body).not.toContain('viewer');
  });

  it('should take the Origin of the server itself and configured ones', async () => {
    for (const origin of [`http://${own()}`, 'https://deploy.example.com', 'https://console.example.com']) {
      expect((await post({ host: own(), origin })).status, origin).toBe(200);
    }
  });

  it('should refuse the Origin of other sites, also of other ports and "null"', async () => {
    for (const origin of [
      'https://evil.example.com',
      'null',
      'http://127.0.0.1:1',
      'https://sub.console.example.com',
    ]) {
      const answer = await post({ host: own(), origin });
      expect(answer.status, origin).toBe(403);
      expect(JSON.parse(answer.body).errors[0].extensions.code).toBe('PERMISSION_DENIED');
    }
  });

  it('should refuse what pages of other sites load without an Origin, and let links be followed', async () => {
    const get = (mode: string) =>
      raw('/graphql?query=%7B__typename%7D', { host: own(), 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': mode });
    expect((await get('no-cors')).status).toBe(403);
    expect((await get('navigate')).status).toBe(200);
  });

  it('should answer CORS for configured origins alone', async () => {
    const ask = (origin: string) =>
      raw('/graphql', { host: own(), origin, 'access-control-request-method': 'POST' }, { method: 'OPTIONS' });
    const allowed = await ask('https://console.example.com');
    expect(allowed.status).toBe(204);
    expect(allowed.headers).toMatchObject({
      'access-control-allow-origin': 'https://console.example.com',
      'access-control-allow-headers': expect.stringContaining('Authorization'),
    });
    expect(allowed.headers).not.toHaveProperty('access-control-allow-credentials');
    const ours = await post({ host: own() });
    expect(ours.headers).not.toHaveProperty('access-control-allow-origin');
    expect((await ask('https://evil.example.com')).status).toBe(403);
  });

  it('should send security headers with every answer', async () => {
    for (const path of ['/graphql?query=%7B__typename%7D', '/health', '/metrics', '/nothing']) {
      const { headers } = await fetch(`${api.server.url}${path}`);
      expect(headers.get('x-content-type-options'), path).toBe('nosniff');
      expect(headers.get('content-security-policy'), path).toContain("frame-ancestors 'none'");
      expect(headers.get('referrer-policy'), path).toBe('no-referrer');
      expect(headers.get('x-powered-by')).toBeNull();
    }
  });
});

describe('GraphiQL', () => {
  const page = () => fetch(api.url, { headers: { accept: 'text/html,*/*' } });

  it('should be served to browsers, whole, with nothing from elsewhere', async () => {
    const response = await page();
    expect(response.headers.get('content-type')).toContain('text/html');
    const html = await response.text();
    expect(html).toContain('YogaGraphiQL.renderYogaGraphiQL');
    expect(html).toContain('"subscriptionsProtocol":"WS"');
    expect(html).toContain('authRegister');
    expect(html).not.toMatch(/<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?\/\//);
    expect(html).not.toMatch(/unpkg\.com|jsdelivr|cdnjs|@import\s+url/);
  });

  it('should allow its own scripts alone', async () => {
    const policy = (await page()).headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toMatch(/script-src 'sha256-[\w+/=]+' blob:;/);
    expect(policy).toContain("connect-src 'self' ws://127.0.0.1");
    expect(policy).not.toContain('unsafe-eval');
    expect(policy).not.toMatch(/script-src[^;]*unsafe-inline/);
  });

  it('should not be sent twice to a browser that has it', async () => {
    const etag = (await page()).headers.get('etag')!;
    const again = await raw('/graphql', { host: 'localhost', accept: 'text/html', 'if-none-match': etag });
    expect(again).toMatchObject({ status: 304, body: '' });
  });

  it('should find its way from the root', async () => {
    const response = await fetch(api.server.url, { headers: { accept: 'text/html' }, redirect: 'manual' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/graphql']);
  });
});

describe('beside it', () => {
  it('should say that it lives, whether it is ready, and what it is', async () => {
    const get = async (path: string) => {
      const response = await fetch(`${api.server.url}${path}`);
      return { status: response.status, body: await response.json() };
    };
    expect((await get('/health/live')).status).toBe(200);
    expect(await get('/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', uptime: expect.any(Number), version: '0.0.0-test' },
    });
    expect(await get('/health/ready')).toMatchObject({ status: 200, body: { parts: { database: { ok: true } } } });
    ready = false;
    expect(await get('/health/ready')).toMatchObject({
      status: 503,
      body: { parts: { database: { ok: false }, runtime: { ok: true } } },
    });
    ready = true;
    expect((await raw('/health/ready', { host: '10.1.2.3:4000' })).status).toBe(200);
  });

  it('should measure', async () => {
    await api.execute('{ probeFault }');
    const text = await (await fetch(`${api.server.url}/metrics`)).text();
    expect(text).toMatch(/windflow_graphql_operations_total\{type="query",transport="http",outcome="INTERNAL"\} \d+/);
    expect(text).toMatch(/windflow_graphql_operation_duration_seconds_bucket\{type="query",le="\+Inf"\} \d+/);
    expect(text).toMatch(/windflow_open_sockets \d+/);
    expect(text).toMatch(/process_resident_memory_bytes \d+/);
    for (const line of text.trim().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) .+|[a-z_0-9]+(\{.*\})? [-+.\de]+)$/);
  });
});

describe('server-sent events', () => {
  const subscribe = (query: string, token?: string) =>
    openEventStream(`${api.url}?${new URLSearchParams({ query })}`, {
      headers: { accept: 'text/event-stream', ...(token && { authorization: `Bearer ${token}` }) },
    });

  it('should carry a subscription, by GET and POST', async () => {
    const query = 'subscription { probeTicks(count: 3) }';
    const got = await subscribe(query);
    const posted = await openEventStream(api.url, {
      method: 'POST',
      headers: { accept: 'text/event-stream', 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    for (const stream of [got, posted]) {
      await stream.done;
      expect(stream.response.headers.get('content-type')).toContain('text/event-stream');
      expect(stream.events.map(({ event }) => event)).toEqual(['next', 'next', 'next', 'complete']);
      expect(stream.events.slice(0, 3).map(({ data }) => data.data.probeTicks)).toEqual([1, 2, 3]);
    }
  });

  it.each([
    ['probeLosesAccess', 'NOT_FOUND'],
    ['probeBreaks', 'INTERNAL'],
  ])('should end with an error that carries its code: %s', async (field, code) => {
    const { accessToken } = await api.register();
    const stream = await subscribe(`subscription { ${field} }`, accessToken);
    await stream.done;
    expect(stream.events[0]?.data).toEqual({ data: { [field]: 1 } });
    expect(stream.events[1]?.data.errors[0].extensions).toMatchObject({ code, requestId: expect.any(String) });
    expect(JSON.stringify(stream.events)).not.toContain('hunter2');
  });

  it('should refuse who may not subscribe', async () => {
    const stream = await subscribe('subscription { probeEndless }');
    await stream.done;
    expect(stream.events[0]?.data.errors[0].extensions.code).toBe('UNAUTHENTICATED');
  });

  it('should end the source at once when the client leaves', async () => {
    const { accessToken } = await api.register();
    probeEvents.length = 0;
    const stream = await subscribe('subscription { probeEndless }', accessToken);
    await expect.poll(() => stream.events.length, { timeout: 5_000 }).toBe(1);
    stream.abort();
    await expect.poll(() => probeEvents, { timeout: 5_000 }).toEqual(['started', 'ended']);
  });

  it('should end with the session', async () => {
    const { accessToken } = await api.register();
    const stream = await subscribe('subscription { probeEndless }', accessToken);
    await expect.poll(() => stream.events.length, { timeout: 5_000 }).toBe(1);
    await api.execute(
      'mutation { authLogout(input: {}) { ... on LoggedOut { sessions } } }',
      {},
      { token: accessToken },
    );
    await expect.poll(() => stream.isOver, { timeout: 5_000 }).toBe(true);
    expect(stream.events[1]?.data.errors[0].extensions).toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'SESSION_REVOKED',
    });
  });
});
