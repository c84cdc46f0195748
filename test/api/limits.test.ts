import { getIntrospectionQuery } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAX_ALIASES, MAX_DEPTH, MAX_ROOT_FIELDS, MAX_TOKENS } from '../../src/graphql/limits.ts';
import { RATE_LIMITED_FIELDS } from '../../src/graphql/plugins/rate-limit.ts';
import { leastQueries, type Registered, startTestApi, type TestApi } from '../support/api.ts';
import { onOwnServer } from '../support/server-choice.ts';

let api: TestApi;
let user: Registered;
beforeAll(async () => {
  api = await startTestApi();
  user = await api.register();
});
afterAll(() => api[Symbol.asyncDispose]());

const ask = (query: string, variables?: object) => api.execute(query, variables, { token: user.accessToken });
const codes = async (query: string, variables?: object) =>
  (await ask(query, variables)).errors.map(({ extensions }) => extensions.code);
const times = (count: number, part: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => part(index)).join(' ');

describe('depth', () => {
  it('should be limited, also through fragments and inline fragments', async () => {
    const members = (depth: number): string =>
      depth === 0 ? 'id' : `organization { members(first: 1) { nodes { ${members(depth - 1)} } } }`;
    const query = (depth: number) =>
      `{ organizations(first: 1) { nodes { members(first: 1) { nodes { ${members(depth)} } } } } }`;
    expect(await codes(query(1))).toEqual([]);
    expect(await codes(query(4))).toEqual(['QUERY_TOO_COMPLEX']);
    const inline = `{ ... { ... on Query { ${query(4).slice(1, -1)} } } }`;
    expect(await codes(inline)).toEqual(['QUERY_TOO_COMPLEX']);
    const spread = `query { ...Q } fragment Q on Query { organizations(first: 1) { nodes { ...O } } }
      fragment O on Organization { members(first: 1) { nodes { organization { members(first: 1) { nodes { organization { members(first: 1) { nodes { ...M } } } } } } } } }
      fragment M on OrganizationMember { organization { members(first: 1) { nodes { id } } } }`;
    expect(await codes(spread)).toEqual(['QUERY_TOO_COMPLEX']);
  });

  it('should survive fragments that spread each other', async () => {
    const cycle = 'query { ...A } fragment A on Query { viewer { isSuperadmin } ...B } fragment B on Query { ...A }';
    expect(new Set(await codes(cycle))).toEqual(new Set(['BAD_REQUEST']));
    const bomb = `query { ...F0 } ${times(40, (n) => `fragment F${n} on Query { ...F${n + 1} ...F${n + 1} }`)} fragment F40 on Query { a: __typename }`;
    const started = performance.now();
    expect(await codes(bomb)).toEqual(['QUERY_TOO_COMPLEX']);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('should let the introspection of tools through, and no deeper', async () => {
    const { data, errors } = await ask(
      getIntrospectionQuery({
        inputValueDeprecation: true,
        specifiedByUrl: true,
        oneOf: false,
        schemaDescription: true,
      }),
    );
    expect(errors).toEqual([]);
    expect(data.__schema.types.length).toBeGreaterThan(20);
    const fields = (depth: number): string => (depth === 0 ? 'name' : `fields { type { ${fields(depth - 1)} } }`);
    const bomb = `{ __schema { types { ${fields(8)} } } }`;
    expect((await ask(bomb)).data?.__schema).toBeUndefined();
  });

  it('should be told in words', async () => {
    const { errors } = await ask(`{ viewer ${'{ user '.repeat(MAX_DEPTH + 1)} { id } ${'}'.repeat(MAX_DEPTH + 1)} }`);
    expect(errors[0]?.message).toContain(String(MAX_DEPTH));
  });
});

describe('aliases and root fields', () => {
  it('should be limited in number', async () => {
    const aliases = (count: number) => `{ viewer { ${times(count, (n) => `a${n}: isSuperadmin`)} } }`;
    expect(await codes(aliases(MAX_ALIASES))).toEqual([]);
    expect(await codes(aliases(MAX_ALIASES + 1))).toEqual(['QUERY_TOO_COMPLEX']);
    const roots = (count: number) => `{ ${times(count, (n) => `a${n}: viewer { isSuperadmin }`)} }`;
    expect(await codes(roots(MAX_ROOT_FIELDS))).toEqual([]);
    expect(await codes(roots(MAX_ROOT_FIELDS + 1))).toEqual(['QUERY_TOO_COMPLEX']);
  });

  it('should count as often as their fragment is spread', async () => {
    const query = `{ viewer { ${times(6, () => '...A')} } } fragment A on Viewer { ${times(10, (n) => `a${n}: isSuperadmin`)} }`;
    expect(await codes(query)).toEqual(['QUERY_TOO_COMPLEX']);
  });

  it('should not get more guesses at a password into one request', async () => {
    const guess = (n: number) => `g${n}: authLogin(input: { username: "x", password: "wrong-${n}" }) { __typename }`;
    const before = api.derivations;
    expect(await codes(`mutation { ${times(100, guess)} }`)).toEqual(['QUERY_TOO_COMPLEX']);
    expect(api.derivations).toBe(before);
  });
});

describe('tokens and cost', () => {
  it('should be limited', async () => {
    expect(await codes(`{ viewer { ${'isSuperadmin '.repeat(MAX_TOKENS)} } }`)).toEqual(['QUERY_TOO_COMPLEX']);
    const repeated = (count: number) => `{ viewer { ${'isSuperadmin '.repeat(count)} } }`;
    expect(await codes(repeated(300))).toEqual([]);
    expect(await codes(repeated(1_000))).toEqual(['QUERY_TOO_COMPLEX']);
  });

  it('should grow with the nodes that are asked for, also by variables and their defaults', async () => {
    const query = `query ($first: Int = 100) { organizations(first: $first) { nodes { members(first: $first) { nodes { id role user { id username } organization { id } } } } } }`;
    expect(await codes(query, { first: 5 })).toEqual([]);
    expect(await codes(query, { first: 100 })).toEqual(['QUERY_TOO_COMPLEX']);
    expect(await codes(query)).toEqual(['QUERY_TOO_COMPLEX']);
  });

  it('should let an ordinary page of everything through', async () => {
    const query = `{ organizations { totalCount nodes { id name environments { nodes { id name } } stacks { nodes { id name currentVersion { number } } } } } }`;
    expect(await codes(query)).toEqual([]);
  });
});

describe('pages', () => {
  it.each([
    ['more than 100', 'first: 101'],
    ['none', 'first: 0'],
    ['a negative number', 'last: -1'],
    ['both ends', 'first: 5, last: 5'],
    ['a cursor that is none', 'after: "rubbish"'],
    ['a cursor of another list', `after: "${Buffer.from('["name","x","y"]').toString('base64url')}"`],
  ])('should refuse %s', async (_what, args) => {
    const { data, errors } = await ask(`{ viewer { sessions(${args}) { totalCount } } }`);
    expect(errors[0]?.extensions.code).toBe('BAD_REQUEST');
    expect(data).toEqual({ viewer: { sessions: null } });
  });

  it('should walk through a list in both directions without a gap', async () => {
    const walker = await api.register();
    const { id } = await api.database.prisma.user.findUniqueOrThrow({ where: { usernameKey: walker.username } });
    // Some at the same moment: the id decides between them.
    await api.database.pool.query(
      `insert into sessions (id, user_id, expires_at, created_at)
       select gen_random_uuid(), $1, now() + interval '1 day', now() + make_interval(secs => n / 3) from generate_series(1, 24) n`,
      [id],
    );
    const page = async (args: string) => {
      const query = `{ viewer { sessions(${args}) { totalCount nodes { id } edges { cursor } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;
      return (await api.execute(query, {}, { token: walker.accessToken })).data.viewer.sessions;
    };
    const all = (await page('first: 100')).nodes.map((node: { id: string }) => node.id);
    expect(all).toHaveLength(25);
    const walk = async (size: string, cursor: string, edge: 'startCursor' | 'endCursor', more: string) => {
      const seen: string[][] = [];
      let position = '';
      for (;;) {
        const part = await page(`${size}: 7${position}`);
        expect(part.totalCount).toBe(25);
        seen.push(part.nodes.map((node: { id: string }) => node.id));
        if (!part.pageInfo[more]) return seen;
        position = `, ${cursor}: "${part.pageInfo[edge]}"`;
      }
    };
    expect((await walk('first', 'after', 'endCursor', 'hasNextPage')).flat()).toEqual(all);
    expect((await walk('last', 'before', 'startCursor', 'hasPreviousPage')).reverse().flat()).toEqual(all);
  });
});

describe('node and nodes', () => {
  it('should be null for anything but an id of what the caller may see', async () => {
    const stranger = await api.register();
    const node = async (id: string) =>
      (await ask('query ($id: ID!) { node(id: $id) { __typename id } }', { id })).data.node;
    expect(await node(user.userId)).toEqual({ __typename: 'User', id: user.userId });
    for (const id of [
      '',
      'rubbish',
      `${user.userId}=`,
      Buffer.from('User:1').toString('base64url'),
      Buffer.from('Nothing:x').toString('base64url'),
    ]) {
      expect(await node(id), id).toBeNull();
    }
    const strange = await api.execute(
      'query ($id: ID!) { node(id: $id) { id } }',
      { id: user.userId },
      { token: stranger.accessToken },
    );
    expect(strange).toMatchObject({ data: { node: null }, errors: [] });
    const { data } = await ask('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', {
      ids: ['x', user.userId, user.userId],
    });
    expect(data.nodes).toEqual([null, { id: user.userId }, { id: user.userId }]);
    expect(await codes('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: Array(101).fill('x') })).toEqual([
      'BAD_REQUEST',
    ]);
  });

  it('should need a caller', async () => {
    const { errors } = await api.execute('query ($id: ID!) { node(id: $id) { id } }', { id: user.userId });
    expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
  });
});

it('should cost a list of sessions two queries, however many there are', async () => {
  const count = (first: number) =>
    leastQueries(() => ask(`{ viewer { sessions(first: ${first}) { totalCount nodes { id userAgent isCurrent } } } }`));
  const one = await count(1);
  await Promise.all(
    Array.from({ length: 10 }, () =>
      api.execute(`mutation ($input: AuthLoginInput!) { authLogin(input: $input) { __typename } }`, { input: user }),
    ),
  );
  expect(await count(50)).toBe(one);
});

it('should limit how often an address calls the mutations that cost a hash', async () => {
  await using limited = await startTestApi();
  const refresh = (aliases: number) =>
    limited.execute(
      `mutation { ${times(aliases, (n) => `r${n}: authRefresh(input: { refreshToken: "x" }) { __typename }`)} }`,
    );
  const { max } = RATE_LIMITED_FIELDS.authRefresh!;
  // Each server counts what it is asked itself.
  const { errors } = await onOwnServer(async () => {
    for (let used = 0; used < max; used += 20) expect((await refresh(20)).errors).toEqual([]);
    return refresh(1);
  });
  expect(errors[0]?.extensions).toMatchObject({ code: 'RATE_LIMITED', requestId: expect.any(String) });
  expect(errors[0]?.extensions.retryAfterMs).toBeGreaterThan(0);
  expect(errors[0]?.extensions.retryAfterMs).toBeLessThanOrEqual(60_000);
});
