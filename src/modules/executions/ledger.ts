import type { Pool, PoolClient } from 'pg';
import type { ExecutionStatus } from '../../db/generated/prisma/enums.ts';
import type { Lease } from '../../engine/host-lease.ts';
import type { NewEvent } from '../../realtime/event-log.ts';
import { type ExecutionMove, executionEvent } from '../../realtime/event-types.ts';
import { newId } from '../../shared/ids.ts';
import type { Recorder } from '../lease-transaction.ts';
import type { ExecutionRow, StepRow } from './procedure.ts';
import { isFinal, isOver } from './state.ts';

/** Wakes whoever carries out executions: there is one to take up, or one in hand to look at. */
export const EXECUTIONS_TOPIC = 'executions';
/** Wakes whoever follows an execution's state. */
export const executionTopic = (executionId: string): string => `execution:${executionId}`;

/** The execution is not this process's to work on any more: somebody else has it, or it was deleted. */
export class ExecutionLostError extends Error {
  override name = 'ExecutionLostError';
}

export type Loaded = { execution: ExecutionRow; steps: StepRow[] };

const COLUMNS = `
  e.id, e.organization_id as "organizationId", e.kind::text as kind, e.status::text as status, e.definition, e.input,
  e.agent_id as "agentId", e.continues_id as "continuesId", e.created_by_id as "createdById",
  e.input_tokens as "inputTokens", e.output_tokens as "outputTokens", e.waiting_since is null and e.deadline_at < now() as "isLate",
  extract(epoch from now())::float8 * 1000 as now`;
const STEPS = `
  coalesce((select jsonb_agg(jsonb_build_object(
      'position', s.position, 'key', s.key, 'kind', s.kind, 'state', s.state, 'attempt', s.attempt, 'dependsOn', s.depends_on,
      'input', s.input, 'output', s.output, 'error', s.error, 'approval', s.approval,
      'wakeAt', extract(epoch from s.wake_at) * 1000, 'isDue', coalesce(s.wake_at <= now(), false)) order by s.position)
    from execution_steps s where s.execution_id = e.id), '[]') as steps`;

type LoadedRow = ExecutionRow & { steps: StepRow[] };

/** Holds the row of an execution that the lease's holder works on, and reads all of it. @throws {ExecutionLostError} */
export async function lockExecution(client: PoolClient, lease: Lease, executionId: string): Promise<Loaded> {
  const { rows } = await client.query<LoadedRow>({
    name: 'lock-execution',
    text: `select ${COLUMNS}, ${STEPS} from executions e
           where e.id = $1 and e.host_id = $2 and e.host_epoch = $3 and e.finished_at is null for no key update of e`,
    values: [executionId, lease.hostId, lease.epoch],
  });
  if (!rows[0]) throw new ExecutionLostError('somebody else works on the execution, or it is gone');
  const { steps, ...execution } = rows[0];
  return { execution, steps };
}

/** Holds the row of any execution, and reads all of it; null: there is none. */
export async function readExecution(client: Pick<Pool, 'query'>, executionId: string): Promise<Loaded | null> {
  const { rows } = await client.query<LoadedRow>(
    `select ${COLUMNS}, ${STEPS} from executions e where e.id = $1 for no key update of e`,
    [executionId],
  );
  if (!rows[0]) return null;
  const { steps, ...execution } = rows[0];
  return { execution, steps };
}

/** Writes steps as they are now: those of a new key come to be. */
export async function storeSteps(client: Pick<PoolClient, 'query'>, executionId: string, steps: readonly StepRow[]) {
  if (steps.length === 0) return;
  const rows = steps.map((step) => ({ ...step, id: newId(), isOver: isOver(step.state) }));
  await client.query({
    name: 'store-execution-steps',
    text: `insert into execution_steps as s
        (id, execution_id, position, key, kind, state, attempt, depends_on, input, output, error, approval, wake_at, started_at, finished_at)
      select (g->>'id')::uuid, $1, (g->>'position')::int, g->>'key', g->>'kind', (g->>'state')::"ExecutionStepState", (g->>'attempt')::int,
             array(select jsonb_array_elements_text(g->'dependsOn')), nullif(g->'input', 'null'), nullif(g->'output', 'null'), g->>'error',
             nullif(g->'approval', 'null'), to_timestamp((g->>'wakeAt')::float8 / 1000),
             case when g->>'state' not in ('PENDING', 'SKIPPED') then now() end, case when (g->>'isOver')::bool then now() end
      from jsonb_array_elements($2::jsonb) g
      on conflict (execution_id, key) do update
        set state = excluded.state, attempt = excluded.attempt, input = excluded.input, output = excluded.output, error = excluded.error,
            approval = excluded.approval, wake_at = excluded.wake_at, finished_at = excluded.finished_at,
            started_at = case when excluded.attempt > s.attempt or s.started_at is null then excluded.started_at else s.started_at end`,
    values: [executionId, storableJson(rows)],
  });
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
  actor?: NewEvent['actor'];
};

/**
 * Writes what became of an execution whose row is held, raises its revision, and tells of it. Whoever works on it lets go of it where it
 * waits or has ended.
 */
export async function storeMove(
  client: Pick<PoolClient, 'query'>,
  record: Recorder,
  { id, organizationId, kind, status: previousStatus }: Pick<ExecutionRow, 'id' | 'organizationId' | 'kind' | 'status'>,
  { to, reason = null, output, wakeAt = null, usage, actor }: Move,
): Promise<void> {
  const isLetGo = isFinal(to) || to === 'WAITING';
  await client.query({
    name: 'move-execution',
    text: `update executions
      set status = $2::text::"ExecutionStatus", revision = revision + 1, status_reason = $3, output = $4::jsonb,
          wake_at = to_timestamp($5::float8 / 1000), waiting_since = case when $2 = 'WAITING' then now() end, finished_at = case when $6 then now() end,
          host_id = case when $7 then null else host_id end, host_epoch = case when $7 then null else host_epoch end,
          input_tokens = input_tokens + $8, output_tokens = output_tokens + $9
      where id = $1`,
    values: [
      id,
      to,
      reason,
      output === undefined ? null : storableJson(output),
      wakeAt,
      isFinal(to),
      isLetGo,
      usage?.inputTokens ?? 0,
      usage?.outputTokens ?? 0,
    ],
  });
  record.wake(executionTopic(id));
  if (to !== previousStatus) record.event(movedEvent({ id, organizationId, kind }, previousStatus, to, reason, actor));
}

type Subject = Pick<ExecutionRow, 'id' | 'organizationId' | 'kind'>;

export function movedEvent(
  { id, organizationId, kind }: Subject,
  previousStatus: ExecutionStatus,
  status: ExecutionStatus,
  reason: string | null,
  actor: NewEvent['actor'] = { type: 'system', id: null },
): NewEvent {
  return {
    organizationId,
    type: executionEvent(status as ExecutionMove),
    actor,
    subject: { type: 'Execution', id },
    data: { status, previousStatus, kind, reason },
  };
}

/** JSON as PostgreSQL stores it: what it refuses, NUL and halves of surrogate pairs, stands as U+FFFD. */
export function storableJson(value: unknown): string {
  // A backslash that is escaped itself begins no escape.
  return JSON.stringify(value).replace(/\\\\|\\u(0000|d[89a-f][0-9a-f]{2})/g, (found) =>
    found === '\\\\' ? found : '\\ufffd',
  );
}
