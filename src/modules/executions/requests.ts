import type { Pool, PoolClient } from 'pg';
import type { Prisma, Transaction } from '../../db/client.ts';
import type { Execution } from '../../db/generated/prisma/client.ts';
import type { ExecutionKind, ExecutionStatus } from '../../db/generated/prisma/enums.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import type { NewEvent } from '../../realtime/event-log.ts';
import {
  ConflictError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
  ValidationError,
} from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import { type Recorder, recorded } from '../lease-transaction.ts';
import { type Access, type ExecutionAccess, isAtLeast, requireCaller } from '../organizations/access.ts';
import { actorOf, type Caller, type ServiceDependencies } from '../services.ts';
import { requestCancel } from './cancellation.ts';
import {
  type ExecutionApproveInput,
  type ExecutionRetryInput,
  executionApproveInput,
  executionRetryInput,
} from './inputs.ts';
import { EXECUTIONS_TOPIC, executionTopic, type Loaded, readExecution, storableJson, storeSteps } from './ledger.ts';
import type { ExecutionLists } from './lists.ts';
import type { Procedure, StoredStep } from './procedure.ts';
import { isFinal, isOver } from './state.ts';

export type RequestDependencies = Pick<ServiceDependencies, 'prisma' | 'pool' | 'keyring'> & {
  access: Access;
  lists: ExecutionLists;
  procedures: Partial<Record<ExecutionKind, Procedure>>;
};

/** What people ask of executions; each returns the execution as it is then. */
export type Requests = {
  cancel(caller: Caller | null, executionId: string | null): Promise<Execution>;
  approve(caller: Caller | null, input: ExecutionApproveInput): Promise<Execution>;
  retry(caller: Caller | null, input: ExecutionRetryInput): Promise<Execution>;
};

/** Its deadline comes of how long it may take. */
export type NewExecution = Omit<Prisma.ExecutionUncheckedCreateInput, 'deadlineAt'> & { timeoutSeconds: number };

/** Executions of an organization that are not over. */
export const MAX_OPEN_EXECUTIONS = 10_000;

/** @throws {QuotaExceededError} */
export async function requireRoom(tx: Transaction, organizationId: string): Promise<void> {
  const open = await tx.execution.count({ where: { organizationId, finishedAt: null } });
  if (open >= MAX_OPEN_EXECUTIONS)
    throw new QuotaExceededError('executions that are not over', MAX_OPEN_EXECUTIONS, open, 'cancel some, or wait');
}

/** In a transaction that tells of it at its end: an execution that waits for its turn. */
export async function addExecution(
  tx: Transaction,
  { timeoutSeconds, ...values }: NewExecution,
  record: { event(event: Omit<NewEvent, 'actor'>): void },
): Promise<void> {
  // The database's time, like all deadlines.
  const [times] = await tx.$queryRaw<[{ deadlineAt: Date; waitingSince: Date }]>`
    select now() + make_interval(secs => ${timeoutSeconds}::float8) as "deadlineAt", now() as "waitingSince"`;
  await tx.execution.create({ data: { ...values, ...times } });
  await notifyTopics(tx, [EXECUTIONS_TOPIC]);
  const { id, organizationId, kind } = values;
  record.event({
    organizationId,
    type: 'execution.created',
    subject: { type: 'Execution', id },
    data: { status: 'QUEUED', kind },
  });
}

