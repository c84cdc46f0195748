import { expect } from 'vitest';
import { service, stack } from './compose-stacks.ts';
import type { Deployer } from './deployer.ts';

/** Another tenant, who does nothing while a test file does what it does in the first one. */
export type Bystander = {
  /** Fails where anything of it is not as it was, or where it sees anything of the other tenant. */
  expectUntouched(): Promise<void>;
};

const REPLICA = 'number instance state restarts exitCode startedAt ports { published }';
const EVERYTHING = `{ viewer { organizations(first: 1) { totalCount nodes { name slug isActive updatedAt viewerRole
  members(first: 1) { totalCount nodes { id role } }
  environments(first: 1) { totalCount nodes { name variables { name value updatedAt } deployments(first: 1) { totalCount } } }
  stacks(first: 1) { totalCount nodes { name updatedAt lastDeployedAt currentVersion { number compose }
    deployments(first: 1) { totalCount nodes { id number revision status statusReason liveAt finishedAt
      services { name state replicas { ${REPLICA} } } logs(first: 100) { nodes { sequence message } } } } } } } } } }`;
const SEE = 'query ($ids: [ID!]!) { nodes(ids: $ids) { id } }';
/** Looks and names like what tests deploy. */
const COMPOSE = stack(service('web', 'echo untouched; exec sleep 1000'), service('db', 'exec sleep 1000'));

/** Begins it, on the same host, by the superadmin's leave: with a deployment that runs, unless the host is to stay empty. */
export async function addBystander(superadmin: Deployer, options: { deploys?: boolean } = {}): Promise<Bystander> {
  const rival = await superadmin.newTenant('Acme');
  await rival.setVariable('WORD', 'untouched');
  if (options.deploys === false) {
    await rival.newStack(COMPOSE);
  } else {
    const { id } = await rival.deployNew(COMPOSE);
    await rival.untilLogged(id, 'untouched');
  }
  const before = await rival.ask(EVERYTHING);
  return {
    async expectUntouched() {
      expect(await rival.ask(EVERYTHING)).toEqual(before);
      const ids = [superadmin.organizationId, superadmin.environmentId].filter((id) => id !== '');
      expect(await rival.ask(SEE, { ids })).toEqual({ nodes: ids.map(() => null) });
    },
  };
}
