import { createExecutions, type Executions } from '../executions/service.ts';
import type { ServiceDependencies } from '../services.ts';
import { type AgentRuns, createAgentRuns } from './runs.ts';
import { type Agents, createAgents } from './service.ts';
import { type AgentWorkDependencies, createAgentWork } from './work.ts';

export type AgentServices = { agents: Agents; agentRuns: AgentRuns; executions: Executions };

/** Agents, what begins their executions, and the ledger of these, which is told how they are carried out. */
export function createAgentServices(deps: ServiceDependencies & AgentWorkDependencies): AgentServices {
  const executions = createExecutions({ ...deps, procedures: { AGENT: createAgentWork(deps) } });
  return { agents: createAgents(deps), agentRuns: createAgentRuns({ ...deps, executions }), executions };
}
