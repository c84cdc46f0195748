import { isDeepStrictEqual } from 'node:util';
import { decodeGlobalId } from '../src/shared/global-id.ts';
import { openBenchDatabase } from './database.ts';
import { type Load, startLoadClient } from './load.ts';
import { cpuSeconds, startPeer } from './peer.ts';
import { insertRows } from './query-rows.ts';
import { median, quantile, type Row, report, rounded } from './report.ts';
import { createBenchServer } from './server.ts';
import { prepareTenant } from './stack.ts';

/** Server CPU of the page that a dashboard opens with. We check token, session and membership; the peers check nothing. */
const CONNECTIONS = 20;
const WARM_UP_REQUESTS = 3_000;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const REQUESTS = 1_000;
const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json' };

const DOCUMENT = `query Deployments($organizationId: ID!) {
  deployments(organizationId: $organizationId, first: 20) {
    nodes {
      id number status progress createdAt
      stack { id name }
      environment { id name type }
      createdBy { ... on User { id username } }
    }
    pageInfo { hasNextPage endCursor }
  }
}`;
/** The same in the words of the schema that PostGraphile makes of the tables. */
const POSTGRAPHILE_DOCUMENT = `query Deployments($organizationId: UUID!) {
  allDeployments(condition: { organizationId: $organizationId }, orderBy: [CREATED_AT_DESC, ROW_ID_DESC], first: 20) {
    nodes {
      id: rowId number status progress createdAt
      stack: stackByStackId { id: rowId name }
      environment: environmentByEnvironmentId { id: rowId name type }
      createdBy: userByCreatedById { id: rowId username }
    }
    pageInfo { hasNextPage endCursor }
  }
}`;

type Contender = { name: string; origin: string; load: Load; cpuMicros: number[]; latencies: number[] };

await using database = await openBenchDatabase();
await using ours = await createBenchServer({ DATABASE_URL: database.url, WINDFLOW_LOG_LEVEL: 'info' });
await ours.start();
const { organizationId } = await prepareTenant(ours);
const rowId = decodeGlobalId(organizationId)!.id;
await insertRows(database.url, rowId);
await using mercurius = await startPeer('query-mercurius', database.url);
await using postgraphile = await startPeer('query-postgraphile', database.url);
await using apollo = await startPeer('query-apollo', database.url);

const contenders = [
  contender('WindFlow', new URL(ours.url).origin, DOCUMENT, organizationId, { authorization: `Bearer ${ours.token}` }),
  contender('Mercurius, JIT, SQL by hand and loaders', mercurius.origin, DOCUMENT, rowId),
  contender('PostGraphile 5', postgraphile.origin, POSTGRAPHILE_DOCUMENT, rowId),
  contender('Apollo Server 5 with Prisma', apollo.origin, DOCUMENT, rowId),
];
await requireSameAnswers(contenders);
await using client = startLoadClient();
for (const each of contenders) await client.run({ ...each.load, requests: WARM_UP_REQUESTS });
for (let round = 0; round < ROUNDS; round++) for (const each of contenders) await measure(each);
print(contenders);

function contender(
  name: string,
  origin: string,
  query: string,
  id: string,
  headers: Record<string, string> = {},
): Contender {
  const body = JSON.stringify({ query, variables: { organizationId: id } });
  const load: Load = {
    url: `${origin}/graphql`,
    headers: { ...JSON_HEADERS, ...headers, 'content-length': String(Buffer.byteLength(body)) },
    body,
    connections: CONNECTIONS,
    requests: REQUESTS,
  };
  return { name, origin, load, cpuMicros: [], latencies: [] };
}

async function measure(each: Contender): Promise<void> {
  const before = await cpuSeconds(each.origin);
  const { latencies } = await client.run(each.load);
  const used = (await cpuSeconds(each.origin)) - before;
  each.cpuMicros.push((used / REQUESTS) * 1e6);
  each.latencies.push(...latencies);
}

/** What is not the same work is no comparison. */
async function requireSameAnswers(all: Contender[]): Promise<void> {
  const answers = await Promise.all(all.map(({ load }) => answerOf(load)));
  const [first] = answers;
  for (const [index, answer] of answers.entries())
    if (!isDeepStrictEqual(answer, first))
      throw new Error(`${all[index]!.name} answers otherwise: ${JSON.stringify(answer).slice(0, 2_000)}`);
}

/** The nodes with the UUIDs that our ids stand for and dates of one form, and whether there are more. */
async function answerOf({ url, headers, body }: Load): Promise<unknown> {
  const { 'content-length': _length, ...sent } = headers;
  const response = await fetch(url, { method: 'POST', headers: sent, body });
  const text = await response.text();
  const { data } = JSON.parse(text, (key, value: unknown) => {
    if (key === 'id' && typeof value === 'string') return decodeGlobalId(value)?.id ?? value;
    return key === 'createdAt' ? new Date(String(value)).getTime() : value;
  });
  const page = data?.deployments ?? data?.allDeployments;
  if (page?.nodes?.length !== 20 || !page.pageInfo.endCursor)
    throw new Error(`${url} answered ${text.slice(0, 2_000)}`);
  return { nodes: page.nodes, hasNextPage: page.pageInfo.hasNextPage };
}

function print([own, ...peers]: Contender[]): void {
  const asked: Record<string, string> = { 'PostGraphile 5': 'at most 1' };
  const rows: Row[] = peers.map((peer) => ({
    figure: '20 deployments with stack, environment, creator',
    unit: 'µs CPU a request',
    ours: rounded(median(own!.cpuMicros)),
    peer: peer.name,
    theirs: rounded(median(peer.cpuMicros)),
    ratio: rounded(median(own!.cpuMicros.map((micros, round) => micros / peer.cpuMicros[round]!))),
    asked: asked[peer.name] ?? (peer.name.startsWith('Mercurius') ? 'aim 1' : ''),
  }));
  const latencyMs = [own!, ...peers].map(({ name, latencies }) => ({
    server: name,
    p50: rounded(median(latencies)),
    p99: rounded(quantile(latencies, 0.99)),
  }));
  console.table(latencyMs);
  report('query', rows, { connections: CONNECTIONS, latencyMs, rounds: [own!, ...peers].map(roundsOf) });
}

function roundsOf({ name, cpuMicros }: Contender) {
  return { server: name, cpuMicros: cpuMicros.map((micros) => rounded(micros)) };
}
