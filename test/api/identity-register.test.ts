import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../src/shared/crypto.ts';
import { newId } from '../../src/shared/ids.ts';
import { startTestApi, type TestApi } from '../support/api.ts';

const REGISTER = `mutation ($input: AuthRegisterInput!) {
  authRegister(input: $input) {
    __typename
    ... on AuthSession { accessToken refreshToken tokenType expiresInSeconds refreshExpiresAt user { id username email createdAt } }
    ... on Error { code message }
    ... on ValidationError { fields { path message } findings { rule } }
  }
}`;
const VIEWER = '{ viewer { isSuperadmin lastLoginAt user { id username email } } }';

const person = (username: string, more: object = {}) => ({
  input: { username, email: `${username}@example.com`, password: 'a long password', ...more },
});

describe('an open installation', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ registration: 'open' });
  });
  afterAll(() => api[Symbol.asyncDispose]());

  it('should make exactly one superadmin of users who register at once', async () => {
    const answers = await Promise.all(['ada', 'bob', 'cyd', 'dan'].map((name) => api.execute(REGISTER, person(name))));
    const tokens = answers.map((answer) => answer.data.authRegister.accessToken as string);
    const viewers = await Promise.all(tokens.map((token) => api.execute(VIEWER, {}, { token })));
    expect(viewers.filter((answer) => answer.data.viewer.isSuperadmin)).toHaveLength(1);
  });

  it('should log the new user in', async () => {
    const { data } = await api.execute(REGISTER, person('Eve'));
    const session = data.authRegister;
    expect(session).toMatchObject({ __typename: 'AuthSession', tokenType: 'bearer', expiresInSeconds: 900 });
    expect(session.user).toMatchObject({ username: 'Eve', email: 'Eve@example.com' });
    const hours = (Date.parse(session.refreshExpiresAt) - Date.now()) / 3_600_000;
    expect(hours).toBeGreaterThan(23.9);
    expect(hours).toBeLessThan(24.1);
    const viewer = await api.execute(VIEWER, {}, { token: session.accessToken });
    expect(viewer.data.viewer).toMatchObject({ isSuperadmin: false, user: { username: 'Eve' } });
    expect(viewer.data.viewer.lastLoginAt).not.toBeNull();
  });

  it('should ignore an Authorization header, whatever it says', async () => {
    const { data, errors } = await api.execute(REGISTER, person('fay'), { token: 'rubbish' });
    expect(errors).toEqual([]);
    expect(data.authRegister.__typename).toBe('AuthSession');
  });

  it.each([
    ['the user name in another case', { username: 'GUS', email: 'gus2@example.com' }],
    ['the e-mail in another case', { username: 'gus2', email: 'GUS@Example.com' }],
  ])('should refuse %s', async (_what, taken) => {
    await api.execute(REGISTER, person('gus'));
    const { data } = await api.execute(REGISTER, person('x', taken));
    expect(data.authRegister).toMatchObject({ __typename: 'ConflictError', code: 'CONFLICT' });
  });

  it('should name every wrong field', async () => {
    const { data } = await api.execute(REGISTER, { input: { username: 'a', email: 'nobody', password: 'short' } });
    expect(data.authRegister).toMatchObject({ __typename: 'ValidationError', code: 'VALIDATION_ERROR', findings: [] });
    expect(data.authRegister.fields.map((field: { path: string[] }) => field.path)).toEqual([
      ['username'],
      ['email'],
      ['password'],
    ]);
  });

  it.each([
    ['an "@"', 'ada@example.com'],
    ['a space', 'ada lovelace'],
    ['a NUL', 'ada\0'],
    ['51 characters', 'a'.repeat(51)],
    ['a leading dash', '-ada'],
  ])('should refuse a user name with %s', async (_what, username) => {
    const { data } = await api.execute(REGISTER, person('x', { username, email: 'z@example.com' }));
    expect(data.authRegister).toMatchObject({ __typename: 'ValidationError', fields: [{ path: ['username'] }] });
  });

  it('should take user names of 3 to 50 characters', async () => {
    const register = async (username: string) =>
      (await api.execute(REGISTER, person('x', { username, email: `${username}@example.com` }))).data.authRegister;
    expect((await register('ab')).__typename).toBe('ValidationError');
    for (const length of [3, 50]) expect((await register('n'.repeat(length))).__typename).toBe('AuthSession');
    expect((await register('n'.repeat(51))).__typename).toBe('ValidationError');
  });

  it('should take passwords of 8 to 128 characters, counted as people count', async () => {
    const register = (name: string, password: string) => api.execute(REGISTER, person(name, { password }));
    expect((await register('pw7', '🙂'.repeat(7))).data.authRegister.__typename).toBe('ValidationError');
    expect((await register('pw8', '🙂'.repeat(8))).data.authRegister.__typename).toBe('AuthSession');
    expect((await register('pw128', '🙂'.repeat(128))).data.authRegister.__typename).toBe('AuthSession');
    expect((await register('pw129', 'x'.repeat(129))).data.authRegister.__typename).toBe('ValidationError');
  });

  it('should keep no password and no refresh token', async () => {
    const { data } = await api.execute(REGISTER, person('sam', { password: 'a very particular password' }));
    const rows = await api.database.pool.query('select u::text, t::text from users u, refresh_tokens t');
    const stored = JSON.stringify(rows.rows);
    expect(stored).not.toContain('a very particular password');
    expect(stored).not.toContain(data.authRegister.refreshToken);
    expect(stored).toContain(sha256(data.authRegister.refreshToken));
    expect(stored).toContain('$argon2id$v=19$m=19456,t=2,p=1$');
  });
});

