import type { Pool, PoolClient } from 'pg';
import type { ExecutionStatus } from '../../db/generated/prisma/enums.ts';
import type { Lease } from '../../engine/host-lease.ts';
import type { Actor, NewEvent } from '../../realtime/event-log.ts';
import { type ExecutionMove, executionEvent } from '../../realtime/event-types.ts';
import { newId } from '../../shared/ids.ts';
import type { Recorder } from '../lease-transaction.ts';
import { type ExecutionRow, MAX_ATTEMPTS, MAX_NESTING, type StepRow } from './procedure.ts';
import { isFinal, isOver } from './state.ts';

/** Wakes whoever carries out executions: there is one to take up, or one in hand to look at. */
export const EXECUTIONS_TOPIC = 'executions';
/** Wakes whoever follows an execution's state. */
export const executionTopic = (executionId: string): string => `execution:${executionId}`;

/** How the execution ended that a step waits for; the step's output until that is decided about. */
export type ChildEnd = { status: ExecutionStatus; reason: string | null; output: unknown };

/** The key under which a step begins an execution; each failure that is tried again begins another. */
export const childKey = ({ key, failures }: StepRow): string => (failures === 0 ? key : `${key}~${failures + 1}`);
/** The same in SQL, of a row of `execution_steps`. */
export const childKeySql = (step: string): string =>
  `${step}.key || case when ${step}.failures = 0 then '' else '~' || (${step}.failures + 1) end`;
/** Those of all attempts that a step may have. */
export const childKeysOf = (key: string): string[] => [
  key,
  ...Array.from({ length: MAX_ATTEMPTS - 1 }, (_, failures) => `${key}~${failures + 2}`),
];
export const stepOfChild = (key: string): string => key.replace(/~\d+$/, '');

/** The execution is not this process's to work on any more: somebody else has it, or it was deleted. */
export class ExecutionLostError extends Error {
  override name = 'ExecutionLostError';
}

export type Loaded = { execution: ExecutionRow; steps: StepRow[] };

const COLUMNS = `
  e.id, e.revision, e.organization_id as "organizationId", e.kind::text as kind, e.status::text as status, e.status_reason as "statusReason", e.definition, e.input,
  e.agent_id as "agentId", e.workflow_id as "workflowId", e.continues_id as "continuesId", e.trigger::text as trigger, e.created_by_id as "createdById", e.parent_id as "parentId", e.parent_step as "parentStep",
  extract(epoch from e.created_at)::float8 * 1000 as "createdAt",
  e.input_tokens as "inputTokens", e.output_tokens as "outputTokens", e.waiting_since is null and e.deadline_at < now() as "isLate",
  extract(epoch from now())::float8 * 1000 as now`;
const STEPS = `
  coalesce(jsonb_agg(jsonb_build_object(
      'position', s.position, 'key', s.key, 'kind', s.kind, 'state', s.state, 'attempt', s.attempt, 'failures', s.failures, 'dependsOn', s.depends_on,
      'input', s.input, 'output', s.output, 'error', s.error, 'approval', s.approval, 'waitsFor', s.waits_for,
      'wakeAt', extract(epoch from s.wake_at) * 1000, 'isDue', coalesce(s.wake_at <= now(), false)) order by s.position), '[]') as steps`;

type LoadedRow = ExecutionRow & { steps: StepRow[] };

/** All of an execution that the lease's holder works on. @throws {ExecutionLostError} */
export async function loadExecution(pool: Pick<Pool, 'query'>, lease: Lease, executionId: string): Promise<Loaded> {
  const { rows } = await pool.query<LoadedRow>({
    name: 'load-execution',
    text: `select ${COLUMNS}, (select ${STEPS} from execution_steps s where s.execution_id = e.id)
           from executions e
           where e.id = $1 and e.host_id = $2 and e.host_epoch = $3 and e.finished_at is null`,
    values: [executionId, lease.hostId, lease.epoch],
  });
  if (!rows[0]) throw new ExecutionLostError('somebody else works on the execution, or it is gone');
  const { steps, ...execution } = rows[0];
  return { execution, steps };
}

