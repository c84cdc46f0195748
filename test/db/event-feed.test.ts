import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Role } from '../../src/db/generated/prisma/enums.ts';
import { accessTopic } from '../../src/modules/change.ts';
import { changesFeed } from '../../src/modules/deployments/changes.ts';
import { CURSOR_STRIDE, type EventBatch, type EventsRequest, eventsFeed } from '../../src/modules/events/service.ts';
import type { Caller } from '../../src/modules/services.ts';
import { encodeEventCursor } from '../../src/realtime/cursor.ts';
import { EVENT_RETENTION_MS } from '../../src/realtime/event-follower.ts';
import type { NewEvent } from '../../src/realtime/event-log.ts';
import { EVENT_SCAN_WINDOW, PRUNE_BATCH, readEvents } from '../../src/realtime/event-store.ts';
import { ALL_EVENT_TYPES } from '../../src/realtime/event-types.ts';
import { newId } from '../../src/shared/ids.ts';
import { eventually } from '../support/eventually.ts';
import { countStatements } from '../support/query-count.ts';
import { storeEvents } from '../support/stored-events.ts';
import { createTenants, type Tenant, type Tenants } from '../support/tenants.ts';

let tenants: Tenants;
let acme: Tenant;
beforeAll(async () => {
  tenants = await createTenants();
  acme = tenants.acme;
});
afterAll(async () => tenants?.[Symbol.asyncDispose]());

const event = (type: NewEvent['type'], data: NewEvent['data'] = {}, organizationId = acme.id): NewEvent => ({
  organizationId,
  type,
  actor: null,
  subject: null,
  data,
});
const append = (...events: NewEvent[]) => storeEvents(tenants.database.pool, events);
const many = (count: number, type: NewEvent['type'] = 'stack.updated', organizationId = acme.id) =>
  append(...Array.from({ length: count }, (_, index) => event(type, { version: index }, organizationId)));
const cursorNow = async (id = acme.id) => (await tenants.services.events.cursors([id])).get(id)!;

type Follower = { batches: EventBatch[]; end: Promise<unknown>; stop(): Promise<unknown> };

function follow(request: Partial<EventsRequest> = {}, caller: Caller = acme.viewer): Follower {
  const { pool } = tenants.database;
  const over = new AbortController();
  const { bus, rights, eventTails } = tenants.dependencies;
  const deps = { pool, bus, rights, eventTails, access: tenants.services.organizations.access };
  const source = eventsFeed(deps, caller, { organizationId: acme.id, ...request }, over.signal);
  const batches: EventBatch[] = [];
  const end = (async () => {
    for await (const batch of source) batches.push(batch);
    return 'the end';
  })().catch((error: unknown) => error);
  return {
    batches,
    end,
    stop: () => {
      over.abort();
      return end;
    },
  };
}
const typesOf = ({ batches }: Follower) => batches.flatMap(({ events }) => events.map(({ type }) => type));
const untilLive = ({ batches }: Follower) => eventually('the turn to live', () => batches.some(({ live }) => live));

