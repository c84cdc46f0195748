import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planRows, type Selection, tableOf } from '../../src/db/row-plan.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const SELECTIONS: Array<['deployment' | 'stack' | 'organization', Selection]> = [
  ['deployment', {}],
  ['deployment', { include: { stack: true, environment: true, createdBy: true, source: true } }],
  ['deployment', { select: { number: true, status: true, progress: true, createdAt: true, startedAt: true } }],
  [
    'deployment',
    { select: { id: true, stack: { select: { id: true, name: true } }, createdBy: { select: { id: true } } } },
  ],
  ['deployment', { select: { id: true, stack: { include: { organization: true } }, stackVersion: true } }],
  [
    'stack',
    { include: { organization: { select: { id: true, allowedRuntimes: true, settings: true, isActive: true } } } },
  ],
  ['organization', { include: {} }],
];
const BEYOND: Selection[] = [
  { include: { steps: true } },
  { include: { liveIn: true } },
  { select: { _count: true } },
  { select: { stack: { where: { name: 'x' } } } },
];

describe('planRows', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    await insertDeployments(database);
  });
  afterAll(() => database[Symbol.asyncDispose]());

  it.each(SELECTIONS)('should read what Prisma reads of a %s: %j', async (model, selection) => {
    const { prisma, pool } = database;
    const name = `${model[0]!.toUpperCase()}${model.slice(1)}` as 'Deployment';
    const plan = planRows(name, selection)!;
    const text = `select ${plan.columns} from ${tableOf(name)} x ${plan.joins} order by x.id`;
    const { rows } = await pool.query<unknown[]>({ text, rowMode: 'array' });
    const built = rows.map((values) => plan.build(values, 0)!);
    const expected = await prisma[model as 'deployment'].findMany({ ...selection, orderBy: { id: 'asc' } });
    expect(built.length).toBeGreaterThan(0);
    // The id is there besides, for whoever puts rows in order.
    for (const [index, row] of built.entries()) expect(row).toMatchObject(expected[index]!);
  });

  it.each(BEYOND)('should leave to Prisma what is more than rows and single rows beside them: %j', (selection) => {
    expect(planRows('Deployment', selection)).toBeNull();
  });

  it('should name a table and columns that exist for every model with an id', async () => {
    for (const model of Object.keys((await import('../../src/db/client.ts')).Prisma.ModelName)) {
      const plan = planRows(model as 'Deployment', {});
      if (plan) await database.pool.query(`select ${plan.columns} from ${tableOf(model)} x limit 0`);
    }
  });
});

/** Two deployments, one of them by nobody and from the other one's release. */
async function insertDeployments({ prisma }: TestDatabase): Promise<void> {
  const [organizationId, userId, environmentId, stackId, stackVersionId, stackEnvironmentId, first] = ids(7);
  const key = { username: 'ann', usernameKey: 'ann', email: 'a@example.org', emailKey: 'a@example.org' };
  await prisma.user.create({ data: { id: userId!, ...key, passwordHash: '' } });
  const organization = {
    name: 'Acme',
    slug: 'acme',
    settings: { a: [1, null] },
    allowedRuntimes: ['PROCESS', 'DOCKER'] as const,
  };
  await prisma.organization.create({
    data: { id: organizationId!, ...organization, allowedRuntimes: [...organization.allowedRuntimes] },
  });
  const named = { organizationId: organizationId!, name: 'Web', slug: 'web' };
  await prisma.environment.create({ data: { id: environmentId!, ...named, type: 'STAGING', runtime: 'SWARM' } });
  await prisma.stack.create({ data: { id: stackId!, ...named, currentNumber: 1 } });
  await prisma.stackVersion.create({
    data: { id: stackVersionId!, stackId: stackId!, number: 1, compose: 'x', services: [] },
  });
  const place = { stackId: stackId!, environmentId: environmentId! };
  await prisma.stackEnvironment.create({ data: { id: stackEnvironmentId!, ...place, lastNumber: 2 } });
  const deployment = {
    organizationId: organizationId!,
    ...place,
    stackVersionId: stackVersionId!,
    stackEnvironmentId: stackEnvironmentId!,
  };
  await prisma.deployment.create({
    data: { id: first!, ...deployment, number: 1, createdById: userId!, progress: 0.25 },
  });
  await prisma.deployment.create({
    data: { id: newId(), ...deployment, number: 2, sourceId: first!, startedAt: new Date() },
  });
}

function ids(count: number): string[] {
  return Array.from({ length: count }, () => newId());
}
