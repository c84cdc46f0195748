import type { ModelCatalog } from '../../models/catalog.ts';
import { createMasker } from '../../realtime/masking.ts';
import type { GuardedHttp } from '../../shared/guarded-http.ts';
import type { Deployments } from '../deployments/service.ts';
import { principalsOf } from '../executions/principals.ts';
import { type Procedure, StepFailure, type StepWork } from '../executions/procedure.ts';
import type { Access } from '../organizations/access.ts';
import type { ServiceDependencies } from '../services.ts';
import type { Stacks } from '../stacks/service.ts';
import { readBudget } from '../token-budget.ts';
import { openCredential } from './credential.ts';
import { createAgentProcedure } from './procedure.ts';
import { createToolBox } from './tools.ts';

export type AgentWorkDependencies = Pick<ServiceDependencies, 'prisma' | 'pool' | 'keyring'> & {
  access: Access;
  catalog: ModelCatalog;
  http: GuardedHttp;
  deployments: Deployments;
  stacks: Stacks;
};

/** How executions of agents are carried out, with all that they reach. */
export function createAgentWork(deps: AgentWorkDependencies): Procedure {
  const { prisma, pool, keyring, catalog } = deps;

  async function agentOf({ execution }: Pick<StepWork, 'execution'>) {
    const agent = execution.agentId && (await prisma.agent.findUnique({ where: { id: execution.agentId } }));
    if (!agent) throw new StepFailure('the agent was deleted');
    return agent;
  }

  return createAgentProcedure({
    pool,
    tools: createToolBox({
      ...deps,
      async principalsOf(work) {
        return principalsOf(work.execution, (await agentOf(work)).createdById);
      },
    }),
    async modelOf(execution, { model }) {
      const problem = catalog.problemOf(model);
      if (problem !== null) throw new StepFailure(problem);
      const key = openCredential(keyring, await agentOf({ execution }));
      return catalog.open(model, key, (text, secret) => createMasker([secret]).maskText(text));
    },
    async requireBudget(organizationId) {
      const { limit, used } = await readBudget(pool, organizationId);
      if (limit !== null && used >= limit)
        throw new StepFailure(`the organization has used up the ${limit} tokens of this month (monthlyTokenBudget)`);
    },
  });
}
