import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appendEvents, type NewEvent } from '../../src/realtime/event-log.ts';
import { newId } from '../../src/shared/ids.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => database?.[Symbol.asyncDispose]());

const event = (organizationId: string, type: NewEvent['type']): NewEvent => ({
  organizationId,
  type,
  actor: { type: 'user', id: newId() },
  subject: { type: 'stack', id: newId() },
  data: { name: 'hello "world"' },
});

async function stored(organizationId: string): Promise<{ sequence: number; type: string; data: unknown }[]> {
  const { rows } = await database.pool.query(
    'select sequence::int, type, data from events where organization_id = $1 order by sequence',
    [organizationId],
  );
  return rows;
}

describe('appendEvents', () => {
  it('should number the events of each organization from 1, in the order given', async () => {
    const [a, b] = [newId(), newId()];
    await appendEvents(database.pool, [
      event(a, 'stack.created'),
      event(b, 'stack.created'),
      event(a, 'stack.updated'),
    ]);
    await appendEvents(database.pool, [event(a, 'stack.deleted')]);
    expect(await stored(a)).toEqual([
      { sequence: 1, type: 'stack.created', data: { name: 'hello "world"' } },
      { sequence: 2, type: 'stack.updated', data: { name: 'hello "world"' } },
      { sequence: 3, type: 'stack.deleted', data: { name: 'hello "world"' } },
    ]);
    expect(await stored(b)).toHaveLength(1);
  });

  it("should work inside Prisma's transactions and take no number when one is rolled back", async () => {
    const organization = newId();
    await database.prisma.$transaction((tx) => appendEvents(tx, [event(organization, 'stack.created')]));
    const failing = database.prisma.$transaction(async (tx) => {
      await appendEvents(tx, [event(organization, 'stack.updated')]);
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    await database.prisma.$transaction((tx) =>
      appendEvents(tx, [{ organizationId: organization, type: 'stack.deleted', actor: null, subject: null }]),
    );
    expect((await stored(organization)).map(({ sequence, type }) => [sequence, type])).toEqual([
      [1, 'stack.created'],
      [2, 'stack.deleted'],
    ]);
  });

  it('should keep numbers without gaps and never deadlock when transactions touch the same organizations', async () => {
    const organizations = [newId(), newId(), newId()];
    const writers = Array.from({ length: 30 }, (_, index) => {
      const order = index % 2 ? organizations : organizations.toReversed();
      return database.prisma.$transaction((tx) =>
        appendEvents(
          tx,
          order.map((id) => event(id, index % 2 ? 'stack.created' : 'stack.updated')),
        ),
      );
    });
    await Promise.all(writers);
    for (const id of organizations) {
      expect((await stored(id)).map((row) => row.sequence)).toEqual(
        Array.from({ length: 30 }, (_, index) => index + 1),
      );
    }
  });
});
