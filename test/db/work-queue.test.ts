import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Lease } from '../../src/engine/host-lease.ts';
import { ReleaseStore } from '../../src/modules/deployments/release-store.ts';
import { createDeployments, type Deployments } from '../../src/modules/deployments/service.ts';
import { claimWork } from '../../src/modules/deployments/work-queue.ts';
import { HeldLock } from '../support/held-lock.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const COMPOSE = 'services: { web: { command: [sleep, "1000"] } }';

let tenants: Tenants;
let deployments: Deployments;
let lease: Lease;
let place: { stackId: string; environmentId: string };
beforeAll(async () => {
  tenants = await createTenants();
  const { acme, dependencies, services, database } = tenants;
  const { access } = services.organizations;
  const releases = new ReleaseStore({ ...dependencies, environments: services.environments });
  deployments = createDeployments({
    ...dependencies,
    ...services,
    access,
    releases,
    processRuntime: true,
    runtimeOf: () => null,
  });
  const environment = await services.environments.create(acme.owner, { organizationId: acme.id, name: 'dev' });
  const stack = await services.stacks.create(acme.owner, { organizationId: acme.id, name: 'web', compose: COMPOSE });
  place = { stackId: stack.id, environmentId: environment.id };
  const { id, epoch } = await database.prisma.host.findFirstOrThrow();
  lease = { hostId: id, epoch, signal: new AbortController().signal };
});
afterAll(async () => tenants?.[Symbol.asyncDispose]());

describe('claiming work', () => {
  it('should give a stack the queued deployment of the lowest number, once', async () => {
    const { acme, database } = tenants;
    const first = await deployments.create(acme.owner, place);
    const second = await deployments.create(acme.owner, place);
    const work = [{ deploymentId: first.id, status: 'QUEUED' }];
    expect(await claimWork(database.pool, lease)).toEqual(work);
    expect(await claimWork(database.pool, lease)).toEqual(work);
    await deployments.cancel(acme.owner, first.id);
    expect(await claimWork(database.pool, lease)).toEqual([{ deploymentId: second.id, status: 'QUEUED' }]);
    await deployments.cancel(acme.owner, second.id);
    expect(await claimWork(database.pool, lease)).toEqual([]);
  });

  it('should leave a stack idle whose deployment is cancelled at that moment', async () => {
    const { acme, database } = tenants;
    const { id } = await deployments.create(acme.owner, place);
    await using lock = new HeldLock(database.connection, 'select 1 from stack_environments for no key update');
    await lock.take();
    const cancelled = deployments.cancel(acme.owner, id);
    await lock.isWaitedFor();
    const claimed = claimWork(database.pool, lease);
    await lock.isWaitedFor(2);
    await lock[Symbol.asyncDispose]();
    expect((await cancelled).status).toBe('CANCELLED');
    expect(await claimed).toEqual([]);
    const { activeDeploymentId } = await database.prisma.stackEnvironment.findFirstOrThrow();
    expect(activeDeploymentId).toBeNull();
  });
});
