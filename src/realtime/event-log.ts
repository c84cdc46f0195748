import { newId } from '../shared/ids.ts';
import { notifyTopics } from './bus.ts';
import type { EventType } from './event-types.ts';
import { execute, type PrismaSqlExecutor, type SqlExecutor } from './sql.ts';

/** Who did something: a person, or what acts in a person's name; the server itself has no id. */
export type Actor = { type: 'user' | 'agent' | 'workflow' | 'api_key'; id: string } | { type: 'system'; id: null };
export type ActorType = Actor['type'];

/** Something that happened in an organization. `data` is small, JSON, and free of secrets. */
export type NewEvent = {
  organizationId: string;
  /** Subject, then what became of it. */
  type: EventType;
  actor: Actor | null;
  subject: { type: string; id: string } | null;
  data?: Record<string, unknown>;
};

/** The topic that wakes whoever follows an organization's events. */
export const eventsTopic = (organizationId: string): string => `events:${organizationId}`;

const APPEND_EVENTS = `
with given as (
  select ordinal, event from jsonb_array_elements($2::jsonb) with ordinality as g(event, ordinal)
), head as (
  insert into event_heads as h (organization_id, last_sequence)
  select $1::uuid, count(*) from given
  on conflict (organization_id) do update set last_sequence = h.last_sequence + excluded.last_sequence
  returning last_sequence
)
insert into events (organization_id, sequence, id, type, actor_type, actor_id, subject_type, subject_id, data)
select $1::uuid, head.last_sequence - (select count(*) from given) + ordinal,
       (event->>'id')::uuid, event->>'type', event->>'actorType', (event->>'actorId')::uuid,
       event->>'subjectType', (event->>'subjectId')::uuid, event->'data'
from given, head`;

/**
 * Appends events in the caller's transaction and wakes their followers when it commits. Must be its last statements:
 * the counter's row lock, held until the commit, is what makes the order of sequences the order of commits.
 */
export async function appendEvents(
  executor: SqlExecutor | PrismaSqlExecutor,
  events: readonly NewEvent[],
): Promise<void> {
  const byOrganization = Map.groupBy(events, (event) => event.organizationId);
  // Always in the order of ids: two transactions that touch the same organizations cannot deadlock.
  const organizationIds = [...byOrganization.keys()].sort();
  // Before the counters are taken, which everybody else waits for from then on.
  await notifyTopics(executor, organizationIds.map(eventsTopic));
  for (const organizationId of organizationIds) {
    const rows = byOrganization.get(organizationId)!.map((event) => ({
      id: newId(),
      type: event.type,
      actorType: event.actor?.type ?? null,
      actorId: event.actor?.id ?? null,
      subjectType: event.subject?.type ?? null,
      subjectId: event.subject?.id ?? null,
      data: event.data ?? {},
    }));
    await execute(executor, APPEND_EVENTS, [organizationId, JSON.stringify(rows)]);
  }
}