/** Holds the row of any execution, and reads all of it; null: there is none. */
export async function readExecution(client: Pick<Pool, 'query'>, executionId: string): Promise<Loaded | null> {
  const { rows } = await client.query<ExecutionRow>(
    `select ${COLUMNS} from executions e where e.id = $1 for no key update of e`,
    [executionId],
  );
  return rows[0] ? { execution: rows[0], steps: await readSteps(client, executionId) } : null;
}

/** Once the row is held, as a statement of its own: one that waits for a lock sees other tables as they were before it waited. */
async function readSteps(client: Pick<Pool, 'query'>, executionId: string): Promise<StepRow[]> {
  const { rows } = await client.query<{ steps: StepRow[] }>({
    name: 'read-execution-steps',
    text: `select ${STEPS} from execution_steps s where s.execution_id = $1`,
    values: [executionId],
  });
  return rows[0]!.steps;
}

/** Writes the steps of a parameter as they are now: those of a new key come to be. `source`: what else has to be there. */
const storeStepsSql = (parameter: string, source = ''): string => `
  insert into execution_steps as s
    (id, execution_id, position, key, kind, state, attempt, failures, depends_on, input, output, error, approval, waits_for, wake_at,
     started_at, finished_at)
  select (g->>'id')::uuid, $1, (g->>'position')::int, g->>'key', g->>'kind', (g->>'state')::"ExecutionStepState", (g->>'attempt')::int,
         (g->>'failures')::int, array(select jsonb_array_elements_text(g->'dependsOn')), nullif(g->'input', 'null'),
         nullif(g->'output', 'null'), g->>'error', nullif(g->'approval', 'null'), g->>'waitsFor', to_timestamp((g->>'wakeAt')::float8 / 1000),
         case when g->>'state' not in ('PENDING', 'SKIPPED', 'CANCELLED') then now() end, case when (g->>'isOver')::bool then now() end
  from ${source}jsonb_array_elements(${parameter}::jsonb) g
  on conflict (execution_id, key) do update
    set state = excluded.state, attempt = excluded.attempt, failures = excluded.failures, input = excluded.input, output = excluded.output,
        error = excluded.error, approval = excluded.approval, waits_for = excluded.waits_for, wake_at = excluded.wake_at,
        finished_at = excluded.finished_at,
        started_at = case when excluded.attempt > s.attempt or s.started_at is null then excluded.started_at else s.started_at end`;
const STORE_STEPS = storeStepsSql('$2');
const MOVE = `
  update executions
    set status = $2::text::"ExecutionStatus", revision = revision + 1, status_reason = $3, output = $4::jsonb,
        wake_at = to_timestamp($5::float8 / 1000), waiting_since = case when $2 = 'WAITING' then now() end,
        finished_at = case when $6 then now() end,
        host_id = case when $7 then null else host_id end, host_epoch = case when $7 then null else host_epoch end,
        input_tokens = input_tokens + $8, output_tokens = output_tokens + $9
    where id = $1`;
const ADVANCE = `
  with moved as (${MOVE} and host_id = $10 and host_epoch = $11 and revision = $12 and finished_at is null returning 1),
  stored as (${storeStepsSql('$13', 'moved, ')})
  select 1 from moved`;

type Client = Pick<Pool | PoolClient, 'query'>;

/** Writes steps as they are now: those of a new key come to be. */
export async function storeSteps(client: Client, executionId: string, steps: readonly StepRow[]): Promise<void> {
  if (steps.length === 0) return;
  await client.query({ name: 'store-execution-steps', text: STORE_STEPS, values: [executionId, stepsJson(steps)] });
}

function stepsJson(steps: readonly StepRow[]): string {
  return storableJson(steps.map((step) => ({ ...step, id: newId(), isOver: isOver(step.state) })));
}

/** Those of the steps that are not over, as what they are where the execution ends. */
export function cancelled(steps: readonly StepRow[]): StepRow[] {
  return steps.filter(({ state }) => !isOver(state)).map((step) => ({ ...step, state: 'CANCELLED', wakeAt: null }));
}

export type Move = {
  to: ExecutionStatus;
  reason?: string | null;
  output?: unknown;
  /** When it is to be looked at again, milliseconds since the epoch. */
  wakeAt?: number | null;
  usage?: { inputTokens: number; outputTokens: number };
  actor?: Actor;
};

