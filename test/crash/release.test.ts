import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectionUrl } from '../../src/engine/durable.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { HeldLock } from '../support/held-lock.ts';
import { HttpReceiver } from '../support/http-receiver.ts';
import { ModelServer } from '../support/model-server.ts';
import { startServer } from '../support/server.ts';
import { type Ending, type Release, ReleaseWorld, review } from './release-world.ts';

/** A crash of the server in one of the steps of a release. */
type Scene = {
  /** What is under way. */
  name: string;
  ending: Ending;
  isApproved: boolean;
  /** Before the release begins. */
  prepare?(release: Release): void;
  /** Resolves where the crash is to happen; what it holds is let go of after that. */
  reached(release: Release): Promise<unknown>;
  /** Before the next start of the server. */
  letGo?(release: Release): Promise<void> | void;
  /** How often the model is asked for each of its turns. */
  asked?: [number, number];
};

const STEPS_LOCK = 'lock table execution_steps in share mode';

const SCENES: Scene[] = [
  {
    name: 'the deployment to staging',
    ending: 'bad-check',
    isApproved: false,
    prepare: ({ staging }) => staging.close('a', 2),
    reached: (release) => release.isStarted(release.staging, 2),
    letGo: ({ staging }) => staging.open('a', 2),
  },
  {
    name: 'a turn of the agent, while it streams',
    ending: 'bad-check',
    isApproved: false,
    prepare: () => {
      models.answers = [{ hangsAfter: 'Let me' }, review];
    },
    reached: () => eventually('the model is asked', () => models.answers.length === 1),
    asked: [2, 1],
  },
  {
    name: 'a call of a tool by the agent, done and not recorded',
    ending: 'bad-check',
    isApproved: false,
    prepare: () => {
      models.answers = [(asked) => ({ ...review(asked), pauseMs: 500 }), review];
    },
    async reached() {
      await eventually('the model is asked', () => models.answers.length === 1);
      // The turn waits for the first lock and the second one waits for the turn: what comes next waits for that.
      const turn = new HeldLock(database.connection, STEPS_LOCK);
      await turn.take();
      await turn.isWaitedFor();
      const call = new HeldLock(database.connection, STEPS_LOCK);
      const taken = call.take();
      await turn.isWaitedFor(2);
      await turn[Symbol.asyncDispose]();
      await taken;
      await call.isWaitedFor();
      return call;
    },
  },
  {
    name: 'the wait for an approval',
    ending: 'well',
    isApproved: false,
    reached: (release) => release.isAt('approval', 'WAITING'),
  },
  {
    name: 'the deployment to production',
    ending: 'bad-service',
    isApproved: true,
    prepare: ({ production }) => production.close('a', 2),
    reached: (release) => release.isStarted(release.production, 2),
    letGo: ({ production }) => production.open('a', 2),
  },
  {
    name: 'the check, its answer held back',
    ending: 'bad-check',
    isApproved: true,
    prepare: ({ checkPath }) => web.hold(checkPath),
    reached: ({ checkPath }) => eventually('it is checked', () => web.of(checkPath).length > 0),
    letGo: ({ checkPath }) => web.letGo(checkPath),
  },
  {
    name: 'the rollback',
    ending: 'bad-check',
    isApproved: true,
    prepare: ({ checkPath }) => web.hold(checkPath),
    async reached(release) {
      const { production, checkPath } = release;
      await eventually('it is checked', () => web.of(checkPath).length > 0);
      production.close('a', 1);
      web.letGo(checkPath);
      await release.isStarted(production, 1, 2);
    },
    letGo: ({ production }) => production.open('a', 1),
  },
  {
    name: 'the notification, its answer held back',
    ending: 'bad-check',
    isApproved: true,
    prepare: ({ tellPath }) => web.hold(tellPath),
    reached: ({ tellPath }) => eventually('it is told', () => web.of(tellPath).length > 0),
    letGo(release) {
      web.letGo(release.tellPath);
      return release.letClaimsEnd();
    },
  },
];

