import { createLocalJWKSet, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../src/shared/crypto.ts';
import { encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { startTestApi, type TestApi } from '../support/api.ts';

const SESSION =
  '__typename ... on AuthSession { accessToken refreshToken refreshExpiresAt user { id } } ... on Error { code message }';
const LOGIN = `mutation ($input: AuthLoginInput!) { authLogin(input: $input) { ${SESSION} } }`;
const REFRESH = `mutation ($input: AuthRefreshInput!) { authRefresh(input: $input) { ${SESSION} } }`;
const LOGOUT = 'mutation ($input: AuthLogoutInput!) { authLogout(input: $input) { ... on LoggedOut { sessions } } }';
const REVOKE =
  'mutation ($input: SessionRevokeInput!) { sessionRevoke(input: $input) { __typename ... on Deleted { id } ... on Error { code } } }';
const SESSIONS =
  '{ viewer { sessions { totalCount nodes { id isCurrent userAgent ipAddress createdAt lastUsedAt expiresAt } } } }';
const VIEWER = '{ viewer { user { id } } }';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const login = async (
  user: { username: string; password: string },
  more: object = {},
  headers?: Record<string, string>,
) => {
  const { username, password } = user;
  const { data } = await api.execute(LOGIN, { input: { username, password, ...more } }, { headers });
  return data.authLogin as { accessToken: string; refreshToken: string; refreshExpiresAt: string };
};
const refresh = async (refreshToken: string) =>
  (await api.execute(REFRESH, { input: { refreshToken } })).data.authRefresh;
const refusal = async (token: string) => (await api.execute(VIEWER, {}, { token })).errors[0]?.extensions;
const sql = (text: string, values: unknown[] = []) => api.database.pool.query(text, values);

describe('login', () => {
  it.each([
    ['the user name', (name: string) => name],
    ['the user name in another case', (name: string) => name.toUpperCase()],
    ['the e-mail', (name: string) => `${name}@example.com`],
    ['the e-mail in another case', (name: string) => `${name}@EXAMPLE.com`],
  ])('should take %s', async (_what, of) => {
    const user = await api.register();
    const session = await login({ username: of(user.username), password: user.password });
    expect(await api.execute(VIEWER, {}, { token: session.accessToken })).toMatchObject({
      data: { viewer: { user: { id: user.userId } } },
    });
  });

  it('should live 24 hours, or 30 days when asked to remember', async () => {
    const user = await api.register();
    const hours = (session: { refreshExpiresAt: string }) =>
      Math.round((Date.parse(session.refreshExpiresAt) - Date.now()) / 3_600_000);
    expect(hours(await login(user))).toBe(24);
    const remembered = await login(user, { rememberMe: true });
    expect(hours(remembered)).toBe(720);
    expect(hours(await refresh(remembered.refreshToken))).toBe(720);
  });

  it('should end the session that was used longest ago beyond 100', async () => {
    const user = await api.register();
    const { id } = await api.database.prisma.user.findUniqueOrThrow({ where: { usernameKey: user.username } });
    await sql(
      `insert into sessions (id, user_id, expires_at, last_used_at)
       select gen_random_uuid(), $1, now() + interval '1 day', now() + interval '1 second' from generate_series(1, 99)`,
      [id],
    );
    await login(user);
    expect(await refusal(user.accessToken)).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'SESSION_REVOKED' });
    expect(await api.database.prisma.session.count({ where: { userId: id, revokedAt: null } })).toBe(100);
  });
});

