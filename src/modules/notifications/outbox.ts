import type { Pool, PoolClient } from 'pg';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { newId } from '../../shared/ids.ts';
import { dataOf, subjectIdOf } from '../events/types.ts';
import { inTransaction } from '../lease-transaction.ts';
import { eventMessage, type NamedEvent, type Payload } from './messages.ts';

/** How many organizations, and events of each, one transaction passes by at most. */
const ORGANIZATIONS_AT_ONCE = 20;
const EVENTS_AT_ONCE = 500;
/** Of the steps that wait for people so many are told. */
const MAX_ASKING_STEPS = 10;

/** Events of an organization that were not looked at: after one sequence, up to another. */
type Span = { organizationId: string; after: number; through: number };
type MatchedEvent = NamedEvent & { id: string; subjectId: string | null; occurredAt: Date; channelIds: string[] };

/**
 * Makes deliveries of what happened since the last look, and moves the cursors past it, in one transaction: no event is left out, and
 * none told twice. Organizations that another server works on at present are left to it. Answers whether it did anything: there may be more.
 */
export async function tellChannels(pool: Pool): Promise<boolean> {
  return inTransaction(pool, async (client) => {
    const spans = await lockSpans(client);
    if (spans.length === 0) return false;
    await addDeliveries(client, await matchedEvents(client, spans));
    await client.query(
      `update notification_cursors k set sequence = s.through
       from jsonb_to_recordset($1) s("organizationId" uuid, through bigint) where k.organization_id = s."organizationId"`,
      [JSON.stringify(spans)],
    );
    return true;
  });
}

async function lockSpans(client: PoolClient): Promise<Span[]> {
  const { rows } = await client.query<Span>({
    name: 'lock-notification-cursors',
    text: `
      select k.organization_id as "organizationId", k.sequence::float8 as after,
             least(h.last_sequence, k.sequence + $2)::float8 as through
      from notification_cursors k join event_heads h on h.organization_id = k.organization_id
      where h.last_sequence > k.sequence
      order by k.organization_id limit $1 for no key update of k skip locked`,
    values: [ORGANIZATIONS_AT_ONCE, EVENTS_AT_ONCE],
  });
  return rows;
}

const ENVIRONMENT = `(select v.name from environments v where v.id = e.subject_id and v.organization_id = e.organization_id)`;
/** The name of what an event is about: as it is now, and none where it is gone. */
const SUBJECT = `
  case split_part(e.type, '.', 1)
    when 'execution' then (
      select coalesce(w.name, a.name, x.definition->>'name')
      from executions x left join workflows w on w.id = x.workflow_id left join agents a on a.id = x.agent_id
      where x.id = e.subject_id and x.organization_id = e.organization_id)
    when 'workflow' then (select w.name from workflows w where w.id = e.subject_id and w.organization_id = e.organization_id)
    when 'agent' then (select a.name from agents a where a.id = e.subject_id and a.organization_id = e.organization_id)
    when 'stack' then (select s.name from stacks s where s.id = e.subject_id and s.organization_id = e.organization_id)
    when 'notificationChannel' then (
      select c.name from notification_channels c where c.id = e.subject_id and c.organization_id = e.organization_id)
    when 'environment' then ${ENVIRONMENT}
    when 'variable' then ${ENVIRONMENT}
  end`;
/** What the steps asked that waited for people when it happened, whatever was decided since. */
const ASKED = `
  case when e.type = 'execution.waiting' then (
    select coalesce(jsonb_agg(jsonb_build_object('step', q.key, 'message', q.message) order by q.position), '[]')
    from (
      select s.position, s.key, coalesce(left(s.approval->>'message', 1000), '') as message
      from execution_steps s join executions x on x.id = s.execution_id
      where x.id = e.subject_id and x.organization_id = e.organization_id and s.approval is not null
        and s.started_at <= e.occurred_at and (s.finished_at is null or s.finished_at > e.occurred_at)
      order by s.position limit ${MAX_ASKING_STEPS}
    ) q
  ) else '[]' end`;

/** The events that somebody is told of, in order. */
async function matchedEvents(client: PoolClient, spans: readonly Span[]): Promise<MatchedEvent[]> {
  const { rows } = await client.query<MatchedEvent>({
    name: 'match-notification-events',
    text: `
      select e.id, e.type, e.occurred_at as "occurredAt", e.subject_id as "subjectId", e.data, t.ids as "channelIds",
             s.name as stack, v.name as environment, ${SUBJECT} as subject, ${ASKED} as asked
      from jsonb_to_recordset($1) span("organizationId" uuid, after bigint, through bigint)
      join events e on e.organization_id = span."organizationId" and e.sequence > span.after and e.sequence <= span.through
      join lateral (
        select array_agg(c.id) as ids from notification_channels c
        where c.organization_id = e.organization_id and c.is_enabled and c.follows_after < e.sequence
          and c.event_types && array[e.type, split_part(e.type, '.', 1) || '.*']
      ) t on t.ids is not null
      left join stacks s on s.organization_id = e.organization_id and s.id::text = e.data->>'stackId'
      left join environments v on v.organization_id = e.organization_id and v.id::text = e.data->>'environmentId'
      order by e.organization_id, e.sequence`,
    values: [JSON.stringify(spans)],
  });
  return rows;
}

async function addDeliveries(client: PoolClient, events: readonly MatchedEvent[]): Promise<void> {
  const rows = events.flatMap((event) => {
    const payload: Payload = {
      eventId: encodeGlobalId('Event', event.id),
      occurredAt: event.occurredAt.toISOString(),
      subjectId: subjectIdOf(event),
      data: dataOf(event),
    };
    const told = { key: `event:${event.id}`, eventType: event.type, eventId: event.id, payload };
    return event.channelIds.map((channelId) => ({ id: newId(), channelId, ...told, message: eventMessage(event) }));
  });
  if (rows.length === 0) return;
  // The clock, not the transaction's time: what comes later in the feed is due later, whichever server began first.
  await client.query({
    name: 'add-notification-deliveries',
    text: `
      insert into notification_deliveries (id, channel_id, key, event_type, event_id, message, payload, created_at, next_attempt_at)
      select d.id, d."channelId", d.key, d."eventType", d."eventId", d.message, d.payload, clock_timestamp(), clock_timestamp()
      from jsonb_to_recordset($1) d(id uuid, "channelId" uuid, key text, "eventType" text, "eventId" uuid, message text, payload jsonb)
      on conflict (channel_id, key) do nothing`,
    values: [JSON.stringify(rows)],
  });
}
