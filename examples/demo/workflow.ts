import {
  ApproveStepDocument,
  CreateAgentDocument,
  CreateWorkflowDocument,
  RunWorkflowDocument,
  WatchExecutionDocument,
  type WatchExecutionSubscription,
} from '../../schema/generated/graphql.ts';
import { type ApiClient, entityOf } from './api-client.ts';
import type { Place } from './deploying.ts';
import { DemoFailure } from './failure.ts';
import { heading, say } from './terminal.ts';

type State = WatchExecutionSubscription['executionStatus'];

/** A workflow deploys, an agent has a word, a person agrees. The agent only repeats what it is told: that needs no provider. */
const DEFINITION = `
inputs:
  stackId: { type: string }
  environmentId: { type: string }
  agentId: { type: string }
steps:
  deploy: { kind: deploy, stackId: '\${{ inputs.stackId }}', environmentId: '\${{ inputs.environmentId }}' }
  review:
    kind: agent
    needs: [deploy]
    agentId: \${{ inputs.agentId }}
    input: Deployment \${{ steps.deploy.output.number }} is \${{ steps.deploy.output.status }}.
  agree: { kind: approval, needs: [review], message: '\${{ steps.review.output }} Is that well?' }
output: \${{ steps.deploy.output.deploymentId }}
`;

/** Runs it to its end; returns the id of the deployment that it made. */
export async function showWorkflow(
  client: ApiClient,
  { organizationId, stackId, environmentId }: Place,
): Promise<string> {
  heading('A workflow: deploy, let an agent look, ask a person');
  const { agentCreate } = await client.request(CreateAgentDocument, {
    input: { organizationId, name: 'Echo', model: 'builtin/echo' },
  });
  const { workflowCreate } = await client.request(CreateWorkflowDocument, {
    input: { organizationId, name: 'Deploy and ask', definition: DEFINITION },
  });
  const agentId = entityOf(agentCreate, 'making an agent').id;
  const workflowId = entityOf(workflowCreate, 'storing a workflow').id;
  const input = { stackId, environmentId, agentId };
  const { workflowRun } = await client.request(RunWorkflowDocument, { input: { workflowId, input } });
  const executionId = entityOf(workflowRun, 'running it').id;

  let last: State | null = null;
  let isAgreed = false;
  for await (const { executionStatus: state } of client.subscribe(WatchExecutionDocument, { executionId })) {
    showChanges(last, state);
    last = state;
    const asked = stepsOf(state).find(({ key, state: where }) => key === 'agree' && where === 'WAITING');
    if (!asked || isAgreed) continue;
    isAgreed = true;
    say(`"${asked.approval?.message}" Yes.`);
    const decision = { executionId, step: 'agree', approved: true };
    const { executionApprove } = await client.request(ApproveStepDocument, { input: decision });
    entityOf(executionApprove, 'agreeing');
  }
  if (last?.status !== 'COMPLETED') throw new DemoFailure(`the workflow is ${last?.status}: ${last?.statusReason}`);
  return last.output as string;
}

const stepsOf = (state: State | null) => state?.steps?.nodes ?? [];

function showChanges(before: State | null, now: State): void {
  const known = new Map(stepsOf(before).map(({ key, state }) => [key, state]));
  for (const { key, state, error } of stepsOf(now))
    if (known.get(key) !== state && state !== 'PENDING')
      say(`${key}: ${state.toLowerCase()}${error ? ` (${error})` : ''}`);
  if (before?.status !== now.status) say(`the workflow: ${now.status.toLowerCase()}`);
}
