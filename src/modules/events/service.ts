import type { Role } from '../../db/generated/prisma/enums.ts';
import { encodeEventCursor } from '../../realtime/cursor.ts';
import { EVENT_RETENTION_MS, type EventsPage, followEvents } from '../../realtime/event-follower.ts';
import { eventHeads, eventHeadsOf, findEvents, pruneEvents, type StoredEvent } from '../../realtime/event-store.ts';
import { Feed } from '../../realtime/feed.ts';
import { accessTopic } from '../change.ts';
import { type Access, requireCaller } from '../organizations/access.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { requireThere } from '../still-there.ts';
import { mayRead, typesNamed } from './types.ts';

/** How many events a batch has at most. */
export const EVENTS_BATCH = 100;
/** A cursor that so many events passed, none of them for its reader, is moved by an empty batch: it must not grow too old. */
export const CURSOR_STRIDE = 1_000;

export type EventsRequest = {
  organizationId: string | null;
  /** A cursor of the organization: what came after it is told first. Absent: from now on. */
  after?: string | null;
  /** Types, or "deployment.*"; absent: all. */
  types?: readonly string[] | null;
};

export type EventBatch = {
  events: StoredEvent[];
  endCursor: string;
  live: boolean;
  /** Where it ends. */
  through: number;
  /** Nothing further had happened when it was read. */
  isNewest: boolean;
};

export type Events = {
  /** See `eventsFeed`. */
  follow(caller: Caller | null, request: EventsRequest, signal: AbortSignal): Feed<EventBatch>;
  /** Those of the events that the caller may read. */
  findMany(caller: Caller | null, ids: string[]): Promise<StoredEvent[]>;
  /** Cursors of where the feeds of organizations that the caller was shown end now, by organization id. */
  cursors(organizationIds: string[]): Promise<Map<string, string>>;
  /** The same of all organizations of the caller. */
  cursorsOf(caller: Caller): Promise<Map<string, string>>;
  /** Deletes what has served its time. */
  prune(now: Date, signal?: AbortSignal): Promise<number>;
};

export function createEvents(deps: ServiceDependencies & { access: Access }): Events {
  const { pool } = deps;
  return {
    follow: (caller, request, signal) => eventsFeed(deps, caller, request, signal),

    async findMany(caller, ids) {
      const found = await findEvents(pool, requireCaller(caller).userId, ids);
      return found.filter(({ role, type }) => mayRead(role as Role, type));
    },

    async cursors(ids) {
      const heads = await eventHeads(pool, ids);
      return new Map(ids.map((id) => [id, encodeEventCursor(id, heads.get(id) ?? 0)]));
    },

    async cursorsOf({ userId }) {
      const heads = await eventHeadsOf(pool, userId);
      return new Map([...heads].map(([id, head]) => [id, encodeEventCursor(id, head)]));
    },

    prune: (now, signal) => pruneEvents(pool, new Date(now.getTime() - EVENT_RETENTION_MS), signal),
  };
}

type FeedDependencies = Pick<ServiceDependencies, 'pool' | 'bus' | 'rights' | 'eventTails'> & { access: Access };

/**
 * Everything that the caller may read of an organization's events, as their role is when it is read: see `followEvents`. An empty batch
 * marks the turn to live. Opening it throws BadRequestError for types that there are none of, NotFoundError for who is no member, or no more.
 */
export function eventsFeed(
  { pool, bus, access, rights, eventTails: tails }: FeedDependencies,
  caller: Caller | null,
  { organizationId: id, after, types }: EventsRequest,
  signal: AbortSignal,
): Feed<EventBatch> {
  const authorize = () => access.requireOrganization(caller, id, 'organization:read');
  return new Feed(async () => {
    const { organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    const named = typesNamed(types);
    const typesOf = (standing: Role) => named.filter((type) => mayRead(standing, type));
    const common = { pool, bus, tails, limit: EVENTS_BATCH, load: async (events: StoredEvent[]) => events };
    return {
      topic: JSON.stringify(['events', organizationId, named, role]),
      own: () =>
        batchesOf(
          followEvents({
            ...common,
            signal,
            after,
            rightsTopic: accessTopic(userId),
            authorize,
            select: (standing) => ({ types: typesOf(standing.role) }),
          }),
          { live: false, signal },
        ),
      live: (position, end) =>
        batchesOf(
          followEvents({
            ...common,
            signal: end,
            after: encodeEventCursor(organizationId, position),
            authorize: async () => {
              await requireThere(pool, 'organization', organizationId);
              return { organizationId };
            },
            select: () => ({ types: typesOf(role) }),
          }),
          { live: true, signal: end },
        ),
      positionOf: ({ through }) => through,
      isLive: ({ live, isNewest }) => live && isNewest,
      rest: restOf,
      watchRights: (onChange) => rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

async function* batchesOf(
  pages: AsyncIterable<EventsPage<StoredEvent>>,
  { live, signal }: { live: boolean; signal: AbortSignal },
): AsyncGenerator<EventBatch> {
  let told: number | null = null;
  try {
    for await (const { items: events, endCursor, through, isLast: isNewest } of pages) {
      told ??= through;
      if (events.length > 0 || through - told >= CURSOR_STRIDE) {
        told = through;
        yield { events, endCursor, through, live, isNewest };
      }
      if (isNewest && !live) {
        live = true;
        told = through;
        yield { events: [], endCursor, through, live, isNewest };
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function restOf(batch: EventBatch, position: number): EventBatch | null {
  if (batch.through <= position) return null;
  const events = batch.events.filter(({ sequence }) => sequence > position);
  return events.length === batch.events.length ? batch : { ...batch, events };
}
