import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import type { Registered } from '../support/api.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { addBystander, type Bystander } from '../support/bystander.ts';
import { service, stack } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';
import { eventually } from '../support/eventually.ts';
import { valuesInProcesses } from '../support/host-processes.ts';
import { seededRandom } from '../support/seeded-random.ts';

const CREATIONS = 12;
const USERS_AT_ONCE = 3;
const SEED = Number(process.env.WINDFLOW_TEST_SEED ?? 1);
const TEST_TIMEOUT_MS = 60_000;
const DEPLOYMENT = 'Deployment { id status }';
const DELETED = 'Deleted { id }';
/** What a request may meet: what it asks for is there, is gone, or something else is under way. */
const ANSWERS = ['Deployment', 'Deleted', 'NotFoundError', 'ConflictError', 'ValidationError'];

let app: TestApp;
let superadmin: Registered;
let bystander: Bystander;
beforeAll(async () => {
  app = await startApp();
  superadmin = await app.register();
  bystander = await addBystander(new Deployer(app, superadmin.accessToken, '', ''), { deploys: false });
});
afterAll(() => app[Symbol.asyncDispose]());

/** What is left of a stack in an environment, in the database and on the host. */
async function leftOver(stackId: string, environmentId: string, word: string): Promise<object> {
  const { rows } = await app.database.pool.query(
    `select (select count(*)::int from deployments where stack_id = $1 or environment_id = $2) as deployments,
            (select count(*)::int from stack_environments where stack_id = $1 or environment_id = $2) as places,
            (select count(*)::int from instances i where not exists
               (select 1 from stack_environments se where se.id = i.stack_environment_id)) as instances,
            (select count(*)::int from log_heads h where not exists
               (select 1 from deployments d where d.id = h.deployment_id)) as logs,
            (select count(*)::int from stack_removals) as removals`,
    [decodeIdOf('Stack', stackId), decodeIdOf('Environment', environmentId)],
  );
  const folders = await readdir(join(app.runtimeDirectory, 's')).catch(() => []);
  const processes = valuesInProcesses('ORDER').filter((value) => value === word);
  return { ...rows[0], folders: folders.length, processes: processes.length };
}
const NOTHING = { deployments: 0, places: 0, instances: 0, logs: 0, removals: 0, folders: 0, processes: 0 };

describe('a deletion among creations, rollbacks, cancels and stops', { timeout: TEST_TIMEOUT_MS }, () => {
  it.each([
    'stackDelete',
    'environmentDelete',
  ])(`should be refused until nothing runs, then win, and leave nothing: %s (seed ${SEED})`, async (field) => {
    const random = seededRandom(SEED);
    const acme = await Deployer.create(app, superadmin, `Acme ${field}`);
    const { environmentId } = acme;
    const word = `removal-${process.pid}-${field}`;
    const stackId = await acme.newStack(
      stack(service('web', 'exec sleep 1000', `environment: { ORDER: "${word}" }`)),
      field.toLowerCase(),
    );
    const known = [(await acme.deploy(stackId)).id];
    let creations = 0;
    let isGone = false;
    const answers: { __typename: string }[] = [];
    const ask = async (mutation: string, input: object) => {
      const answer = await acme.try(mutation, DEPLOYMENT, input);
      answers.push(answer);
      if (answer.__typename === 'Deployment' && !known.includes(answer.id)) known.push(answer.id);
    };
    const create = async () => {
      creations++;
      const deploymentId = known.at(-1)!;
      const [mutation, input] = random.pick([
        ['deploymentCreate', { stackId, environmentId }],
        ['deploymentRedeploy', { deploymentId }],
        ['deploymentRollback', { deploymentId }],
      ] as const);
      await ask(mutation, input);
    };
    const end = () => ask(random.pick(['deploymentCancel', 'deploymentStop']), { deploymentId: random.pick(known) });

    const user = async () => {
      while (!isGone) await (creations < CREATIONS && random.below(4) === 0 ? create() : end());
    };
    const deleter = async () => {
      while (!isGone) {
        const answer = await acme.try(field, DELETED, field === 'stackDelete' ? { stackId } : { environmentId });
        answers.push(answer);
        isGone = answer.__typename === 'Deleted';
      }
    };
    await Promise.all([deleter(), ...Array.from({ length: USERS_AT_ONCE }, user)]);

    expect(answers.filter(({ __typename }) => !ANSWERS.includes(__typename))).toEqual([]);
    expect((await acme.tryDeploy(stackId)).__typename).toBe('NotFoundError');
    for (const deploymentId of known.slice(-2))
      for (const mutation of ['deploymentRollback', 'deploymentRedeploy', 'deploymentCancel', 'deploymentStop'])
        expect((await acme.try(mutation, DEPLOYMENT, { deploymentId })).__typename).toBe('NotFoundError');
    let left: object = {};
    await eventually('nothing is left', async () => {
      left = await leftOver(stackId, environmentId, word);
      return JSON.stringify(left) === JSON.stringify(NOTHING);
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(left)}`);
    });
  });
});

it('should all have left another tenant as it was', () => bystander.expectUntouched());