describe('access tokens', () => {
  it('should verify with the published key set', async () => {
    const { accessToken } = await api.register();
    const response = await fetch(`${api.server.url}/.well-known/jwks.json`);
    const keys = await response.json();
    expect(keys.keys).toHaveLength(1);
    expect(keys.keys[0]).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' });
    expect(keys.keys[0]).not.toHaveProperty('d');
    const { payload, protectedHeader } = await jwtVerify(accessToken, createLocalJWKSet(keys), { issuer: 'windflow' });
    expect(protectedHeader).toMatchObject({ alg: 'EdDSA', kid: keys.keys[0].kid });
    expect(payload.exp! - payload.iat!).toBe(900);
  });

  it('should be good on every server of the installation', async () => {
    await using second = await startTestApi({ shares: api });
    const { accessToken, userId } = await api.register();
    const { data } = await second.execute(VIEWER, {}, { token: accessToken });
    expect(data.viewer.user.id).toBe(userId);
  });

  it('should expire after 15 minutes', async () => {
    const past = { now: () => new Date(Date.now() - 15 * 60_000 - 1_000) };
    await using earlier = await startTestApi({ shares: api, clock: past });
    const { accessToken } = await earlier.register();
    expect(await refusal(accessToken)).toMatchObject({ code: 'UNAUTHENTICATED', reason: 'TOKEN_EXPIRED' });
  });

  it('should be refused when anything about them is wrong', async () => {
    const { accessToken } = await api.register();
    const [header, payload, signature] = accessToken.split('.') as [string, string, string];
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const { kid } = decodeProtectedHeader(accessToken);
    const hmac = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid }).sign(Buffer.alloc(32));
    for (const token of [
      'rubbish',
      'a.b.c',
      `${header}.${encode({ ...claims, sub: newId() })}.${signature}`,
      `${encode({ alg: 'none', kid })}.${payload}.`,
      `${encode({ alg: 'EdDSA', kid: newId() })}.${payload}.${signature}`,
      hmac,
      'x'.repeat(5_000),
    ]) {
      expect(await refusal(token), token.slice(0, 20)).toMatchObject({
        code: 'UNAUTHENTICATED',
        reason: 'TOKEN_INVALID',
      });
    }
  });

  it('should be refused with a scheme other than Bearer, and taken with Bearer in any case', async () => {
    const { accessToken } = await api.register();
    const viewer = (authorization: string) => api.execute(VIEWER, {}, { headers: { authorization } });
    expect((await viewer(`Basic ${accessToken}`)).errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect((await viewer(`bearer ${accessToken}`)).data.viewer).not.toBeNull();
    expect((await viewer('')).data).toEqual({ viewer: null });
  });

  it('should keep the private key encrypted', async () => {
    const { rows } = await sql("select material from keys where kind = 'signing'");
    expect(rows[0].material).toMatch(/^v1\./);
    expect(rows[0].material).not.toContain('"d"');
  });
});

describe('refresh', () => {
  it('should rotate the token', async () => {
    const user = await api.register();
    const first = await refresh(user.refreshToken);
    const second = await refresh(first.refreshToken);
    expect(new Set([user.refreshToken, first.refreshToken, second.refreshToken]).size).toBe(3);
    expect(await refusal(second.accessToken)).toBeUndefined();
  });

  it('should give the same successor to a replay within 10 s, also to parallel ones', async () => {
    const user = await api.register();
    const answers = await Promise.all(Array.from({ length: 5 }, () => refresh(user.refreshToken)));
    expect(new Set(answers.map((answer) => answer.refreshToken)).size).toBe(1);
    const next = await refresh(answers[0].refreshToken);
    expect(next.__typename).toBe('AuthSession');
  });

  it('should end the session when a spent token comes later', async () => {
    const user = await api.register();
    const successor = await refresh(user.refreshToken);
    await sql("update refresh_tokens set used_at = now() - interval '11 seconds' where token_hash = $1", [
      sha256(user.refreshToken),
    ]);
    expect(await refresh(user.refreshToken)).toMatchObject({
      __typename: 'InvalidCredentialsError',
      code: 'INVALID_CREDENTIALS',
    });
    expect((await refresh(successor.refreshToken)).__typename).toBe('InvalidCredentialsError');
    expect(await refusal(successor.accessToken)).toMatchObject({ reason: 'SESSION_REVOKED' });
  });

  it('should refuse tokens that are unknown, expired or too long alike', async () => {
    const user = await api.register();
    await sql(
      "update sessions set expires_at = now() - interval '1 second' where id in (select session_id from refresh_tokens where token_hash = $1)",
      [sha256(user.refreshToken)],
    );
    const answers = await Promise.all(['', 'unknown', 'x'.repeat(10_000), user.refreshToken].map(refresh));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toMatchObject({ __typename: 'InvalidCredentialsError' });
  });

  it('should prolong the session with each use', async () => {
    const user = await api.register();
    const hash = sha256(user.refreshToken);
    await sql(
      "update sessions set expires_at = now() + interval '1 minute' where id = (select session_id from refresh_tokens where token_hash = $1)",
      [hash],
    );
    const { refreshExpiresAt } = await refresh(user.refreshToken);
    expect(Date.parse(refreshExpiresAt) - Date.now()).toBeGreaterThan(23 * 3_600_000);
  });
});

