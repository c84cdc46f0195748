import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '../../src/shared/ids.ts';
import { type Registered, startTestApi, type TestApi } from '../support/api.ts';
import type { TestApp } from '../support/app.ts';
import { Deployer } from '../support/deployer.ts';
import { createTenantObjects, rowsAbout } from '../support/tenant-objects.ts';

const ROUNDS = 6;
const COMPOSE = 'services: { web: { command: [sleep, "1000"] } }';
const DELETED = 'Deleted { id }';

// No server works for its host here: what is created stays QUEUED.
let api: TestApi;
let superadmin: Registered;
let app: TestApp;
/** Of a tenant who does nothing. */
let others: string[];
let rowsOfOthers: string[];
beforeAll(async () => {
  api = await startTestApi();
  const host = { id: newId(), machineId: 'test', runtimeDirectory: '/nowhere', name: 'test' };
  await api.database.prisma.host.create({ data: host });
  superadmin = await api.register();
  const connect = () => {
    throw new Error('not needed here');
  };
  app = { ...api, runtimeDirectory: host.runtimeDirectory, connect };
  const root = new Deployer(app, superadmin.accessToken, '', '');
  others = Object.values(await createTenantObjects(app, root, await api.register()));
  rowsOfOthers = await rowsAbout(api.database, others);
});
afterAll(() => api[Symbol.asyncDispose]());

describe('a deletion and a creation at the same moment', () => {
  for (const field of ['stackDelete', 'environmentDelete', 'organizationDelete'])
    it(`should let ${field} or deploymentCreate win, and tell the other one so`, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const acme = await Deployer.create(app, superadmin, `Acme ${round}`);
        const stackId = await acme.newStack(COMPOSE);
        const { organizationId, environmentId } = acme;
        const input = { stackDelete: { stackId }, environmentDelete: { environmentId } }[field] ?? { organizationId };
        const creations = [1, 2, 3].map(() => acme.tryDeploy(stackId));
        const deletion = acme.try(field, DELETED, input);
        const [deleted, ...created] = (await Promise.all([deletion, ...creations])).map((it) => it.__typename);
        const made = created.filter((it) => it === 'Deployment').length;
        expect(deleted).toBe(made > 0 ? 'ConflictError' : 'Deleted');
        expect(created.filter((it) => it !== 'Deployment' && it !== 'NotFoundError')).toEqual([]);
        if (deleted === 'Deleted') expect(made).toBe(0);
      }
    });

  it('should never be a fault of the server, whatever is created in an organization that goes', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const acme = await Deployer.create(app, superadmin, `Acme ${round}`);
      const { organizationId, environmentId } = acme;
      const answers = await Promise.all([
        acme.try('environmentCreate', 'Environment { id }', { organizationId, name: 'late' }),
        acme.try('stackCreate', 'Stack { id }', { organizationId, name: 'late', compose: COMPOSE }),
        acme.try('environmentVariableSet', 'Environment { id }', { environmentId, name: 'LATE', value: '1' }),
        acme.mutate('organizationDelete', DELETED, { organizationId }),
        acme.try('environmentDelete', DELETED, { environmentId }),
      ]);
      const codes = answers.flatMap(({ code }) => code ?? []);
      expect(codes.filter((code) => code !== 'NOT_FOUND')).toEqual([]);
    }
  });

  it('should end when a stack and its environment are deleted together', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const acme = await Deployer.create(app, superadmin, `Acme ${round}`);
      const { environmentId } = acme;
      const stacks = await Promise.all(['one', 'two'].map((name) => acme.newStack(COMPOSE, name)));
      for (const stackId of stacks) {
        const { id } = await acme.begin(stackId);
        expect((await acme.tryCancel(id)).__typename).toBe('Deployment');
      }
      const deletions = await Promise.all([
        ...stacks.map((stackId) => acme.try('stackDelete', DELETED, { stackId })),
        acme.try('environmentDelete', DELETED, { environmentId }),
      ]);
      expect(deletions.map((it) => it.__typename)).toEqual(['Deleted', 'Deleted', 'Deleted']);
    }
    const { rows } = await api.database.pool.query('select count(*)::int as noted from stack_removals');
    expect(rows[0]).toEqual({ noted: ROUNDS * 2 });
  });
});

it('should all have left another tenant as it was', async () => {
  expect(await rowsAbout(api.database, others)).toEqual(rowsOfOthers);
});
