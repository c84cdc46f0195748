import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { AgentRuns } from '../support/agent-runs.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { HeldLock } from '../support/held-lock.ts';
import { type Answer, type AskedRequest, ModelServer } from '../support/model-server.ts';
import { type ServerProcess, startServer } from '../support/server.ts';
import { serverApp } from '../support/server-app.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are as their test asked for them.
type Data = any;
/** One run of an agent that wants one deployment of a stack of its own, then says so. */
type Run = { id: string; stackId: string; word: string };
type Kind = 'free' | 'asking' | 'cancelled';
/** A crash of the server at one point of such a run. */
type Scene = {
  name: string;
  /** Whether its agent acts at once, or needs an approval; or it is cancelled in its first turn. */
  kind: Kind;
  /** What the model says first, where it is not what it says otherwise. */
  first?: Answer;
  /** SQL of a lock that is taken before the run begins. */
  hold?: string;
  /** Resolves at the point; all locks are held until the server is gone. */
  reached(run: Run, lock: HeldLock): Promise<unknown>;
  /** How often the model is asked for its first turn, and for its second. */
  asked: [number, number];
};

const STEPS = 'lock table execution_steps in share mode';
const STACKS = 'lock table stacks in access exclusive mode';
const THINKING: Answer = { hangsAfter: 'Let me think' };
const CALL = 'turn1.call1';

const SCENES: Scene[] = [
  {
    name: 'QUEUED',
    kind: 'free',
    hold: 'select 1 from hosts for update',
    reached: (_run, lock) => lock.isWaitedFor(),
    asked: [1, 1],
  },
  {
    name: 'in a turn, while the model streams',
    kind: 'free',
    first: THINKING,
    reached: ({ word }) => isSaid(word),
    asked: [2, 1],
  },
  {
    name: 'after a turn, which is not recorded',
    kind: 'free',
    first: { text: 'so' },
    // What it wrote is stored before how it ended.
    hold: 'lock table execution_output in share mode',
    async reached({ word }, lock) {
      await lock.isWaitedFor();
      await isSaid(word);
    },
    asked: [2, 1],
  },
  {
    name: 'between a turn and what its tool does',
    kind: 'free',
    hold: STACKS,
    reached: ({ id }) => isCalling(id),
    asked: [1, 1],
  },
  {
    name: 'after a tool has acted, which is not recorded',
    kind: 'free',
    hold: STACKS,
    async reached({ id, stackId }, before) {
      await isCalling(id);
      const after = await takenLock(STEPS);
      await before[Symbol.asyncDispose]();
      await eventually('the deployment is made', async () => (await deploymentsOf(stackId)) === 1);
      await after.isWaitedFor();
    },
    asked: [1, 1],
  },
  {
    name: 'WAITING for an approval',
    kind: 'asking',
    reached: ({ id }) => runs.until(id, 'WAITING'),
    asked: [1, 1],
  },
  {
    name: 'CANCELLING',
    kind: 'cancelled',
    async reached({ id, word }) {
      await isSaid(word);
      const lock = await takenLock(STEPS);
      await cancel(id);
      await lock.isWaitedFor();
      expect((await runs.read(id)).status).toBe('CANCELLING');
    },
    asked: [1, 0],
  },
];

let started: AsyncDisposableStack;
let database: TestDatabase;
let models: ModelServer;
let server: ServerProcess;
let acme: Deployer;
let runs: AgentRuns;
const agents = {} as Record<Kind, string>;
const undisturbed = {} as Record<Kind, object>;
let words = 0;
const locks: HeldLock[] = [];

beforeAll(async () => {
  started = new AsyncDisposableStack();
  database = started.use(await createTestDatabase());
  models = started.use(await ModelServer.start());
  const env = { LLM_BASE_URL: models.url, LLM_MODEL: 'test/model' };
  server = started.use(await startServer({ databaseUrl: connectionUrl(database.connection), env }));
  acme = await Deployer.create(serverApp(server, database), null, 'Acme');
  runs = new AgentRuns(acme);
  const tools = ['deployments.create'];
  agents.asking = await runs.newAgent({ configuration: { tools } });
  agents.free = await runs.newAgent({ configuration: { tools, withoutApproval: tools } });
  agents.cancelled = agents.free;
  for (const kind of ['free', 'asking', 'cancelled'] as const) undisturbed[kind] = await runUndisturbed(kind);
});
afterEach(letGo);
afterAll(() => started?.[Symbol.asyncDispose]());

