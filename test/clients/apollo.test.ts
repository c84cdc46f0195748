import { CombinedGraphQLErrors, gql } from '@apollo/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { COUNTING, type Console, LAST_LINE, openConsole } from './console.ts';

type Client = import('@apollo/client').ApolloClient;
// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
type Line = { sequence: number; message: string };

let console: Console;
let client: Client;
beforeAll(async () => {
  console = await openConsole();
  const { createApolloClient } = await console.guide.load('apollo-client.js');
  client = await createApolloClient(console.url, console.session);
});
afterAll(async () => {
  client?.stop();
  await console[Symbol.asyncDispose]();
});

const CREATE = gql`
  mutation Create($input: StackCreateInput!) {
    stackCreate(input: $input) {
      ... on Stack { id name currentVersion { id number } }
      ... on ValidationError { fields { path message } findings { line rule } }
      ... on Error { code message }
    }
  }
`;
const STACKS = gql`
  query Stacks($id: ID!, $after: String) {
    organization(id: $id) {
      id
      stacks(first: 2, after: $after) { edges { cursor node { id name } } pageInfo { hasNextPage endCursor } }
    }
  }
`;
const create = async (name: string, compose: string) => {
  const input = { organizationId: console.acme.organizationId, name, compose };
  const { data } = await client.mutate<Data>({ mutation: CREATE, variables: { input } });
  return data.stackCreate;
};

it('should query, and tell errors with their codes', async () => {
  const { data } = await client.query<Data>({ query: gql`{ viewer { isSuperadmin user { id username } } }` });
  expect(data.viewer.user).toMatchObject({ id: console.user.userId, username: console.user.username });
  const wrong = client.query({ query: gql`{ organizations(first: 1000) { totalCount } }` });
  const error = await wrong.catch((problem: unknown) => problem);
  expect(CombinedGraphQLErrors.is(error) && error.errors[0]?.extensions).toMatchObject({
    code: 'BAD_REQUEST',
    requestId: expect.any(String),
  });
});

it('should mutate, and match fragments on the interface of all errors', async () => {
  expect(await create('a', 'services: { web: { command: ["true"] } }')).toMatchObject({
    __typename: 'Stack',
    name: 'a',
    currentVersion: { number: 1 },
  });
  // The cache keeps `code` only where it knows that a ValidationError is an Error.
  expect(await create('b', 'services: { web: { nothing: 1 } }')).toMatchObject({
    __typename: 'ValidationError',
    code: 'VALIDATION_ERROR',
    findings: expect.arrayContaining([expect.objectContaining({ line: 1, rule: 'key-unknown' })]),
  });
});

it('should read any object by its ID, as its type', async () => {
  const stack = await create('node', 'services: { web: { command: ["true"] } }');
  const query = gql`query ($id: ID!) { node(id: $id) { id ... on Stack { name organization { id name } } } }`;
  const { data } = await client.query<Data>({ query, variables: { id: stack.id } });
  expect(data.node).toMatchObject({ __typename: 'Stack', name: 'node', organization: { name: 'Acme' } });
});

it('should join the pages of a list in its cache', async () => {
  for (const name of ['c', 'd', 'e']) await create(name, 'services: { web: { command: ["true"] } }');
  const variables = { id: console.acme.organizationId };
  const watched = client.watchQuery<Data>({ query: STACKS, variables });
  const subscription = watched.subscribe(() => {});
  const stacks = () => (watched.getCurrentResult().data as Data)?.organization.stacks;
  await eventually('the first page', () => stacks()?.edges.length === 2);
  for (const known of [2, 4]) {
    await watched.fetchMore({ variables: { after: stacks().pageInfo.endCursor } });
    await eventually('the next page', () => stacks().edges.length > known);
  }
  expect(stacks().pageInfo.hasNextPage).toBe(false);
  const names = stacks().edges.map(({ node }: Data) => node.name);
  expect(names).toEqual(['a', 'c', 'd', 'e', 'node']);
  subscription.unsubscribe();
});

it('should subscribe, go on where it stopped when the connection is cut, and keep its cache up to date', async () => {
  const { acme, connection } = console;
  const { id } = await acme.begin((await create('counting', COUNTING)).id);
  const variables = { id };
  const DEPLOYMENT = gql`query Deployment($id: ID!) { deployment(id: $id) { id status revision } }`;
  await client.query({ query: DEPLOYMENT, variables });
  const lines: Line[] = [];
  const problems: unknown[] = [];
  let completed = 0;
  const LOG = gql`
    subscription Log($id: ID!, $after: String) {
      deploymentLogs(deploymentId: $id, after: $after) { lines { sequence message } endCursor }
    }
  `;
  const STATUS = gql`subscription Status($id: ID!) { deploymentStatus(deploymentId: $id) { id status revision } }`;
  const observer = (next: (data: Data) => void) => ({
    next: ({ data, error }: { data?: Data; error?: unknown }) => (error ? problems.push(error) : next(data)),
    error: (error: unknown) => problems.push(error),
    complete: () => {
      completed++;
    },
  });
  client
    .subscribe<Data>({ query: LOG, variables })
    .subscribe(observer(({ deploymentLogs }) => lines.push(...deploymentLogs.lines)));
  client.subscribe<Data>({ query: STATUS, variables }).subscribe(observer(() => {}));
  for (const length of [20, 200]) {
    await eventually(`${length} lines`, () => lines.length >= length);
    connection.cut();
  }
  await eventually('the last line', () => lines.some(({ message }) => message === LAST_LINE));
  await acme.stop(id);
  await eventually('the end of both', () => completed === 2);
  expect(problems).toEqual([]);
  expect(lines.map(({ sequence, message }) => ({ sequence, message }))).toEqual(
    (await acme.log(id)).map(({ sequence, message }) => ({ sequence, message })),
  );
  const cached = client.readQuery<Data>({ query: DEPLOYMENT, variables });
  expect(cached.deployment.status).toBe('STOPPED');
});
