import type { Pool } from 'pg';
import type { NotificationChannelKind } from '../../db/generated/prisma/enums.ts';
import type { SqlExecutor } from '../../realtime/sql.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { newId } from '../../shared/ids.ts';
import { inTransaction } from '../lease-transaction.ts';
import type { Told } from './messages.ts';

/** Beyond what an attempt takes: whoever has it by then is gone, and somebody else tries. */
export const CLAIM_MS = MINUTE_MS;

/** A delivery that is this process's to send, until its claim is over. */
export type ClaimedDelivery = Told & {
  channelId: string;
  kind: NotificationChannelKind;
  isEnabled: boolean;
  /** Sealed. */
  configuration: string;
  /** This one included. */
  attempts: number;
  /** The claim: what became of the attempt counts as long as it is the same. */
  claimedUntil: Date;
};

export type Outcome =
  /** `error`: who was not told, where a part was. */
  | { status: 'SENT'; error: string | null }
  | { status: 'FAILED'; error: string }
  | { status: 'PENDING'; error: string; delayMs: number };

const IS_DUE = `d.status = 'PENDING' and d.next_attempt_at <= now() and (d.claimed_until is null or d.claimed_until <= now())`;
const IS_IN_HAND = `select 1 from notification_deliveries o where o.channel_id = c.id and o.status = 'PENDING' and o.claimed_until > now()`;
const CLAIMED = `d.id, d.event_type as "eventType", d.message, d.payload, d.created_at as "createdAt", d.attempts,
  d.claimed_until as "claimedUntil", c.id as "channelId", c.organization_id as "organizationId", c.kind::text as kind,
  c.is_enabled as "isEnabled", c.configuration`;

/**
 * Takes the oldest due delivery of each of up to so many channels, by lot where there are more: nobody's slow receivers hold up all
 * others. A channel has one in hand at a time, whichever server has it: what
 * need not be tried again arrives in order.
 */
export async function claimDeliveries(pool: Pool, limit: number): Promise<ClaimedDelivery[]> {
  if (limit <= 0) return [];
  return inTransaction(pool, async (client) => {
    const { rows: channels } = await client.query<{ id: string }>({
      name: 'lock-notification-channels',
      text: `
        with due as (select distinct d.channel_id from notification_deliveries d where ${IS_DUE})
        select c.id from notification_channels c join due on due.channel_id = c.id
        where not exists (${IS_IN_HAND}) order by random() limit $1 for no key update of c skip locked`,
      values: [limit],
    });
    if (channels.length === 0) return [];
    // A statement of its own: it sees what those did who had the channels until now.
    const { rows } = await client.query<ClaimedDelivery>({
      name: 'claim-notification-deliveries',
      text: `
        with oldest as (
          select distinct on (d.channel_id) d.id
          from notification_deliveries d join notification_channels c on c.id = d.channel_id
          where c.id = any($1) and ${IS_DUE} and not exists (${IS_IN_HAND})
          order by d.channel_id, d.next_attempt_at, d.id
        )
        update notification_deliveries d
          set attempts = d.attempts + 1, last_attempt_at = now(), claimed_until = now() + make_interval(secs => $2)
        from oldest, notification_channels c where d.id = oldest.id and c.id = d.channel_id
        returning ${CLAIMED}`,
      values: [channels.map(({ id }) => id), CLAIM_MS / 1_000],
    });
    return rows;
  });
}

/** A delivery for a test of the channel, claimed from the start; null: the channel is gone. */
export async function addTestDelivery(db: SqlExecutor, channelId: string, message: string) {
  const id = newId();
  const { rows } = await db.query<ClaimedDelivery>(
    `with d as (
       insert into notification_deliveries (id, channel_id, key, event_type, message, attempts, last_attempt_at, claimed_until)
       select $1, c.id, 'test:' || $1::uuid, 'notification.test', $3, 1, now(), now() + make_interval(secs => $4)
       from notification_channels c where c.id = $2
       returning *
     )
     select ${CLAIMED} from d join notification_channels c on c.id = d.channel_id`,
    [id, channelId, message, CLAIM_MS / 1_000],
  );
  return rows[0] ?? null;
}

/** Writes what became of an attempt, unless the delivery is not this process's any more. */
export async function storeOutcome(
  db: SqlExecutor,
  { id, claimedUntil }: ClaimedDelivery,
  outcome: Outcome,
): Promise<void> {
  const { status, error } = outcome;
  await db.query(
    `update notification_deliveries
     set status = $3::text::"NotificationDeliveryStatus", error = $4, claimed_until = null,
         sent_at = case when $3 = 'SENT' then now() end, next_attempt_at = now() + make_interval(secs => $5)
     where id = $1 and claimed_until = $2 and status = 'PENDING'`,
    [id, claimedUntil, status, error, outcome.status === 'PENDING' ? outcome.delayMs / 1_000 : 0],
  );
}
