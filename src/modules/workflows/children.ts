import type { Transaction } from '../../db/client.ts';
import type { Execution } from '../../db/generated/prisma/client.ts';
import { ExpectedError, reasonOf } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { newId } from '../../shared/ids.ts';
import { type AgentRun, beginAgentRun } from '../agents/runs.ts';
import { change, type Recorder } from '../change.ts';
import { childKey } from '../executions/ledger.ts';
import { type Principals, principalsOf } from '../executions/principals.ts';
import { StepFailure, type StepResult, type StepWork } from '../executions/procedure.ts';
import { isFinal } from '../executions/state.ts';
import type { Permission } from '../organizations/access.ts';
import type { PerformerDependencies } from './performers.ts';
import { makerOf } from './procedure.ts';
import { beginWorkflowRun } from './runs.ts';

/** Executions within executions within … so deep. */
export const MAX_DEPTH = 10;

type Begin = (tx: Transaction, record: Recorder, run: ChildRun) => Promise<void>;
type ChildRun = Pick<Execution, 'organizationId' | 'createdById' | 'parentId' | 'parentStep'> & {
  id: string;
  trigger: 'WORKFLOW';
};

/** A step that asks an agent: an execution of its own, for whose end the step waits. */
export async function askAgent(
  deps: PerformerDependencies,
  work: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const agentId = await requireOwn(deps, work, 'Agent', input.agentId, 'agent:execute');
  const outputSchema = input.outputSchema as AgentRun['outputSchema'];
  return beginChild(deps, work, (tx, record, run) =>
    beginAgentRun(tx, deps.catalog, record, { ...run, agentId, input: String(input.input), outputSchema }),
  );
}

/** A step that runs another workflow, likewise. */
export async function runWorkflow(
  deps: PerformerDependencies,
  work: StepWork,
  input: Record<string, unknown>,
): Promise<StepResult> {
  const workflowId = await requireOwn(deps, work, 'Workflow', input.workflowId, 'workflow:run');
  return beginChild(deps, work, (tx, record, run) =>
    beginWorkflowRun(tx, record, { ...run, workflowId, input: input.input ?? {} }),
  );
}

async function beginChild(deps: PerformerDependencies, work: StepWork, begin: Begin): Promise<StepResult> {
  const { execution, step } = work;
  const key = { parentId: execution.id, parentStep: childKey(step) };
  const find = () => deps.prisma.execution.findUnique({ where: { parentId_parentStep: key } });
  const former = await find();
  if (former) return waitFor(former);
  await requireDepth(deps, execution.id);
  const { maker } = principalsOf(execution, makerOf(execution));
  const { organizationId, createdById } = execution;
  try {
    await change(deps.prisma, maker, (tx, record) =>
      begin(tx, record, { id: newId(), organizationId, createdById, trigger: 'WORKFLOW', ...key }),
    );
  } catch (error) {
    // Whoever had the step in hand before may have begun it just now.
    const other = await find();
    if (other) return waitFor(other);
    return asFailure(error);
  }
  return { isWaiting: true };
}

/** The end of a child that nobody was told of, since the step did not wait yet, is here. */
function waitFor({ status, statusReason, output }: Execution): StepResult {
  if (!isFinal(status)) return { isWaiting: true };
  if (status === 'COMPLETED') return { output };
  const reason = statusReason ? `: ${statusReason}` : '';
  throw new StepFailure(`its execution is ${status.toLowerCase()}${reason}`, { isTransient: status === 'FAILED' });
}

async function requireDepth({ pool }: PerformerDependencies, executionId: string): Promise<void> {
  const { rows } = await pool.query<{ depth: number }>(
    `with recursive above as (
       select id, parent_id, 1 as depth from executions where id = $1
       union all select e.id, e.parent_id, above.depth + 1 from executions e join above on e.id = above.parent_id where above.depth <= $2
     ) select max(depth) as depth from above`,
    [executionId, MAX_DEPTH],
  );
  if (rows[0]!.depth >= MAX_DEPTH)
    throw new StepFailure(`it would be the execution of an execution … of an execution: ${MAX_DEPTH} deep is the most`);
}

/** The UUID of something of the execution's organization, where all in whose name it acts have the right. */
async function requireOwn(
  { access }: PerformerDependencies,
  { execution }: StepWork,
  type: 'Agent' | 'Workflow',
  given: unknown,
  permission: Permission,
): Promise<string> {
  const id = decodeIdOf(type, String(given));
  const { all }: Principals = principalsOf(execution, makerOf(execution));
  const require = type === 'Agent' ? access.requireAgent : access.requireWorkflow;
  for (const principal of all) {
    const found = await require(principal, id, permission).catch(asFailure);
    if (found.organizationId !== execution.organizationId) throw new StepFailure('it is not one of this organization');
  }
  return id!;
}

/** What people are told as an error of a request, a step fails with. */
export function asFailure(error: unknown): never {
  if (error instanceof ExpectedError) throw new StepFailure(reasonOf(error));
  throw error;
}