describe('an installation by invitation', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi({ registration: 'first' });
  });
  afterAll(() => api[Symbol.asyncDispose]());

  it('should take the first user freely and later ones by invitation alone', async () => {
    const first = await api.execute(REGISTER, person('ada', { invitationToken: null }));
    expect(first.data.authRegister.__typename).toBe('AuthSession');
    const before = api.derivations;
    const second = await api.execute(REGISTER, person('bob'));
    expect(second.data.authRegister).toMatchObject({
      __typename: 'RegistrationClosedError',
      code: 'REGISTRATION_CLOSED',
    });
    expect(api.derivations).toBe(before);
  });

  it('should join the organization that invited this e-mail, once', async () => {
    const { prisma } = api.database;
    const organizationId = newId();
    await prisma.organization.create({ data: { id: organizationId, slug: 'acme', name: 'Acme' } });
    const invite = async (email: string, expiresInMs: number) => {
      const token = `token for ${email}`;
      const expiresAt = new Date(Date.now() + expiresInMs);
      await prisma.invitation.create({
        data: {
          id: newId(),
          organizationId,
          email,
          emailKey: email,
          role: 'DEVELOPER',
          tokenHash: sha256(token),
          expiresAt,
        },
      });
      return token;
    };
    const good = await invite('cyd@example.com', 60_000);
    const expired = await invite('dan@example.com', -1);

    for (const attempt of [
      person('dan', { invitationToken: expired }),
      person('dan', { invitationToken: 'unknown' }),
      person('dan', { invitationToken: good }),
    ]) {
      const { data } = await api.execute(REGISTER, attempt);
      expect(data.authRegister).toMatchObject({ __typename: 'NotFoundError', code: 'NOT_FOUND' });
    }
    expect(await prisma.user.count({ where: { usernameKey: 'dan' } })).toBe(0);

    const { data } = await api.execute(REGISTER, person('cyd', { invitationToken: good }));
    expect(data.authRegister.__typename).toBe('AuthSession');
    const [member] = await prisma.organizationMember.findMany({ where: { organizationId }, include: { user: true } });
    expect(member).toMatchObject({ role: 'DEVELOPER', user: { username: 'cyd' } });
    const again = await api.execute(REGISTER, person('cyd2', { email: 'cyd@example.com', invitationToken: good }));
    expect(again.data.authRegister.__typename).toBe('NotFoundError');
  });
});

it('should ask the first user for the setup token where the server listens beyond its machine', async () => {
  await using api = await startTestApi({ registration: 'first', requiresSetupToken: true });
  const token = await api.services.identity.ensureSetupToken();
  expect(await api.services.identity.ensureSetupToken()).toBe(token);
  for (const setupToken of [undefined, null, 'wrong']) {
    const { data } = await api.execute(REGISTER, person('ada', { setupToken }));
    expect(data.authRegister.__typename).toBe('RegistrationClosedError');
  }
  const stored = await api.database.pool.query('select k::text from keys k');
  expect(JSON.stringify(stored.rows)).not.toContain(token);
  const { data } = await api.execute(REGISTER, person('ada', { setupToken: token }));
  expect(data.authRegister.__typename).toBe('AuthSession');
  expect(await api.services.identity.ensureSetupToken()).toBeNull();
  expect(await api.database.prisma.key.count({ where: { kind: 'setup' } })).toBe(0);
});
