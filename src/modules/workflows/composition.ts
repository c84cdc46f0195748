import type { ModelCatalog } from '../../models/catalog.ts';
import type { GuardedHttp } from '../../shared/guarded-http.ts';
import { type AgentRuns, createAgentRuns } from '../agents/runs.ts';
import { type Agents, createAgents } from '../agents/service.ts';
import { createAgentWork } from '../agents/work.ts';
import type { Deployments } from '../deployments/service.ts';
import { createExecutions, type Executions } from '../executions/service.ts';
import type { Access } from '../organizations/access.ts';
import type { ServiceDependencies } from '../services.ts';
import type { Stacks } from '../stacks/service.ts';
import { createPerformers, type Notifier } from './performers.ts';
import { createWorkflowProcedure } from './procedure.ts';
import { createWorkflows, type Workflows } from './service.ts';

export type RunDependencies = ServiceDependencies & {
  access: Access;
  catalog: ModelCatalog;
  http: GuardedHttp;
  deployments: Deployments;
  stacks: Stacks;
  notifier: Notifier;
};

export type RunServices = { agents: Agents; agentRuns: AgentRuns; executions: Executions; workflows: Workflows };

/** Agents and workflows, what begins them, and the ledger of what they do, which is told how each kind is carried out. */
export function createRunServices(deps: RunDependencies): RunServices {
  const procedures = { AGENT: createAgentWork(deps), WORKFLOW: createWorkflowProcedure(createPerformers(deps)) };
  const executions = createExecutions({ ...deps, procedures });
  return {
    agents: createAgents(deps),
    agentRuns: createAgentRuns({ ...deps, executions }),
    executions,
    workflows: createWorkflows({ ...deps, executions }),
  };
}