/** Of an execution that was read: see `advance`. Nothing is written, and the answer is false, where somebody has changed it since. */
export async function storeAdvance(
  client: Client,
  lease: Lease,
  { id, revision }: ExecutionRow,
  steps: readonly StepRow[],
  move: Move,
): Promise<boolean> {
  const { rowCount } = await client.query({
    name: 'advance-execution',
    text: ADVANCE,
    values: [id, ...moveValues(move), lease.hostId, lease.epoch, revision, stepsJson(steps)],
  });
  return rowCount === 1;
}

/** Writes what became of an execution whose row is held, and tells of it. */
export async function storeMove(client: Client, record: Recorder, execution: Moved, move: Move): Promise<void> {
  await client.query({ name: 'move-execution', text: MOVE, values: [execution.id, ...moveValues(move)] });
  await tellMove(client, record, execution, move);
}

/** Whoever works on it lets go of it where it waits or has ended. */
function moveValues({ to, reason = null, output, wakeAt = null, usage }: Move): unknown[] {
  return [
    to,
    reason === null ? null : storableText(reason),
    output === undefined ? null : storableJson(output),
    wakeAt,
    isFinal(to),
    isLetGo(to),
    usage?.inputTokens ?? 0,
    usage?.outputTokens ?? 0,
  ];
}

export function isLetGo(status: ExecutionStatus): boolean {
  return isFinal(status) || status === 'WAITING';
}

/** In the transaction that wrote the move: tells followers, and whoever waited for its end. */
export async function tellMove(
  client: Client,
  record: Recorder,
  { id, organizationId, kind, status: previousStatus, parentId, parentStep }: Moved,
  { to, output, actor, ...move }: Move,
): Promise<void> {
  const reason = move.reason == null ? null : storableText(move.reason);
  record.wake(executionTopic(id));
  if (to !== previousStatus) record.event(movedEvent({ id, organizationId, kind }, previousStatus, to, reason, actor));
  if (!isFinal(to)) return;
  // Another one may have waited for its turn, or for this one's end.
  record.wake(EXECUTIONS_TOPIC);
  if (parentId && parentStep)
    await tellParent(client, parentId, parentStep, { status: to, reason, output: output ?? null });
}

/** Whoever waits for its end finds it in the step's row. Rows are held in this order alone: a child, then its parent. */
async function tellParent(
  client: Pick<PoolClient, 'query'>,
  parentId: string,
  parentStep: string,
  end: ChildEnd,
): Promise<void> {
  // Its revision, so that whoever read it before does not write over this.
  await client.query(
    'update executions set wake_at = now(), revision = revision + 1 where id = $1 and finished_at is null',
    [parentId],
  );
  await client.query(
    // One of a former attempt, that ran out of time, says nothing of this one: see childKey.
    `update execution_steps s set output = $3 where execution_id = $1 and key = $2 and state in ('RUNNING', 'WAITING')
       and $4 = ${childKeySql('s')}`,
    [parentId, stepOfChild(parentStep), storableJson(end), parentStep],
  );
}

type Moved = Pick<ExecutionRow, 'id' | 'organizationId' | 'kind' | 'status' | 'parentId' | 'parentStep'>;
type Subject = Pick<ExecutionRow, 'id' | 'organizationId' | 'kind'>;

export function movedEvent(
  { id, organizationId, kind }: Subject,
  previousStatus: ExecutionStatus,
  status: ExecutionStatus,
  reason: string | null,
  actor: Actor = { type: 'system', id: null },
): NewEvent {
  return {
    organizationId,
    type: executionEvent(status as ExecutionMove),
    actor,
    subject: { type: 'Execution', id },
    data: { status, previousStatus, kind, reason },
  };
}

/** Whether lists and objects stand in each other deeper than all that works with them can follow. */
export function isNestedTooDeep(value: unknown, levels = MAX_NESTING): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isNestedTooDeep(inner, levels - 1));
}

/** JSON as PostgreSQL stores it: what it refuses, NUL and halves of surrogate pairs, stands as U+FFFD. */
export function storableJson(value: unknown): string {
  // A backslash that is escaped itself begins no escape.
  return JSON.stringify(value).replace(/\\\\|\\u(0000|d[89a-f][0-9a-f]{2})/g, (found) =>
    found === '\\\\' ? found : '\\ufffd',
  );
}

/** The same for a text. */
export function storableText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}