describe('kill -9 of the server during an execution', () => {
  it.each(SCENES)('should end as an undisturbed run does: $name', async ({ kind, first, hold, reached, asked }) => {
    const answer = kind === 'cancelled' ? THINKING : first;
    const run = await prepare();
    const lock = await takenLock(hold);
    await begin(run, kind, answer);
    await reached(run, lock);
    await server.kill9();
    await letGo();
    await server.start();
    if (kind === 'asking') await approve(run.id);
    expect(await endOf(run)).toEqual(undisturbed[kind]);
    expect([1, 2].map((turn) => asksOf(run.word, turn).length)).toEqual(asked);
  });
});

async function runUndisturbed(kind: Kind): Promise<object> {
  const run = await prepare();
  await begin(run, kind, kind === 'cancelled' ? THINKING : undefined);
  if (kind === 'asking') {
    await runs.until(run.id, 'WAITING');
    await approve(run.id);
  }
  if (kind === 'cancelled') {
    await isSaid(run.word);
    await cancel(run.id);
  }
  return endOf(run);
}

async function prepare(): Promise<Run> {
  const word = `release${++words}`;
  return { id: '', word, stackId: await acme.newStack('services: { web: { command: [sleep, "1000"] } }', word) };
}

async function begin(run: Run, kind: Kind, first?: Answer): Promise<void> {
  const usual = (asked: AskedRequest['body']) =>
    turnOf(asked) === 2 ? { text: 'It is deployed.' } : wish(run.stackId);
  // What it says first is what it wishes for, in words, or a thought that does not end.
  const begins = first && ('hangsAfter' in first ? first : { ...wish(run.stackId), ...first });
  models.answers = begins ? [begins, usual] : [usual];
  run.id = await runs.begin(`Deploy ${run.word}.`, { agentId: agents[kind] });
}

function wish(stackId: string) {
  const { environmentId } = acme;
  return { toolCalls: [{ name: 'deployments_create', arguments: JSON.stringify({ stackId, environmentId }) }] };
}

async function takenLock(sql: string | undefined): Promise<HeldLock> {
  const lock = new HeldLock(database.connection, sql);
  locks.push(lock);
  await lock.take();
  return lock;
}

async function letGo(): Promise<void> {
  await Promise.all(locks.map((lock) => lock[Symbol.asyncDispose]()));
}

const turnOf = ({ messages }: AskedRequest['body']) => (messages.at(-1)!.role === 'tool' ? 2 : 1);
const asksOf = (word: string, turn = 1) =>
  models.requests.filter(({ body }) => JSON.stringify(body.messages).includes(`${word}.`) && turnOf(body) === turn);
const isSaid = (word: string) => eventually('the model has said something', () => asksOf(word)[0]?.isSaid);
/** Its call is under way: the turn before it is recorded. */
const isCalling = (id: string) =>
  eventually('its call is under way', async () =>
    (await runs.read(id)).steps.nodes.some(({ key, state }: Data) => key === CALL && state === 'RUNNING'),
  );
const approve = (executionId: string) =>
  acme.mutate('executionApprove', 'Execution { id }', { executionId, step: CALL, approved: true });
const cancel = (executionId: string) => acme.mutate('executionCancel', 'Execution { id }', { executionId });

async function deploymentsOf(stackId: string): Promise<number> {
  const { rows } = await database.pool.query('select 1 from deployments where stack_id = $1', [
    decodeIdOf('Stack', stackId),
  ]);
  return rows.length;
}

/** All that is seen of a run once it is over, its attempts and what is of one run alone aside. */
async function endOf({ id, stackId }: Run): Promise<object> {
  const { status, statusReason, output, usage, steps } = await runs.end(id);
  const visible = ({ key, kind, state, error, output: made }: Data) => ({
    key,
    kind,
    state,
    error,
    made: made?.number ?? made?.text,
  });
  return {
    status,
    statusReason,
    output,
    usage,
    steps: steps.nodes.map(visible),
    deployments: await deploymentsOf(stackId),
  };
}
