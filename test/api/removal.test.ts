import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import type { Registered } from '../support/api.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';

const KEEPER = `
services:
  keeper:
    command: ["sh", "-c", "echo kept > $$WINDFLOW_ROOT/data/file; echo runs as $$$$; exec sleep 1000"]
    volumes: ["data:/data"]
    ports: ["80"]
volumes: { data: {} }
`;
const DELETED = 'Deleted { id }';

let app: TestApp;
let superadmin: Registered;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  superadmin = await app.register();
  bystander = await addBystander(new Deployer(app, superadmin.accessToken, '', ''), { deploys: false });
});
afterAll(() => app[Symbol.asyncDispose]());

/** Everything that stacks left below the runtime directory: their private folders and those of their environments. */
async function leftOnHost(): Promise<string[]> {
  const entries = await Promise.all(
    ['s', 'e'].map((part) => readdir(join(app.runtimeDirectory, part), { recursive: true }).catch(() => [])),
  );
  return entries.flat();
}

const volumesLeft = async () => (await leftOnHost()).filter((path) => path.endsWith('volumes/data/file')).length;

const untilHostIsEmpty = () =>
  eventually('nothing left on the host', async () => {
    const { rowCount } = await app.database.pool.query('select 1 from stack_removals');
    return rowCount === 0 && (await leftOnHost()).length === 0;
  });

/** A stack with a volume, deployed, and the process id of its service. */
async function deployKeeper(deployer: Deployer): Promise<{ stackId: string; id: string; pid: number }> {
  const { stackId, id, status, statusReason } = await deployer.deployNew(KEEPER);
  expect([status, statusReason]).toEqual(['RUNNING', null]);
  const { message } = await deployer.untilLogged(id, 'runs as');
  return { stackId, id, pid: Number(/\d+/.exec(message)![0]) };
}

describe('what a deleted stack or environment leaves on its host', () => {
  it('should stay while anything is live, and then go with files, volumes and logs', async () => {
    const acme = await Deployer.create(app, superadmin, 'Acme');
    const { organizationId, environmentId } = acme;
    const { stackId, id } = await deployKeeper(acme);
    for (const [field, input] of Object.entries({
      stackDelete: { stackId },
      environmentDelete: { environmentId },
      organizationDelete: { organizationId },
    }))
      expect(await acme.try(field, DELETED, input)).toMatchObject({ __typename: 'ConflictError' });
    await acme.stop(id);
    expect(await volumesLeft()).toBe(1);
    expect((await leftOnHost()).filter((path) => path.endsWith('.seg'))).not.toEqual([]);

    await acme.mutate('stackDelete', DELETED, { stackId });
    await untilHostIsEmpty();
  });

  it('should go with the environment, stack by stack, and its user id with it for good', async () => {
    const acme = await Deployer.create(app, superadmin, 'Leavers');
    const [first, second] = [await deployKeeper(acme), await deployKeeper(acme)];
    await Promise.all([acme.stop(first.id), acme.stop(second.id)]);
    expect(await volumesLeft()).toBe(2);
    const former = await uidOffset(acme.environmentId);
    await acme.mutate('environmentDelete', DELETED, { environmentId: acme.environmentId });
    await untilHostIsEmpty();
    const { id } = await acme.newEnvironment('next');
    expect(await uidOffset(id)).toBeGreaterThan(former);
    expect(await acme.read(first.id)).toBeNull();
  });

  it('should go with the organization', async () => {
    const acme = await Deployer.create(app, superadmin, 'Passing');
    await acme.stop((await deployKeeper(acme)).id);
    expect(await volumesLeft()).toBe(1);
    await acme.mutate('organizationDelete', DELETED, { organizationId: acme.organizationId });
    await untilHostIsEmpty();
  });

  it('should be stopped first where a deployment ended without doing so', async () => {
    const acme = await Deployer.create(app, superadmin, 'Broken');
    const { stackId, id, pid } = await deployKeeper(acme);
    const { pool } = app.database;
    await pool.query(
      `with ended as (update deployments set status = 'FAILED', finished_at = now() where id = $1 returning id)
       update stack_environments set live_deployment_id = null where live_deployment_id = (select id from ended)`,
      [decodeIdOf('Deployment', id)],
    );
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    await acme.mutate('stackDelete', DELETED, { stackId });
    await untilHostIsEmpty();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());

async function uidOffset(environmentId: string): Promise<number> {
  const id = decodeIdOf('Environment', environmentId)!;
  return (await app.database.prisma.environment.findUniqueOrThrow({ where: { id } })).uidOffset!;
}