let started: AsyncDisposableStack;
let database: TestDatabase;
let models: ModelServer;
let web: HttpReceiver;
let world: ReleaseWorld;
const undisturbed = new Map<Ending, object>();

beforeAll(async () => {
  started = new AsyncDisposableStack();
  database = started.use(await createTestDatabase());
  models = started.use(await ModelServer.start());
  web = started.use(await HttpReceiver.start());
  const env = { LLM_BASE_URL: models.url, LLM_MODEL: 'test/model', WINDFLOW_ALLOWED_ADDRESSES: '127.0.0.1' };
  const server = started.use(await startServer({ databaseUrl: connectionUrl(database.connection), env }));
  world = await ReleaseWorld.create({ server, models, web, database });
  const endings: Ending[] = ['well', 'bad-check', 'bad-service'];
  await Promise.all(endings.map(async (ending) => undisturbed.set(ending, await run(ending, null))));
});
afterAll(() => started?.[Symbol.asyncDispose]());

describe('a release by a workflow', () => {
  it('should go to production where all is well', () => {
    expect(undisturbed.get('well')).toMatchObject({
      release: { status: 'COMPLETED', output: { isReleased: true, review: 'Nothing speaks against it.' } },
      deployments: [
        { environment: 'dev', number: 1, status: 'RUNNING', trigger: 'WORKFLOW', version: 2 },
        { environment: 'production', number: 1, status: 'SUPERSEDED' },
        { environment: 'production', number: 2, status: 'RUNNING', trigger: 'WORKFLOW', version: 2 },
      ],
      running: [
        ['a2', 'b2'],
        ['a2', 'b2'],
      ],
      effects: [1, 0],
    });
  });

  it('should go back, and tell of it, where production answers wrongly', () => {
    expect(undisturbed.get('bad-check')).toMatchObject({
      release: { status: 'FAILED', statusReason: 'check: the answer was 500' },
      deployments: [
        { environment: 'dev', status: 'RUNNING' },
        { environment: 'production', number: 1, status: 'SUPERSEDED' },
        { environment: 'production', number: 2, status: 'SUPERSEDED' },
        { environment: 'production', number: 3, status: 'RUNNING', trigger: 'ROLLBACK', version: 1 },
      ],
      running: [
        ['a2', 'b2'],
        ['a1', 'b1'],
      ],
      effects: [2, 1],
    });
  });

  it('should find what ran before restored, and tell of it, where production does not come up', () => {
    expect(undisturbed.get('bad-service')).toMatchObject({
      release: { status: 'FAILED', statusReason: expect.stringMatching(/^production: deployment 2 is failed: /) },
      deployments: [
        { environment: 'dev', status: 'RUNNING' },
        { environment: 'production', number: 1, status: 'RUNNING' },
        { environment: 'production', number: 2, status: 'FAILED' },
      ],
      running: [
        ['a2', 'b2'],
        ['a1', 'b1'],
      ],
      effects: [0, 1],
    });
  });
});

describe('kill -9 of the server in each step of a release', () => {
  it.each(SCENES)('should end as an undisturbed run does: $name', async (scene) => {
    expect(await run(scene.ending, scene)).toEqual(undisturbed.get(scene.ending));
  });
});

async function run(ending: Ending, scene: Scene | null): Promise<object> {
  const release = await world.newRelease(ending);
  scene?.prepare?.(release);
  await release.begin();
  if (!scene || scene.isApproved) await release.approve();
  if (scene) {
    const held = (await scene.reached(release)) as AsyncDisposable | undefined;
    const { server } = world.parts;
    await server.kill9();
    await held?.[Symbol.asyncDispose]?.();
    await scene.letGo?.(release);
    await server.start();
    if (!scene.isApproved) await release.approve();
  }
  const end = await release.end();
  await release.stop();
  expect(release.asked()).toEqual(scene?.asked ?? [1, 1]);
  return end;
}