describe('sessions', () => {
  it("should list the viewer's own, the newest first, and say which is this one", async () => {
    const user = await api.register();
    await api.register();
    const session = await login(user, {}, { 'user-agent': 'a browser' });
    const { data } = await api.execute(SESSIONS, {}, { token: session.accessToken });
    const { totalCount, nodes } = data.viewer.sessions;
    expect(totalCount).toBe(2);
    expect(nodes.map((node: { isCurrent: boolean }) => node.isCurrent)).toEqual([true, false]);
    expect(nodes[0]).toMatchObject({ userAgent: 'a browser', ipAddress: '127.0.0.1' });
  });

  it('should be revoked one by one, at once', async () => {
    const user = await api.register();
    const other = await login(user);
    const { data } = await api.execute(SESSIONS, {}, { token: user.accessToken });
    const sessionId = data.viewer.sessions.nodes.find((node: { isCurrent: boolean }) => !node.isCurrent).id;
    expect(await refusal(other.accessToken)).toBeUndefined();
    const revoke = () => api.execute(REVOKE, { input: { sessionId } }, { token: user.accessToken });
    expect((await revoke()).data.sessionRevoke).toEqual({ __typename: 'Deleted', id: sessionId });
    await expect
      .poll(() => refusal(other.accessToken), { timeout: 5_000 })
      .toMatchObject({ reason: 'SESSION_REVOKED' });
    expect((await refresh(other.refreshToken)).__typename).toBe('InvalidCredentialsError');
    expect((await revoke()).data.sessionRevoke).toEqual({ __typename: 'NotFoundError', code: 'NOT_FOUND' });
    expect(await refusal(user.accessToken)).toBeUndefined();
  });

  it("should not be found when they are another's, malformed or absent", async () => {
    const [mine, other] = [await api.register(), await api.register()];
    const { data } = await api.execute(SESSIONS, {}, { token: other.accessToken });
    const foreign = data.viewer.sessions.nodes[0].id;
    for (const sessionId of [foreign, 'rubbish', encodeGlobalId('Session', newId()), mine.userId]) {
      const answer = await api.execute(REVOKE, { input: { sessionId } }, { token: mine.accessToken });
      expect(answer.data.sessionRevoke).toEqual({ __typename: 'NotFoundError', code: 'NOT_FOUND' });
      const node = await api.execute(
        'query ($id: ID!) { node(id: $id) { ... on Session { id } } }',
        { id: sessionId },
        { token: mine.accessToken },
      );
      expect(node.data.node?.id).toBeUndefined();
    }
    expect(await refusal(other.accessToken)).toBeUndefined();
  });

  it('should end within 5 s on another server too', async () => {
    await using second = await startTestApi({ shares: api });
    const user = await api.register();
    const there = async () =>
      (await second.execute(VIEWER, {}, { token: user.accessToken })).errors[0]?.extensions.reason;
    expect(await there()).toBeUndefined();
    await api.execute(LOGOUT, { input: {} }, { token: user.accessToken });
    await expect.poll(there, { timeout: 5_000, interval: 50 }).toBe('SESSION_REVOKED');
  });
});

describe('logout', () => {
  const logout = async (token: string | undefined, everywhere = false) =>
    (await api.execute(LOGOUT, { input: { everywhere } }, { token })).data.authLogout.sessions;

  it('should end the session of the token, or all of the user', async () => {
    const user = await api.register();
    const [second, third] = [await login(user), await login(user)];
    expect(await logout(second.accessToken)).toBe(1);
    expect(await refusal(third.accessToken)).toBeUndefined();
    expect(await logout(third.accessToken, true)).toBe(2);
    await expect.poll(() => refusal(user.accessToken), { timeout: 5_000 }).toMatchObject({ reason: 'SESSION_REVOKED' });
    expect((await refresh(third.refreshToken)).__typename).toBe('InvalidCredentialsError');
  });

  it('should end nothing, without an error, for no token, a bad one and one of an ended session', async () => {
    const user = await api.register();
    expect(await logout(undefined, true)).toBe(0);
    expect(await logout('rubbish', true)).toBe(0);
    expect(await logout(user.accessToken)).toBe(1);
    expect(await logout(user.accessToken, true)).toBe(0);
  });

  it('should do with a token that has merely expired', async () => {
    const past = { now: () => new Date(Date.now() - 16 * 60_000) };
    await using earlier = await startTestApi({ shares: api, clock: past });
    const { accessToken, refreshToken } = await earlier.register();
    expect(await refusal(accessToken)).toMatchObject({ reason: 'TOKEN_EXPIRED' });
    expect(await logout(accessToken)).toBe(1);
    expect((await refresh(refreshToken)).__typename).toBe('InvalidCredentialsError');
  });
});

it('should forget sessions and counters a week after their end', async () => {
  const user = await api.register();
  const hash = sha256(user.refreshToken);
  await sql(
    "update sessions set revoked_at = now() - interval '8 days' where id = (select session_id from refresh_tokens where token_hash = $1)",
    [hash],
  );
  expect(await api.services.identity.prune()).toBeGreaterThanOrEqual(1);
  expect((await sql('select 1 from refresh_tokens where token_hash = $1', [hash])).rowCount).toBe(0);
});
