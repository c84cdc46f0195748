import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../support/app.ts';
import { service, stack, whenOk } from '../support/compose-stacks.ts';
import { Deployer } from '../support/deployer.ts';

const HOLD = 'exec sleep 86400';
/** Healthy from its first moment on. */
const GOOD = stack(service('web', `touch ok; echo good; ${HOLD}`, whenOk('0s')));
/** Healthy for long enough to go live, and then not any more. */
const FADING = stack(service('web', `touch ok; echo fading; sleep 2; rm ok; ${HOLD}`, whenOk('0s')));
/** The same, but the first time: then it is well. */
const FADING_LATER = stack(
  service('web', `touch ok; if [ -e seen ]; then sleep 2; rm ok; fi; touch seen; ${HOLD}`, whenOk('0s')),
);
const CRASHING = stack(service('web', 'sleep 2; echo no config >&2; exit 3', 'restart: always'));
const LIST = `query ($org: ID!, $stack: ID!) { deployments(organizationId: $org, filter: { stackId: $stack }, first: 20) {
  nodes { id number status statusReason trigger watchUntil createdBy { __typename } rollbackOf { number } } } }`;

type Listed = {
  id: string;
  number: number;
  status: string;
  statusReason: string | null;
  trigger: string;
  watchUntil: string | null;
  createdBy: object | null;
  rollbackOf: { number: number } | null;
};

describe('a deployment that fails soon after it went live', () => {
  let app: TestApp;
  let acme: Deployer;
  beforeAll(async () => {
    app = await startApp();
    acme = await Deployer.create(app, null, 'Acme');
  });
  afterAll(() => app[Symbol.asyncDispose]());

  const listed = async (stackId: string): Promise<Listed[]> => {
    const { deployments } = await acme.ask(LIST, { org: acme.organizationId, stack: stackId });
    return deployments.nodes.toSorted((a: Listed, b: Listed) => a.number - b.number);
  };
  /** Deploys the one, then the other; returns the second. */
  const follow = async (before: string, after: string, input: object = {}) => {
    const { stackId } = await acme.deployNew(before);
    await acme.changeStack(stackId, after);
    const { id, status } = await acme.deploy(stackId, input);
    expect(['RUNNING', 'DEGRADED', 'SUPERSEDED']).toContain(status);
    return { stackId, id };
  };

  it.each([
    ['health checks that fail', FADING, 'health check'],
    ['a crash loop', CRASHING, 'exited with code 3 (no config)'],
  ])('should make way for what ran before: %s', async (_, bad, why) => {
    const { stackId, id } = await follow(GOOD, bad);
    await acme.until(id, ['SUPERSEDED']);
    const [, , reverting] = await listed(stackId);
    expect(reverting).toMatchObject({ number: 3, trigger: 'ROLLBACK', createdBy: null, rollbackOf: { number: 2 } });
    expect(reverting!.watchUntil).toBeNull();
    await acme.until(reverting!.id, ['RUNNING']);
    expect(await acme.output(reverting!.id)).toContain('web: good');
    const told = await acme.log(id, { streams: ['SYSTEM'], search: 'failed while it was watched' });
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ level: 'ERROR', message: expect.stringContaining(why) });
    expect(told[0]!.message).toContain('what ran before is brought back');
    expect(await listed(stackId)).toHaveLength(3);
  });

  it('should be left DEGRADED where it is not watched', async () => {
    for (const input of [{ watchSeconds: 0 }, { autoRollback: false }]) {
      const { stackId, id } = await follow(GOOD, FADING, input);
      await acme.until(id, ['DEGRADED']);
      expect((await listed(stackId)).map(({ watchUntil }) => watchUntil)).toEqual([null, null]);
      await acme.deploy(await acme.newStack(GOOD, `after ${JSON.stringify(input)}`));
      expect((await listed(stackId)).map(({ status }) => status)).toEqual(['SUPERSEDED', 'DEGRADED']);
    }
  });

  it('should be brought back once: what was brought back and fails too stays', async () => {
    const { stackId, id } = await follow(FADING_LATER, FADING);
    await acme.until(id, ['SUPERSEDED']);
    const [, , reverting] = await listed(stackId);
    await acme.until(reverting!.id, ['DEGRADED']);
    await acme.deploy(await acme.newStack(GOOD, 'after'));
    expect((await listed(stackId)).map(({ status }) => status)).toEqual(['SUPERSEDED', 'SUPERSEDED', 'DEGRADED']);
  });

  it('should not be watched where nothing ran before', async () => {
    const { id, stackId } = await acme.deployNew(FADING);
    await acme.until(id, ['DEGRADED']);
    expect((await listed(stackId))[0]).toMatchObject({ watchUntil: null });
  });

  it('should be watched for as long as was asked for', async () => {
    const { stackId } = await acme.deployNew(GOOD);
    await acme.changeStack(stackId, GOOD.replace('echo good', 'echo better'));
    await acme.deploy(stackId, { watchSeconds: 1_000 });
    const [, second] = await listed(stackId);
    expect(Date.parse(second!.watchUntil!) - Date.now()).toBeGreaterThan(900_000);
    expect((await acme.tryDeploy(stackId, { watchSeconds: -1 })).__typename).toBe('ValidationError');
    expect((await acme.tryDeploy(stackId, { watchSeconds: 3_601 })).__typename).toBe('ValidationError');
  });
});
