import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accessTopic } from '../../src/modules/change.ts';
import {
  CHANGES_PAGE,
  type ChangesDependencies,
  type ChangesRequest,
  changesFeed,
  type DeploymentChange,
} from '../../src/modules/deployments/changes.ts';
import { ReleaseStore } from '../../src/modules/deployments/release-store.ts';
import { createDeployments, type Deployments } from '../../src/modules/deployments/service.ts';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import type { NewEvent } from '../../src/realtime/event-log.ts';
import { createPostgresBus } from '../../src/realtime/postgres-bus.ts';
import { createLogger } from '../../src/shared/logger.ts';
import { eventually } from '../support/eventually.ts';
import { storeEvents } from '../support/stored-events.ts';
import { createTenants, type Tenants } from '../support/tenants.ts';

const COMPOSE = 'services: { web: { command: [sleep, "1000"] } }';

let tenants: Tenants;
let deployments: Deployments;
let environmentId: string;
/** Ids of deployments that nobody works on: their events are made here. */
let known: string[];
let beginning: string;
beforeAll(async () => {
  tenants = await createTenants();
  const { acme, dependencies, services } = tenants;
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
  environmentId = (await services.environments.create(acme.owner, { organizationId: acme.id, name: 'dev' })).id;
  known = [];
  for (const name of ['one', 'two', 'three']) {
    const stack = await services.stacks.create(acme.owner, { organizationId: acme.id, name, compose: COMPOSE });
    known.push((await deployments.create(acme.owner, { stackId: stack.id, environmentId })).id);
  }
  beginning = encodeEventCursor(acme.id, 0);
});
afterAll(async () => tenants?.[Symbol.asyncDispose]());

/** A change as a transition records it; the number tells it apart from others. */
const changed = (index: number): NewEvent => ({
  organizationId: tenants.acme.id,
  type: 'deployment.degraded',
  actor: null,
  subject: { type: 'Deployment', id: known[index % known.length]! },
  data: { status: index % 2 ? 'DEGRADED' : 'RUNNING', previousStatus: 'VERIFYING', environmentId },
});
const unrelated = (): NewEvent => ({
  organizationId: tenants.acme.id,
  type: 'variable.set',
  actor: null,
  subject: { type: 'environment', id: environmentId },
});
const append = (...events: NewEvent[]) => storeEvents(tenants.database.pool, events);
const told = ({ deployment, status }: DeploymentChange) => `${deployment.id} ${status}`;

/** After the newest event of all: a change, where the test made it last. */
async function newestCursor(): Promise<string> {
  const { rows } = await tenants.database.pool.query<{ last: string }>(
    'select last_sequence as last from event_heads where organization_id = $1',
    [tenants.acme.id],
  );
  return encodeEventCursor(tenants.acme.id, Number(rows[0]!.last));
}

type Follower = { changes: DeploymentChange[]; end: Promise<unknown>; stop(): Promise<unknown> };

/** Parts and caller other than the usual ones are given; the signal ends it. */
function start(
  request: Partial<ChangesRequest> = {},
  deps: Partial<ChangesDependencies> = {},
  caller = tenants.acme.viewer,
) {
  const { pool } = tenants.database;
  const { access } = tenants.services.organizations;
  const parts: ChangesDependencies = {
    pool,
    bus: tenants.dependencies.bus,
    rights: tenants.dependencies.rights,
    eventTails: tenants.dependencies.eventTails,
    access,
    load: (_organizationId, ids) => deployments.findMany(caller, ids),
    ...deps,
  };
  const over = new AbortController();
  const feed = changesFeed(parts, caller, { organizationId: tenants.acme.id, ...request }, over.signal);
  return { source: feed[Symbol.asyncIterator](), over };
}

/** Reads on until it ends; `end` resolves with what ended it. */
function follow(...args: Parameters<typeof start>): Follower {
  const { source, over } = start(...args);
  const changes: DeploymentChange[] = [];
  const end = (async () => {
    for await (const change of source) changes.push(change);
    return 'the end';
  })().catch((error: unknown) => error);
  return {
    changes,
    end,
    stop: () => {
      over.abort();
      return end;
    },
  };
}

