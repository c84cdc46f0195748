import type { Pool } from 'pg';
import type { ActorType } from './event-log.ts';

/** How many events of the organization one statement passes by at most, selected or not. */
export const EVENT_SCAN_WINDOW = 1_000;
/** How many events retention takes at a time. */
export const PRUNE_BATCH = 1_000;

export type StoredEvent = {
  organizationId: string;
  sequence: number;
  id: string;
  type: string;
  occurredAt: Date;
  actorType: ActorType | null;
  actorId: string | null;
  subjectType: string | null;
  subjectId: string | null;
  data: Record<string, unknown>;
};

export type EventSelection = {
  /** Null: all. */
  types: readonly string[] | null;
  /** Only those whose data names this environment. Null cannot be one. Absent: whatever they name. */
  environmentId?: string | null;
};

export type EventRange = {
  events: StoredEvent[];
  /** Every selected event up to here is among them. */
  through: number;
  /** Whether there is nothing further at present. */
  isLast: boolean;
  /** Events after the position are no longer kept. */
  isGone: boolean;
};

/** Of the events `e`, as `StoredEvent`. */
export const EVENT_COLUMNS = `e.organization_id as "organizationId", e.sequence::float8 as sequence, e.id, e.type, e.occurred_at as "occurredAt",
  e.actor_type as "actorType", e.actor_id as "actorId", e.subject_type as "subjectType", e.subject_id as "subjectId", e.data`;

/** The first statement of a following, too: without a position it finds out where the end is. One statement, and so one snapshot. */
const READ_EVENTS = `
select h.last_sequence::float8 as head, kept.first::float8 as first, e.*
from event_heads h
left join lateral (select min(sequence) as first from events where organization_id = h.organization_id) kept on true
left join lateral (
  select ${EVENT_COLUMNS} from events e
  where e.organization_id = h.organization_id and e.sequence > $2 and e.sequence <= $2::bigint + $3
    and ($4::text[] is null or e.type = any($4)) and (not $5 or e.data->>'environmentId' = $6)
  order by e.sequence limit $7
) e on true
where h.organization_id = $1 order by e.sequence`;

/** The selected ones among the next events after a position, or none and the end where that is null. */
export async function readEvents(
  pool: Pool,
  organizationId: string,
  after: number | null,
  { types, environmentId, limit }: EventSelection & { limit: number },
): Promise<EventRange> {
  const { rows } = await pool.query<Partial<StoredEvent> & { head: number; first: number | null }>(READ_EVENTS, [
    organizationId,
    after ?? Number.MAX_SAFE_INTEGER,
    EVENT_SCAN_WINDOW,
    types,
    environmentId !== undefined,
    environmentId ?? null,
    limit,
  ]);
  const { head, first } = rows[0] ?? { head: 0, first: null };
  // A position beyond the events (of a database restored from a backup) must not hide those to come.
  const start = Math.min(after ?? head, head);
  const events = rows.flatMap(({ head: _head, first: _first, ...event }) => (event.id ? [event as StoredEvent] : []));
  const isFull = events.length === limit;
  const through = isFull ? events.at(-1)!.sequence : Math.min(head, start + EVENT_SCAN_WINDOW);
  return { events, through, isLast: through === head, isGone: start < head && (first ?? head + 1) > start + 1 };
}

/** What `readEvents` would select, of an event at hand. */
export function isSelected({ type, data }: StoredEvent, { types, environmentId }: EventSelection): boolean {
  if (types && !types.includes(type)) return false;
  return environmentId === undefined || (environmentId !== null && data.environmentId === environmentId);
}

/** Events by their ids, of organizations that the user is a member of, each with the user's role there. */
export async function findEvents(
  pool: Pool,
  userId: string,
  ids: readonly string[],
): Promise<(StoredEvent & { role: string })[]> {
  const { rows } = await pool.query<StoredEvent & { role: string }>(
    `select ${EVENT_COLUMNS}, m.role::text as role
     from events e join organization_members m on m.organization_id = e.organization_id and m.user_id = $1
     where e.id = any($2)`,
    [userId, ids],
  );
  return rows;
}

/** Where the events of organizations end at present, by organization id: after the newest one that is stored. */
export async function eventHeads(pool: Pool, organizationIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ id: string; head: number }>(
    'select organization_id as id, last_sequence::float8 as head from event_heads where organization_id = any($1)',
    [organizationIds],
  );
  return new Map(rows.map(({ id, head }) => [id, head]));
}

/** The same of all organizations that a user is a member of. */
export async function eventHeadsOf(pool: Pool, userId: string): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ id: string; head: number }>(
    `select m.organization_id as id, coalesce(h.last_sequence, 0)::float8 as head
     from organization_members m left join event_heads h using (organization_id) where m.user_id = $1`,
    [userId],
  );
  return new Map(rows.map(({ id, head }) => [id, head]));
}

/**
 * Deletes what happened before a time, from the beginning of each organization's events on, so that what is kept has no gaps. In small
 * transactions, which hold nobody up: events are only ever added at the other end. Returns how many went; an aborted signal leaves the rest.
 */
export async function pruneEvents(pool: Pool, before: Date, signal?: AbortSignal): Promise<number> {
  const { rows } = await pool.query<{ id: string }>(
    `select h.organization_id as id from event_heads h
     cross join lateral (select occurred_at from events e where e.organization_id = h.organization_id order by sequence limit 1) oldest
     where oldest.occurred_at < $1`,
    [before],
  );
  let pruned = 0;
  for (const { id } of rows) {
    for (let isMore = true; isMore && !signal?.aborted; ) {
      const { rowCount } = await pool.query(
        `with oldest as (
           select sequence, occurred_at from events where organization_id = $1 order by sequence limit $3
         )
         delete from events e using oldest o
         where e.organization_id = $1 and e.sequence = o.sequence
           and o.sequence < coalesce((select min(sequence) from oldest where occurred_at >= $2), $4)`,
        [id, before, PRUNE_BATCH, Number.MAX_SAFE_INTEGER],
      );
      pruned += rowCount ?? 0;
      isMore = rowCount === PRUNE_BATCH;
    }
  }
  return pruned;
}
