// Before the schema is built.
import '../support/probe-schema.ts';

import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACCESS_TOKEN_SECONDS } from '../../src/modules/identity/access-tokens.ts';
import { startTestApi, type TestApi } from '../support/api.ts';
import { connectSocket, listen } from '../support/api-clients.ts';
import { eventually } from '../support/eventually.ts';
import { INTERNAL_TEXT } from '../support/probe-schema.ts';

const VIEWER = '{ viewer { user { id } } }';
const SESSION = '__typename ... on AuthSession { accessToken refreshToken } ... on Error { code }';

const logged: string[] = [];
let api: TestApi;
beforeAll(async () => {
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  api = await startTestApi({ log });
});
afterAll(() => api[Symbol.asyncDispose]());

it('should log a fault whole, under the requestId that the client was told', async () => {
  const { errors, text } = await api.execute('{ probeFault }');
  expect(text).not.toContain(INTERNAL_TEXT);
  const { requestId } = errors[0]!.extensions;
  const lines = logged.filter((line) => line.includes(requestId)).map((line) => JSON.parse(line));
  expect(lines).toContainEqual(
    expect.objectContaining({ requestId, err: expect.objectContaining({ message: INTERNAL_TEXT }) }),
  );
});

describe('a socket', () => {
  it('should live on when its token has expired', async () => {
    const secondsLeft = 2;
    const past = { now: () => new Date(Date.now() - (ACCESS_TOKEN_SECONDS - secondsLeft) * 1_000) };
    await using earlier = await startTestApi({ shares: api, clock: past });
    const { accessToken, userId } = await earlier.register();
    const client = connectSocket(api, { authorization: `Bearer ${accessToken}` });
    const { heard: endless, stop } = listen(client, 'subscription { probeEndless }');
    await eventually('the socket is open', () => endless.results.length > 0);
    const refusal = async () =>
      (await api.execute(VIEWER, {}, { token: accessToken })).errors[0]?.extensions.reason === 'TOKEN_EXPIRED';
    await eventually('the end of the token', refusal, { deadlineMs: 10_000, pollMs: 100 });
    const { heard } = listen(client, VIEWER);
    await eventually('an answer', () => heard.end !== null);
    expect(heard.results).toEqual([{ data: { viewer: { user: { id: userId } } } }]);
    expect([endless.end, client.closes]).toEqual([null, []]);
    stop();
    await client.dispose();
  });
});

describe('an Authorization header', () => {
  it.each(['rubbish', 'a.b.c'])('should not matter to those who log in, refresh or log out: %s', async (token) => {
    const { username, password, refreshToken } = await api.register();
    const run = (field: string, selection: string, input: object) => {
      const type = `${field[0]!.toUpperCase()}${field.slice(1)}Input!`;
      return api.execute(
        `mutation ($input: ${type}) { ${field}(input: $input) { ${selection} } }`,
        { input },
        { token },
      );
    };
    const answers = [
      await run('authLogin', SESSION, { username, password }),
      await run('authRefresh', SESSION, { refreshToken }),
    ];
    for (const { data, errors } of answers) {
      expect(errors).toEqual([]);
      expect(Object.values(data)[0]).toMatchObject({ __typename: 'AuthSession' });
    }
    const left = await run('authLogout', '... on LoggedOut { sessions }', {});
    expect([left.data, left.errors]).toEqual([{ authLogout: { sessions: 0 } }, []]);
  });
});