export function createRequests(deps: RequestDependencies): Requests {
  const { prisma, pool, keyring, access, lists, procedures } = deps;

  const readAs = async (caller: Caller | null, id: string): Promise<Execution> => {
    const found = await lists.find(caller, id);
    if (!found) throw new NotFoundError('execution');
    return found;
  };

  return {
    async cancel(caller, executionId) {
      const found = await access.requireExecution(caller, executionId, 'execution:cancel');
      const actor = actorOf(requireCaller(caller));
      await act(pool, found, async ({ execution, steps }, client, record) => {
        if (execution.status === 'CANCELLED') return;
        if (isFinal(execution.status))
          throw new ConflictError(
            `it is ${execution.status.toLowerCase()} already: only what is not over can be cancelled`,
          );
        await requestCancel(client, record, { execution, steps }, { actor });
      });
      return readAs(caller, found.executionId);
    },

    async approve(caller, input) {
      const found = await access.requireExecution(caller, input.executionId, 'execution:approve');
      const { step: key, approved, comment } = parseInput(executionApproveInput, input);
      const { userId } = requireCaller(caller);
      await act(pool, found, async ({ execution, steps }, client, record) => {
        const step = steps.find((each) => each.key === key);
        if (!step?.approval) throw new ConflictError(`no step ${JSON.stringify(key)} of it asks for an approval`);
        requireRole(found, step.approval.role);
        if (step.approval.decision) throw new ConflictError('somebody has decided about it already');
        if (step.state !== 'WAITING' || isFinal(execution.status) || execution.status === 'CANCELLING')
          throw new ConflictError('it waits for nobody any more');
        const approval = { ...step.approval, decision: { approved, comment: comment ?? null, userId } };
        await storeSteps(client, execution.id, [{ ...step, approval }]);
        // Whoever has it in hand, or takes it up now, finds the decision.
        await client.query('update executions set wake_at = now(), revision = revision + 1 where id = $1', [
          execution.id,
        ]);
        const { id, organizationId, status, kind } = execution;
        record.event({
          organizationId,
          type: 'execution.decided',
          actor: actorOf(requireCaller(caller)),
          subject: { type: 'Execution', id },
          data: { status, kind, step: key, approved },
        });
      });
      return readAs(caller, found.executionId);
    },

    async retry(caller, input) {
      const found = await access.requireExecution(caller, input.executionId, 'execution:retry');
      const { fromStep, idempotencyKey: key } = parseInput(executionRetryInput, input);
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = { caller: caller!, operation: 'executionRetry', key, input: { ...input, fromStep } };
        return remember(tx, keyring, request, async (executionId) => {
          const origin = await tx.execution.findUnique({ where: { id: found.executionId }, include: { steps: true } });
          if (!origin) throw new NotFoundError('execution');
          if (!isFinal(origin.status)) throw new ConflictError('it is not over: cancel it first, or wait');
          if (origin.kind === 'AGENT' && origin.agentId === null)
            throw new ConflictError('its agent was deleted: it cannot run again');
          const { organizationId, kind, agentId, continuesId, workflowId, workflowVersion, concurrencyKey } = origin;
          const { definition, input: given } = origin as {
            definition: Prisma.InputJsonValue;
            input: Prisma.InputJsonValue;
          };
          const procedure = procedures[kind]!;
          const timeoutSeconds = procedure.timeoutSecondsOf(definition);
          const kept = keptSteps(procedure, origin, fromStep ?? null);
          await addExecution(
            tx,
            {
              ...{ id: executionId, organizationId, kind, agentId, continuesId, definition, input: given },
              ...{ workflowId, workflowVersion, concurrencyKey, trigger: 'RETRY' },
              ...{ retryOfId: origin.id, createdById: caller!.userId, timeoutSeconds },
            },
            record,
          );
          await copySteps(tx, executionId, kept);
        });
      });
      const made = await lists.find(caller, id);
      if (!made) throw forgottenEntity('execution');
      return made;
    },
  };
}

/** What a retry takes over of its origin: what is over, and does not come again. */
function keptSteps<Step extends StoredStep>(procedure: Procedure, origin: Origin<Step>, from: string | null): Step[] {
  const inOrder = origin.steps.toSorted((one, other) => one.position - other.position);
  if (from === null && origin.status === 'COMPLETED')
    throw ValidationError.field('fromStep', 'nothing of it failed: name the step to begin with');
  if (from !== null && !inOrder.some(({ key }) => key === from)) {
    const keys = inOrder.map(({ key }) => key).join(', ') || 'none at all';
    throw ValidationError.field('fromStep', `it has no such step: ${keys}`);
  }
  const repeated = procedure.repeatedFrom(origin.definition, inOrder, from);
  return inOrder.filter(({ key, state }) => isOver(state) && !repeated.has(key));
}

type Origin<Step> = { status: ExecutionStatus; definition: unknown; steps: readonly Step[] };

async function copySteps(tx: Transaction, executionId: string, steps: readonly { id: string }[]): Promise<void> {
  await tx.$executeRaw`
    insert into execution_steps (id, execution_id, position, key, kind, state, attempt, failures, depends_on, input, output, error, approval, started_at, finished_at)
    select fresh.id, ${executionId}::uuid, s.position, s.key, s.kind, s.state, s.attempt, s.failures, s.depends_on, s.input, s.output, s.error, s.approval,
           s.started_at, s.finished_at
    from jsonb_to_recordset(${storableJson(steps.map(({ id }) => ({ id: newId(), of: id })))}::jsonb) as fresh(id uuid, "of" uuid)
    join execution_steps s on s.id = fresh."of"`;
}

function requireRole({ role }: ExecutionAccess, least: 'DEVELOPER' | 'ADMIN' | 'OWNER'): void {
  if (!isAtLeast(role, least))
    throw new PermissionDeniedError(
      `to decide about it needs the role ${least}, yours is ${role}: ask an admin of the organization`,
    );
}

/** Decides about an execution under the lock of its row; whoever works on it is told. */
async function act(
  pool: Pool,
  { executionId }: ExecutionAccess,
  decide: (loaded: Loaded, client: PoolClient, record: Recorder) => Promise<void>,
): Promise<void> {
  await recorded(pool, async (client, record) => {
    const loaded = await readExecution(client, executionId);
    if (!loaded) throw new NotFoundError('execution');
    record.wake(EXECUTIONS_TOPIC, executionTopic(executionId));
    await decide(loaded, client, record);
  });
}
