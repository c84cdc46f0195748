import type { Prisma, Transaction } from '../../db/client.ts';
import type { ExecutionTrigger } from '../../db/generated/prisma/enums.ts';
import { ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { addExecution, type NewExecution, requireRoom } from '../executions/requests.ts';
import { TimeBudget } from '../executions/time-budget.ts';
import type { WorkflowDefinition } from './definition.ts';
import { ExpressionError } from './expression.ts';
import { requireInputs } from './inputs.ts';
import type { RunDefinition } from './procedure.ts';
import { fillWith } from './values.ts';

/** Of what a run's concurrency key may be made. */
const MAX_KEY_LENGTH = 500;

export type WorkflowRun = Pick<NewExecution, 'createdById' | 'parentId' | 'parentStep' | 'eventDepth'> & {
  id: string;
  workflowId: string;
  organizationId: string;
  trigger: ExecutionTrigger;
  input: unknown;
  /** The time for what has to be evaluated. */
  budget?: TimeBudget;
};

/** A run was not begun: the definition says that it is left out while another one of its key is not over. */
export class RunSkippedError extends ConflictError {}

/**
 * In a transaction: an execution of the workflow's current version. Those of the same concurrency key before it come first, are taken back
 * (see `cancelNeedless`), or keep it from beginning.
 * @throws {NotFoundError | ValidationError | QuotaExceededError | RunSkippedError}
 */
export async function beginWorkflowRun(
  tx: Transaction,
  record: Parameters<typeof addExecution>[2],
  { workflowId, input, budget = new TimeBudget(), ...run }: WorkflowRun,
): Promise<void> {
  // Deleting it waits for this transaction.
  await tx.$queryRaw`select 1 from workflows where id = ${workflowId}::uuid for key share`;
  const workflow = await tx.workflow.findFirst({ where: { id: workflowId, organizationId: run.organizationId } });
  if (!workflow) throw new NotFoundError('workflow');
  const { name, version } = workflow;
  const stored = await tx.workflowVersion.findUniqueOrThrow({ where: { workflowId_version: { workflowId, version } } });
  const definition = stored.definition as WorkflowDefinition;
  const values = requireInputs(definition, input);
  await requireRoom(tx, run.organizationId);
  const concurrencyKey = keyOf(definition, values, budget);
  const policy = concurrencyKey === null ? null : definition.concurrency?.policy;
  if (policy === 'skip') await requireNoOther(tx, workflowId, concurrencyKey!);
  const isBehind = policy === 'queue' && (await hasOther(tx, workflowId, concurrencyKey!));
  const carriedOut: RunDefinition = { ...definition, name, makerId: stored.createdById };
  await addExecution(
    tx,
    {
      ...{ ...run, kind: 'WORKFLOW', workflowId, workflowVersion: version, concurrencyKey },
      definition: carriedOut as unknown as Prisma.InputJsonObject,
      input: values as Prisma.InputJsonObject,
      timeoutSeconds: definition.timeoutSeconds,
      ...(isBehind && { statusReason: 'it waits for an earlier run with the same concurrency key' }),
    },
    record,
  );
}

function keyOf(
  { concurrency }: WorkflowDefinition,
  inputs: Record<string, unknown>,
  budget: TimeBudget,
): string | null {
  if (!concurrency) return null;
  try {
    const value = fillWith(concurrency.key, { inputs, execution: {} }, budget);
    return (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, MAX_KEY_LENGTH);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    throw ValidationError.field('input', `the concurrency key cannot be made of it: ${error.message}`);
  }
}

/** Where one at a time may begin, those that begin at once wait for each other here. @throws {RunSkippedError} */
async function requireNoOther(tx: Transaction, workflowId: string, concurrencyKey: string): Promise<void> {
  await tx.$queryRaw`select 1 from workflows where id = ${workflowId}::uuid for no key update`;
  if (await hasOther(tx, workflowId, concurrencyKey))
    throw new RunSkippedError('another run with the same concurrency key is not over: this one is left out');
}

async function hasOther(tx: Transaction, workflowId: string, concurrencyKey: string): Promise<boolean> {
  return (await tx.execution.count({ where: { workflowId, concurrencyKey, finishedAt: null } })) > 0;
}
