import { afterAll, beforeAll, expect, it } from 'vitest';
import { MAX_FAILURES_PER_ADDRESS, MAX_FAILURES_PER_PAIR } from '../../src/modules/identity/throttle.ts';
import { startTestApi, type TestApi } from '../support/api.ts';

const LOGIN = `mutation ($input: AuthLoginInput!) {
  authLogin(input: $input) { __typename ... on AuthSession { accessToken } ... on Error { code message } }
}`;

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const login = (username: string, password: string) => api.execute(LOGIN, { input: { username, password } });
const reset = () => api.database.pool.query('truncate login_throttles');

it('should tell an unknown user from a wrong password neither by its answer nor by its work', async () => {
  await reset();
  const user = await api.register();
  const answers = [];
  for (const [username, password] of [
    [user.username, 'wrong password'],
    ['nobody', 'wrong password'],
    ['nobody@example.com', 'wrong password'],
  ] as const) {
    const before = api.derivations;
    let answer: Awaited<ReturnType<typeof login>> | undefined;
    const queries = await api.countQueries(async () => {
      answer = await login(username, password);
    });
    answers.push({ data: answer!.data, errors: answer!.errors, derivations: api.derivations - before, queries });
  }
  expect(answers[0]).toMatchObject({
    data: { authLogin: { __typename: 'InvalidCredentialsError', code: 'INVALID_CREDENTIALS' } },
    errors: [],
    derivations: 1,
  });
  expect(answers[1]).toEqual(answers[0]);
  expect(answers[2]).toEqual(answers[0]);
});

it.each(['known', 'unknown'])('should limit failed logins of an account from one address: %s', async (kind) => {
  await reset();
  const user = await api.register();
  const name = kind === 'known' ? user.username : 'nobody-at-all';
  for (let attempt = 0; attempt < MAX_FAILURES_PER_PAIR; attempt++) {
    expect((await login(name, 'wrong password')).data.authLogin.code).toBe('INVALID_CREDENTIALS');
  }
  const before = api.derivations;
  const { data, errors } = await login(name.toUpperCase(), user.password);
  expect(data.authLogin).toBeNull();
  expect(errors[0]?.extensions).toMatchObject({ code: 'RATE_LIMITED', requestId: expect.any(String) });
  expect(errors[0]?.extensions.retryAfterMs).toBeGreaterThan(14 * 60_000);
  expect(errors[0]?.extensions.retryAfterMs).toBeLessThanOrEqual(15 * 60_000);
  expect(api.derivations).toBe(before);
});

it('should count parallel guesses too', async () => {
  await reset();
  const user = await api.register();
  const answers = await Promise.all(Array.from({ length: 15 }, () => login(user.username, 'wrong password')));
  const refused = answers.filter(({ errors }) => errors[0]?.extensions.code === 'RATE_LIMITED');
  expect(refused).toHaveLength(15 - MAX_FAILURES_PER_PAIR);
});

it('should begin anew after a success and after the window', async () => {
  await reset();
  const user = await api.register();
  const fail = async (times: number) => {
    for (let attempt = 0; attempt < times; attempt++) await login(user.username, 'wrong password');
  };
  await fail(MAX_FAILURES_PER_PAIR - 1);
  expect((await login(user.username, user.password)).data.authLogin.__typename).toBe('AuthSession');
  await fail(MAX_FAILURES_PER_PAIR);
  expect((await login(user.username, user.password)).errors[0]?.extensions.code).toBe('RATE_LIMITED');
  await api.database.pool.query("update login_throttles set window_ends_at = now() - interval '1 second'");
  expect((await login(user.username, user.password)).data.authLogin.__typename).toBe('AuthSession');
});

it('should limit failed logins of one address at many accounts', async () => {
  await reset();
  await api.database.pool.query('truncate login_throttles');
  const user = await api.register();
  await login('somebody', 'wrong password');
  await api.database.pool.query('update login_throttles set failures = $1', [MAX_FAILURES_PER_ADDRESS]);
  const { errors } = await login(user.username, user.password);
  expect(errors[0]?.extensions.code).toBe('RATE_LIMITED');
});

it('should keep no names and no addresses', async () => {
  await reset();
  await login('a-very-special-name', 'wrong password');
  const { rows } = await api.database.pool.query('select key from login_throttles');
  expect(rows).toHaveLength(3);
  expect(JSON.stringify(rows)).not.toMatch(/special|127/);
});

it('should answer a login that could never be right without any work', async () => {
  await reset();
  const before = api.derivations;
  for (const [name, password] of [
    ['nobody', 'x'.repeat(129)],
    ['x'.repeat(300), 'password'],
    ['a\0b', 'password'],
  ] as const) {
    expect((await login(name, password)).data.authLogin.code).toBe('INVALID_CREDENTIALS');
  }
  expect(api.derivations).toBe(before);
});
