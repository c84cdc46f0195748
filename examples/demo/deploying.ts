import {
  CreateDeploymentDocument,
  type DeploymentStateFragment,
  UpdateStackDocument,
} from '../../schema/generated/graphql.ts';
import { type ApiClient, entityOf } from './api-client.ts';
import { heading } from './terminal.ts';

/** What the demo deploys, and where. */
export type Place = { organizationId: string; stackId: string; environmentId: string };

/** Stores another version of the stack's compose file. */
export async function storeVersion(client: ApiClient, { stackId }: Place, compose: string): Promise<void> {
  const { stackUpdate } = await client.request(UpdateStackDocument, { input: { stackId, compose } });
  entityOf(stackUpdate, 'storing another version');
}

/** Asks for a deployment of the newest version, or of what a plan says. */
export async function deploy(
  client: ApiClient,
  { stackId, environmentId }: Place,
  title: string,
  planId?: string,
): Promise<DeploymentStateFragment> {
  heading(title);
  const { deploymentCreate } = await client.request(CreateDeploymentDocument, {
    input: { stackId, environmentId, planId },
  });
  return entityOf(deploymentCreate, 'asking for a deployment');
}
