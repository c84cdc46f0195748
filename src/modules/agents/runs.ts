import type { Prisma, Transaction } from '../../db/client.ts';
import type { Execution } from '../../db/generated/prisma/client.ts';
import type { ModelCatalog } from '../../models/catalog.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { addExecution, type NewExecution, requireRoom } from '../executions/requests.ts';
import type { Executions } from '../executions/service.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { readBudget } from '../token-budget.ts';
import type { AgentConfiguration } from './configuration.ts';
import { type AgentExecuteInput, agentExecuteInput } from './inputs.ts';
import type { AgentDefinition } from './procedure.ts';

export type AgentRunDependencies = Pick<ServiceDependencies, 'prisma' | 'pool' | 'keyring'> & {
  access: Access;
  catalog: ModelCatalog;
  executions: Executions;
};

/** Begins executions of agents. */
export type AgentRuns = {
  execute(caller: Caller | null, input: AgentExecuteInput): Promise<Execution>;
};

export function createAgentRuns({
  prisma,
  pool,
  keyring,
  access,
  catalog,
  executions,
}: AgentRunDependencies): AgentRuns {
  return {
    async execute(caller, input) {
      const { agentId, organizationId } = await access.requireAgent(caller, input.agentId, 'agent:execute');
      const values = parseInput(agentExecuteInput, input);
      const { continueFrom } = input;
      const budget = await readBudget(pool, organizationId);
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'agentExecute',
          key: values.idempotencyKey,
          input: { ...values, agentId, continueFrom },
        };
        return remember(tx, keyring, request, async (executionId) => {
          requireTokens(budget);
          await beginAgentRun(tx, catalog, record, {
            ...{ id: executionId, organizationId, agentId, input: values.input, createdById: caller!.userId },
            continuesId: continueFrom,
          });
        });
      });
      const made = await executions.find(caller, id);
      if (!made) throw forgottenEntity('execution');
      return made;
    },
  };
}

export type AgentRun = Pick<NewExecution, 'organizationId' | 'createdById' | 'parentId' | 'parentStep' | 'trigger'> & {
  id: string;
  agentId: string;
  input: string;
  /** Absent: a conversation of its own; null: an id that cannot be one. */
  continuesId?: string | null;
  /** Instead of the agent's own. */
  outputSchema?: Record<string, unknown>;
};

/** In a transaction: an execution of the agent as it is now. @throws {NotFoundError | ConflictError | ValidationError | QuotaExceededError} */
export async function beginAgentRun(
  tx: Transaction,
  catalog: ModelCatalog,
  record: Parameters<typeof addExecution>[2],
  { agentId, input, continuesId, outputSchema, ...run }: AgentRun,
): Promise<void> {
  const { organizationId } = run;
  // Deleting the agent waits for this transaction.
  await tx.$queryRaw`select 1 from agents where id = ${agentId}::uuid for key share`;
  const agent = await tx.agent.findFirst({ where: { id: agentId, organizationId } });
  if (!agent) throw new NotFoundError('agent');
  const { name, model, systemPrompt } = agent;
  const problem = catalog.problemOf(model);
  if (problem !== null) throw new ConflictError(problem);
  await requireRoom(tx, organizationId);
  if (continuesId !== undefined) await requireContinuable(tx, agentId, continuesId);
  const configuration = { ...(agent.configuration as AgentConfiguration), ...(outputSchema && { outputSchema }) };
  const definition: AgentDefinition = { name, model, systemPrompt, configuration };
  await addExecution(
    tx,
    {
      ...{ ...run, kind: 'AGENT', agentId, input, continuesId: continuesId ?? null },
      definition: definition as Prisma.InputJsonObject,
      timeoutSeconds: configuration.timeoutSeconds,
    },
    record,
  );
}

function requireTokens({ limit, used }: Awaited<ReturnType<typeof readBudget>>): void {
  if (limit !== null && used >= limit)
    throw new QuotaExceededError(
      'tokens in this month',
      limit,
      used,
      'an admin can raise monthlyTokenBudget in its settings',
    );
}

/** Null: an id that cannot be one. */
async function requireContinuable(
  tx: { execution: Prisma.ExecutionDelegate },
  agentId: string,
  executionId: string | null,
): Promise<void> {
  const former = executionId && (await tx.execution.findFirst({ where: { id: executionId, agentId } }));
  if (!former) throw new NotFoundError('execution of this agent');
  if (former.status !== 'COMPLETED')
    throw ValidationError.field(
      'continueFrom',
      `it is ${former.status.toLowerCase()}: only what has completed can be continued`,
    );
}
