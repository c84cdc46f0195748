import type { Prisma } from '../../db/client.ts';
import type { Agent, Execution } from '../../db/generated/prisma/client.ts';
import type { ModelCatalog } from '../../models/catalog.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { addExecution } from '../executions/requests.ts';
import type { Executions } from '../executions/service.ts';
import { forgottenEntity, remember } from '../idempotency.ts';
import type { Access } from '../organizations/access.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { readBudget } from '../token-budget.ts';
import type { AgentConfiguration } from './configuration.ts';
import { type AgentExecuteInput, agentExecuteInput } from './inputs.ts';
import type { AgentDefinition } from './procedure.ts';

/** Executions of an organization that are not over. */
export const MAX_OPEN_EXECUTIONS = 10_000;

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
      const { limit, used } = await readBudget(pool, organizationId);
      if (limit !== null && used >= limit)
        throw new QuotaExceededError(
          'tokens in this month',
          limit,
          used,
          'an admin can raise monthlyTokenBudget in its settings',
        );
      const { id } = await change(prisma, caller!, (tx, record) => {
        const request = {
          caller: caller!,
          operation: 'agentExecute',
          key: values.idempotencyKey,
          input: { ...values, agentId, continueFrom },
        };
        return remember(tx, keyring, request, async (executionId) => {
          // Deleting the agent waits for this transaction.
          const [agent] = await tx.$queryRaw<
            Pick<Agent, 'id'>[]
          >`select id from agents where id = ${agentId}::uuid for key share`;
          const found = agent && (await tx.agent.findUnique({ where: { id: agentId } }));
          if (!found) throw new NotFoundError('agent');
          const problem = catalog.problemOf(found.model);
          if (problem !== null) throw new ConflictError(problem);
          const open = await tx.execution.count({ where: { organizationId, finishedAt: null } });
          if (open >= MAX_OPEN_EXECUTIONS)
            throw new QuotaExceededError(
              'executions that are not over',
              MAX_OPEN_EXECUTIONS,
              open,
              'cancel some, or wait',
            );
          if (continueFrom !== undefined) await requireContinuable(tx, agentId, continueFrom);
          const configuration = found.configuration as AgentConfiguration;
          const { name, model, systemPrompt } = found;
          const definition: AgentDefinition = { name, model, systemPrompt, configuration };
          await addExecution(
            tx,
            {
              ...{ id: executionId, organizationId, kind: 'AGENT', agentId, input: values.input },
              definition: definition as Prisma.InputJsonObject,
              continuesId: continueFrom ?? null,
              createdById: caller!.userId,
              timeoutSeconds: configuration.timeoutSeconds,
            },
            record,
          );
        });
      });
      const made = await executions.find(caller, id);
      if (!made) throw forgottenEntity('execution');
      return made;
    },
  };
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
