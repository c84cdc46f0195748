import { parseDocument } from 'yaml';
import {
  type DeploymentStateFragment,
  PlanDeploymentDocument,
  RollBackDeploymentDocument,
} from '../../schema/generated/graphql.ts';
import { type ApiClient, entityOf } from './api-client.ts';
import { deploy, type Place, storeVersion } from './deploying.ts';
import { DemoFailure } from './failure.ts';
import { followStatus, LogFollower } from './followers.ts';
import { heading, say } from './terminal.ts';

const REPLICAS = 2;

/** Plans version 3, with another greeting and two workers, and carries the plan out. Returns what is live then. */
export async function showPlan(client: ApiClient, place: Place, compose: string): Promise<DeploymentStateFragment> {
  const third = parseDocument(compose);
  third.setIn(['services', 'web', 'environment', 'GREETING'], 'Welcome');
  third.setIn(['services', 'worker', 'deploy'], { replicas: REPLICAS });
  await storeVersion(client, place, third.toString());

  heading('Plan version 3: another greeting, and two workers');
  const { stackId, environmentId } = place;
  const { deploymentPlan } = await client.request(PlanDeploymentDocument, { input: { stackId, environmentId } });
  const plan = entityOf(deploymentPlan, 'planning');
  for (const { service, action, fields } of plan.changes) {
    say(`${action.padEnd('UNCHANGED'.length)} ${service}`);
    for (const { path, before, after } of fields)
      say(`          ${path}: ${before ?? '(none)'} → ${after ?? '(none)'}`);
  }

  const begun = await deploy(client, place, 'Carry the plan out', plan.id);
  const log = new LogFollower(client, begun);
  const welcomed = log.waitFor('the new greeting', ({ message }) => message.startsWith('Welcome'));
  const [live] = await Promise.all([followStatus(client, begun.id, ['RUNNING']), welcomed]);
  const workers = live.services.find(({ name }) => name === 'worker')?.replicas ?? [];
  if (workers.length !== REPLICAS) throw new DemoFailure(`${workers.length} workers run, not ${REPLICAS}`);
  say(`replicas of worker: ${workers.map(({ number, state }) => `${number} ${state.toLowerCase()}`).join(', ')}`);
  return live;
}

/** Brings back what ran before version 3, exactly as it was. */
export async function showRollback(client: ApiClient, live: DeploymentStateFragment): Promise<DeploymentStateFragment> {
  heading('Roll back: run the release of #1 again');
  const { deploymentRollback } = await client.request(RollBackDeploymentDocument, { input: { deploymentId: live.id } });
  const begun = entityOf(deploymentRollback, 'rolling back');
  const log = new LogFollower(client, begun);
  const greeted = log.waitFor('the old greeting', ({ message }) => message.startsWith('Hello'));
  const [back] = await Promise.all([followStatus(client, begun.id, ['RUNNING']), greeted]);
  return back;
}
