import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { COUNTING, type Console, LAST_LINE, openConsole } from './console.ts';

type Client = import('@urql/core').Client;
// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
type Line = { sequence: number; message: string };

let console: Console;
let client: Client;
// biome-ignore lint/suspicious/noExplicitAny: it is as the guide has it.
let follow: (...args: any[]) => Promise<void>;
beforeAll(async () => {
  console = await openConsole();
  const module = await console.guide.load('urql-client.js');
  client = module.createUrqlClient(console.url, console.session);
  follow = module.follow!;
});
afterAll(() => console[Symbol.asyncDispose]());

const CREATE = `mutation Create($input: StackCreateInput!) {
  stackCreate(input: $input) {
    __typename
    ... on Stack { id name currentVersion { number } }
    ... on ValidationError { fields { path message } findings { line rule } }
    ... on Error { code message }
  }
}`;
const STACKS = `query Stacks($id: ID!, $after: String) {
  organization(id: $id) {
    stacks(first: 2, after: $after) { nodes { id name } pageInfo { hasNextPage endCursor } totalCount }
  }
}`;
const create = async (name: string, compose: string) => {
  const input = { organizationId: console.acme.organizationId, name, compose };
  const { data, error } = await client.mutation(CREATE, { input });
  expect(error).toBeUndefined();
  return data.stackCreate;
};

it('should query, and tell errors with their codes', async () => {
  const { data, error } = await client.query('{ viewer { user { id username } } }', {});
  expect(error).toBeUndefined();
  expect(data.viewer.user).toMatchObject({ id: console.user.userId, username: console.user.username });
  const wrong = await client.query('{ organizations(first: 1000) { totalCount } viewer { isSuperadmin } }', {});
  expect(wrong.error?.graphQLErrors[0]?.extensions).toMatchObject({
    code: 'BAD_REQUEST',
    requestId: expect.any(String),
  });
  expect(wrong.data).toMatchObject({ organizations: null, viewer: { isSuperadmin: true } });
});

it('should mutate, and tell the members of a result union apart', async () => {
  expect(await create('a', 'services: { web: { command: ["true"] } }')).toMatchObject({
    __typename: 'Stack',
    name: 'a',
    currentVersion: { number: 1 },
  });
  expect(await create('b', 'services: { web: { nothing: 1 } }')).toMatchObject({
    __typename: 'ValidationError',
    code: 'VALIDATION_ERROR',
    findings: expect.arrayContaining([expect.objectContaining({ line: 1, rule: 'key-unknown' })]),
  });
});

it('should read a list page by page, and see what a mutation added', async () => {
  const page = async (after: string | null): Promise<Data> => {
    const { data, error } = await client.query(STACKS, { id: console.acme.organizationId, after });
    expect(error).toBeUndefined();
    return data.organization.stacks;
  };
  const names = async () => {
    const found: string[] = [];
    for (let after = null; ; ) {
      const { nodes, pageInfo } = await page(after);
      found.push(...nodes.map(({ name }: Data) => name));
      if (!pageInfo.hasNextPage) return found;
      after = pageInfo.endCursor;
    }
  };
  expect(await names()).toEqual(['a']);
  for (const name of ['b', 'c', 'd']) await create(name, 'services: { web: { command: ["true"] } }');
  expect(await names()).toEqual(['a', 'b', 'c', 'd']);
});

it('should subscribe, and go on where it stopped when the connection is cut', async () => {
  const { acme, connection } = console;
  const { id } = await acme.begin((await create('counting', COUNTING)).id);
  const LOG = `subscription Log($id: ID!, $after: String) {
    deploymentLogs(deploymentId: $id, after: $after) { lines { sequence message } endCursor } }`;
  const STATUS = 'subscription Status($id: ID!) { deploymentStatus(deploymentId: $id) { id status revision } }';
  const lines: Line[] = [];
  const states: { status: string; revision: number }[] = [];
  const ended = Promise.all([
    follow(client, LOG, { id }, ({ deploymentLogs }: Data) => lines.push(...deploymentLogs.lines)),
    follow(client, STATUS, { id }, ({ deploymentStatus }: Data) => states.push(deploymentStatus)),
  ]);
  for (const length of [20, 200]) {
    await eventually(`${length} lines`, () => lines.length >= length);
    connection.cut();
  }
  await eventually('the last line', () => lines.some(({ message }) => message === LAST_LINE));
  await acme.stop(id);
  await ended;
  expect(lines.map(({ sequence, message }) => ({ sequence, message }))).toEqual(
    (await acme.log(id)).map(({ sequence, message }) => ({ sequence, message })),
  );
  const revisions = states.map(({ revision }) => revision);
  expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
  expect(states.at(-1)?.status).toBe('STOPPED');
  const refused = follow(client, LOG, { id: 'nothing' }, () => {});
  await expect(refused).rejects.toMatchObject({ graphQLErrors: [{ extensions: { code: 'NOT_FOUND' } }] });
});