describe('changesFeed', () => {
  it('should tell many pages of changes among other events, then go on live, each once', async () => {
    const stored = Array.from({ length: 3 * CHANGES_PAGE }, (_, index) => index);
    for (const index of stored) if (index % 50 === 0) await append(...stored.slice(index, index + 50).map(changed));
    // More than a page that has nothing to tell.
    await append(...Array.from({ length: 2 * CHANGES_PAGE }, unrelated));
    await append(changed(1), unrelated(), changed(2));
    const loads: number[] = [];
    const load: ChangesDependencies['load'] = (_organizationId, ids) => {
      loads.push(ids.length);
      return deployments.findMany(tenants.acme.viewer, ids);
    };
    const { changes, stop } = follow({ after: beginning }, { load });
    await eventually('the stored ones', () => changes.length === known.length + stored.length + 2);
    expect(changes.slice(0, known.length).map(({ status, previousStatus }) => [status, previousStatus])).toEqual(
      known.map(() => ['QUEUED', null]),
    );
    expect(loads.length).toBeLessThanOrEqual(6);
    expect(Math.max(...loads)).toBe(known.length);
    for (let index = 0; index < 20; index++) await append(changed(index));
    await eventually('the live ones', () => changes.length === known.length + stored.length + 22);
    expect(await stop()).toBe('the end');
    const expected = [...stored, 1, 2, ...stored.slice(0, 20)].map((index) => {
      const { subject, data } = changed(index);
      return `${subject!.id} ${data!.status}`;
    });
    expect(changes.slice(known.length).map(told)).toEqual(expected);
    expect(new Set(changes.map(({ endCursor }) => endCursor)).size).toBe(changes.length);

    const middle = changes[CHANGES_PAGE + 7]!;
    const rest = follow({ after: middle.endCursor });
    await eventually('the rest', () => rest.changes.at(-1)?.endCursor === changes.at(-1)!.endCursor);
    const ofChange = ({ isNewest: _, ...change }: DeploymentChange) => change;
    expect(rest.changes.map(ofChange)).toEqual(changes.slice(CHANGES_PAGE + 8).map(ofChange));
    await rest.stop();
  });

  it('should hold no more than a page for a reader that is slow', async () => {
    const { source, over } = start({ after: beginning });
    const first = (await source.next()).value!;
    await append(changed(5));
    const second = (await source.next()).value!;
    expect(first.endCursor).not.toBe(second.endCursor);
    over.abort();
    // What it holds is told; nothing more is read.
    let left = 0;
    for await (const _ of source) left++;
    expect(left).toBeLessThan(CHANGES_PAGE);
  });

  it('should go on from the newest event after a cursor of a database that was restored', async () => {
    const { changes, stop } = follow({ after: encodeEventCursor(tenants.acme.id, 1_000_000) });
    await eventually('a change', async () => {
      await append(changed(1));
      return changes.length > 0;
    });
    await stop();
  });

  it('should end in the middle of a page when it is no longer allowed, also where nobody said so', async () => {
    const { acme, database, dependencies, addMember } = tenants;
    const remove = ({ userId }: { userId: string }) =>
      database.prisma.organizationMember.deleteMany({ where: { userId, organizationId: acme.id } });

    const warned = await addMember(acme.id, 'VIEWER');
    const { source } = start({ after: beginning }, {}, warned);
    expect((await source.next()).done).toBe(false);
    await remove(warned);
    let isTold = false;
    dependencies.bus.subscribe(accessTopic(warned.userId), () => {
      isTold = true;
    });
    await dependencies.bus.notify(database.pool, accessTopic(warned.userId));
    await eventually('the announcement', () => isTold);
    await expect(source.next()).rejects.toMatchObject({ code: 'NOT_FOUND' });

    const unwarned = await addMember(acme.id, 'VIEWER');
    let time = 0;
    const { source: other } = start({ after: beginning }, { now: () => time }, unwarned);
    expect((await other.next()).done).toBe(false);
    await remove(unwarned);
    time += 5_000;
    await expect(other.next()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('should find what it was not woken for: changes, and the end of membership', async () => {
    const { acme, database, addMember } = tenants;
    // Never started: it hears nothing.
    const bus = createPostgresBus(database.connection, createLogger('silent'));
    const gone = await addMember(acme.id, 'VIEWER');
    const newest = await newestCursor();
    const staying = follow({ after: beginning }, { bus });
    const leaving = follow({ after: beginning }, { bus }, gone);
    for (const { changes } of [staying, leaving])
      await eventually('the stored ones', () => changes.at(-1)?.endCursor === newest);
    await database.prisma.organizationMember.deleteMany({ where: { userId: gone.userId } });
    await append(changed(1));
    const added = await newestCursor();
    expect(await leaving.end).toMatchObject({ code: 'NOT_FOUND' });
    expect(leaving.changes.at(-1)!.endCursor).toBe(newest);
    await eventually('the new one', () => staying.changes.at(-1)?.endCursor === added);
    await staying.stop();
  });

  it('should go on after the database was away', async () => {
    const { changes, stop } = follow({ after: beginning });
    await eventually('the stored ones', () => changes.length > 0);
    for (let round = 1; round <= 3; round++) {
      await append(changed(round));
      await tenants.database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'windflow%' and pid <> pg_backend_pid()`,
      );
    }
    const newest = await newestCursor();
    await eventually('the newest', () => changes.at(-1)?.endCursor === newest);
    await stop();
    expect(new Set(changes.map(({ endCursor }) => endCursor)).size).toBe(changes.length);
  });
});