describe('eventsFeed', () => {
  it('should find the few among many, and move the cursor past the others', async () => {
    const after = await cursorNow();
    await append(event('stack.created'));
    await many(EVENT_SCAN_WINDOW + CURSOR_STRIDE);
    await append(event('stack.deleted'));
    const follower = follow({ after, types: ['stack.created', 'stack.deleted'] });
    await untilLive(follower);
    expect(typesOf(follower)).toEqual(['stack.created', 'stack.deleted']);
    const { length } = follower.batches;
    await many(2 * CURSOR_STRIDE);
    await eventually('an empty batch', () => follower.batches.length > length);
    expect(follower.batches[length]).toMatchObject({ events: [], live: true });
    const moved = follower.batches[length]!.endCursor;
    expect(moved).not.toBe(follower.batches[length - 1]!.endCursor);
    await append(event('stack.created'));
    await eventually('the new one', () => typesOf(follower).length === 3);
    await follower.stop();
    const rest = follow({ after: moved, types: ['stack.created'] });
    await untilLive(rest);
    expect(typesOf(rest)).toEqual(['stack.created']);
    await rest.stop();
  });

  it('should tell followers of other types and roles what is theirs from what was read once', async () => {
    const viewer = follow();
    const owner = follow({}, acme.owner);
    const some = follow({ types: ['stack.deleted', 'invitation.created'] }, acme.owner);
    const all = [viewer, owner, some];
    await Promise.all(all.map(untilLive));
    const types = ['stack.created', 'invitation.created', 'stack.deleted'] as const;
    const rounds = 5;
    // Each event is read once; the look at rights is one more for each follower.
    const statements = await countStatements(async () => {
      for (let round = 1; round <= rounds; round++) {
        await append(...types.map((type) => event(type)));
        await eventually('all', () => [2, 3, 2].every((count, i) => typesOf(all[i]!).length === count * round));
      }
    });
    const [ofAppending, ofReading] = [4, 2];
    expect(statements).toBeLessThanOrEqual(rounds * (ofAppending + ofReading + all.length));
    expect(typesOf(viewer).slice(-2)).toEqual(['stack.created', 'stack.deleted']);
    expect(typesOf(owner).slice(-3)).toEqual([...types]);
    expect(typesOf(some).slice(-2)).toEqual(['invitation.created', 'stack.deleted']);
    const after = some.batches.at(-1)!.endCursor;
    await Promise.all(all.map(({ stop }) => stop()));
    const rest = follow({ after });
    await untilLive(rest);
    expect(typesOf(rest)).toEqual([]);
    await rest.stop();
  });

  it('should notice another role where nobody announced it', async () => {
    const member = await tenants.addMember(acme.id, 'VIEWER');
    const follower = follow({}, member);
    await untilLive(follower);
    const become = (role: Role) =>
      tenants.database.prisma.organizationMember.updateMany({ where: { userId: member.userId }, data: { role } });
    await append(event('invitation.created'), event('stack.created'));
    await eventually('the first', () => typesOf(follower).length > 0);
    await become('ADMIN');
    await append(event('invitation.revoked'), event('stack.deleted'));
    await eventually('the second', () => typesOf(follower).includes('stack.deleted'));
    expect(typesOf(follower)).toEqual(['stack.created', 'invitation.revoked', 'stack.deleted']);
    await tenants.database.prisma.organizationMember.deleteMany({ where: { userId: member.userId } });
    await append(event('stack.created'));
    expect(await follower.end).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('should end at once when membership does, and be told to nobody else', async () => {
    const leaving = await tenants.addMember(acme.id, 'VIEWER');
    const [gone, staying] = [follow({}, leaving), follow()];
    await Promise.all([untilLive(gone), untilLive(staying)]);
    const { database, dependencies } = tenants;
    await database.prisma.organizationMember.deleteMany({ where: { userId: leaving.userId } });
    await dependencies.bus.notify(database.pool, accessTopic(leaving.userId));
    expect(await gone.end).toMatchObject({ code: 'NOT_FOUND' });
    expect(await staying.stop()).toBe('the end');
    expect(await follow({}, tenants.rival.owner).end).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('should go on after the database was away, with nothing missing or doubled', async () => {
    const follower = follow({ after: await cursorNow() });
    await untilLive(follower);
    for (let round = 0; round < 3; round++) {
      await append(event('stack.created', { name: `${round}` }));
      await tenants.database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'windflow%' and pid <> pg_backend_pid()`,
      );
    }
    await eventually('all of them', () => typesOf(follower).length >= 3);
    await follower.stop();
    const names = follower.batches.flatMap(({ events }) => events.map(({ data }) => data.name));
    expect(names).toEqual(['0', '1', '2']);
  });

  it('should go on from the newest event after a cursor of a database that was restored', async () => {
    const follower = follow({ after: encodeEventCursor(acme.id, 1_000_000) });
    await untilLive(follower);
    await append(event('stack.created'));
    await eventually('an event', () => typesOf(follower).length === 1);
    await follower.stop();
  });

  it('should know nothing yet of an organization in which nothing happened', async () => {
    const { id } = await tenants.services.organizations.create(acme.owner, { name: 'Quiet' });
    for (const table of ['events', 'event_heads'])
      await tenants.database.pool.query(`delete from ${table} where organization_id = $1`, [id]);
    const follower = follow({ organizationId: id }, acme.owner);
    await untilLive(follower);
    expect(follower.batches).toMatchObject([{ events: [], endCursor: encodeEventCursor(id, 0), live: true }]);
    expect(follower.batches[0]!.endCursor).toBe(await cursorNow(id));
    await many(1, 'stack.created', id);
    await eventually('the first event', () => typesOf(follower).length === 1);
    await follower.stop();
  });
});

describe('retention', () => {
  const age = (organizationId: string, from: number, to: number, ms = EVENT_RETENTION_MS + 1_000) =>
    tenants.database.pool.query(
      `update events set occurred_at = now() - make_interval(secs => $4) where organization_id = $1 and sequence between $2 and $3`,
      [organizationId, from, to, ms / 1_000],
    );
  const kept = async (id: string) => {
    const { rows } = await tenants.database.pool.query<{ sequence: number }>(
      'select sequence::int as sequence from events where organization_id = $1 order by 1',
      [id],
    );
    return rows.map(({ sequence }) => sequence);
  };
  const prune = () => tenants.services.events.prune(new Date());

  it('should take what is old from the beginning, and no gap from what is young', async () => {
    const [old, young, mixed] = [newId(), newId(), newId()];
    await many(2 * PRUNE_BATCH + 5, 'stack.created', old);
    await age(old, 1, 2 * PRUNE_BATCH + 3);
    await many(3, 'stack.created', young);
    await many(6, 'stack.created', mixed);
    await age(mixed, 1, 2);
    await age(mixed, 4, 5);
    await age(mixed, 3, 3, EVENT_RETENTION_MS - 60_000);
    expect(await prune()).toBe(2 * PRUNE_BATCH + 3 + 2);
    expect(await kept(old)).toEqual([2 * PRUNE_BATCH + 4, 2 * PRUNE_BATCH + 5]);
    expect(await kept(young)).toEqual([1, 2, 3]);
    expect(await kept(mixed)).toEqual([3, 4, 5, 6]);
    expect(await prune()).toBe(0);
    await many(1, 'stack.created', old);
    expect((await kept(old)).at(-1)).toBe(2 * PRUNE_BATCH + 6);
    const selection = { types: ALL_EVENT_TYPES, limit: 10 };
    const { pool } = tenants.database;
    expect(await readEvents(pool, old, 2 * PRUNE_BATCH + 3, selection)).toMatchObject({ isGone: false, isLast: true });
    expect(await readEvents(pool, old, 2 * PRUNE_BATCH + 2, selection)).toMatchObject({ isGone: true });
  });

  it('should have a cursor that is too old refused, by events and deploymentsChanged alike', async () => {
    const { id } = await tenants.services.organizations.create(acme.owner, { name: 'Old' });
    await many(4, 'stack.created', id);
    const head = 5;
    const end = encodeEventCursor(id, head);
    await age(id, 1, 3);
    await prune();
    const refusal = { code: 'BAD_REQUEST', message: expect.stringContaining('kept for 90 days') };
    for (const sequence of [0, 2]) {
      const after = encodeEventCursor(id, sequence);
      expect(await follow({ organizationId: id, after }, acme.owner).end).toMatchObject(refusal);
      const { pool } = tenants.database;
      const { bus, rights, eventTails } = tenants.dependencies;
      const deps = { pool, bus, rights, eventTails, access: tenants.services.organizations.access };
      const request = { organizationId: id, after };
      const changes = changesFeed({ ...deps, load: async () => [] }, acme.owner, request, new AbortController().signal);
      await expect(Array.fromAsync(changes)).rejects.toMatchObject(refusal);
    }
    for (const [sequence, count] of [
      [3, 2],
      [4, 1],
      [5, 0],
    ] as const) {
      const follower = follow({ organizationId: id, after: encodeEventCursor(id, sequence) }, acme.owner);
      await untilLive(follower);
      expect(typesOf(follower).length).toBe(count);
      await follower.stop();
    }
    // Where nothing happened for so long that nothing is kept, the end is still a place to go on from.
    await age(id, 1, head);
    await prune();
    expect(await kept(id)).toEqual([]);
    expect(await cursorNow(id)).toBe(end);
    const follower = follow({ organizationId: id, after: end }, acme.owner);
    await untilLive(follower);
    await many(1, 'stack.deleted', id);
    await eventually('the new one', () => typesOf(follower).length === 1);
    await follower.stop();
    expect(await follow({ organizationId: id, after: encodeEventCursor(id, head - 1) }, acme.owner).end).toMatchObject(
      refusal,
    );
  });
});
