import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf, encodeGlobalId } from '../../src/shared/global-id.ts';
import { newId } from '../../src/shared/ids.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { recordStatements, type Statement } from '../support/query-count.ts';
import { onOwnServer } from '../support/server-choice.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
type Row = Record<string, unknown>;
/** Rows as a release of ours stored them: columns by name, without those of what they belong to. */
type Parked = { comment: string; execution: Row; steps: Row[] };

const WAITING = 10_000;
const LOOKS = 3;
const CLAIM = 'claim-executions';

let app: TestApp;
let acme: Deployer;
let organizationId: string;
beforeAll(async () => {
  app = await startApp();
  acme = await Deployer.create(app, null, 'Acme');
  organizationId = decodeIdOf('Organization', acme.organizationId)!;
});
afterAll(() => app?.[Symbol.asyncDispose]());

const approve = (executionId: string): Promise<Data> =>
  acme.mutate('executionApprove', 'Execution { id }', { executionId, step: 'ask', approved: true, comment: 'go' });
const untilOver = (id: string): Promise<Data> =>
  eventually('it is over', async () => {
    const query = `query ($id: ID!) { execution(id: $id) { status statusReason output finishedAt steps(first: 100) { nodes { key state output } } } }`;
    const { execution } = await acme.ask(query, { id });
    return execution.finishedAt === null ? null : execution;
  });

/** Only the columns that there were: a later release gave those that it added a value of its own. */
async function insert(table: string, row: Row): Promise<void> {
  const columns = Object.keys(row).join(', ');
  await app.database.pool.query(
    `insert into ${table} (${columns}) select ${columns} from jsonb_populate_record(null::${table}, $1)`,
    [JSON.stringify(row)],
  );
}

async function park({ execution, steps }: Parked, change: Row = {}): Promise<string> {
  const id = newId();
  await insert('executions', { ...execution, ...change, id, organization_id: organizationId });
  for (const step of steps) await insert('execution_steps', { ...step, id: newId(), execution_id: id });
  return encodeGlobalId('Execution', id);
}

const parked = (name: string): Parked =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), 'utf8'));

describe('an execution that was parked by an earlier release', () => {
  it('should go on from its rows once it is approved', async () => {
    const id = await park(parked('workflow-waiting-for-approval'));
    await approve(id);
    const done = await untilOver(id);
    expect(done).toMatchObject({ status: 'COMPLETED', output: { said: 'go', count: 2, before: null } });
    expect(done.steps.nodes.map(({ key, state }: Data) => `${key}: ${state}`)).toEqual([
      ...['before: SUCCEEDED', 'ask: SUCCEEDED', 'each: SUCCEEDED', 'refused: SKIPPED'],
      ...['each[0]: SUCCEEDED', 'each[1]: SUCCEEDED'],
    ]);
  });
});

describe(`${WAITING} executions that wait for approvals`, () => {
  beforeAll(async () => {
    const { execution, steps } = parked('workflow-waiting-for-approval');
    const far = new Date(Date.now() + 30 * 24 * 60 * 60 * 1_000).toISOString();
    const row = { ...execution, organization_id: organizationId, wake_at: far };
    const ask = { ...steps.find(({ key }) => key === 'ask')!, wake_at: far };
    const columns = (of: Row) => Object.keys(of).join(', ');
    await app.database.pool.query(
      `with made as (
         insert into executions (id, ${columns(row)}) select gen_random_uuid(), ${columns(row)}
         from jsonb_populate_record(null::executions, $1), generate_series(1, $3) returning id
       )
       insert into execution_steps (id, execution_id, ${columns(ask)}) select gen_random_uuid(), made.id, ${columns(ask)}
       from made, jsonb_populate_record(null::execution_steps, $2)`,
      [JSON.stringify(row), JSON.stringify(ask), WAITING],
    );
    await app.database.pool.query('analyze executions, execution_steps');
  });

  it('should cost whoever carries them out no statement each', () =>
    onOwnServer(async () => {
      const statements = await looks();
      const counts = Map.groupBy(statements, ({ text }) => text);
      for (const [text, { length }] of counts) expect(length, text).toBeLessThanOrEqual(20 * LOOKS);
      expect(statements.length).toBeLessThan(50 * LOOKS);
      const { rows } = await app.database.pool.query(
        `select count(*)::int as count from executions where status = 'WAITING'`,
      );
      expect(rows[0].count).toBe(WAITING);
    }));

  it('should not be read in order to find what is due', () =>
    onOwnServer(async () => {
      const claim = (await looks()).find(({ name }) => name === CLAIM)!;
      const plan = await planOf(claim);
      expect(plan).toContain('using executions_waiting');
      expect(plan).toContain('using executions_active');
      expect(plan).not.toContain('Seq Scan on executions');
      const read = [...plan.matchAll(/executions.*actual rows=(\d+)/g)].map(([, rows]) => Number(rows));
      expect(Math.max(...read)).toBe(0);
    }));
});

/** What is asked of the database while it is looked for work some times. */
function looks(): Promise<Statement[]> {
  return recordStatements((soFar) =>
    eventually('some looks', () => soFar.filter(({ name }) => name === CLAIM).length > LOOKS),
  );
}

async function planOf({ text, values }: Statement): Promise<string> {
  const client = await app.database.pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query(`explain (analyze, timing off, summary off) ${text}`, values);
    return rows.map((row: Row) => row['QUERY PLAN']).join('\n');
  } finally {
    await client.query('rollback');
    client.release();
  }
}
