import type { Pool } from 'pg';
import type { NotificationDeliveryStatus } from '../../db/generated/prisma/enums.ts';
import { type Bus, notifyTopics } from '../../realtime/bus.ts';
import type { SqlExecutor } from '../../realtime/sql.ts';
import { DAY_MS, SECOND_MS } from '../../shared/clock.ts';
import { ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { cut } from './messages.ts';

/** Wakes whoever sends notifications. */
export const NOTIFICATIONS_TOPIC = 'notifications';
/** Wakes whoever waits for what becomes of a message. */
export const deliveryTopic = (deliveryId: string): string => `notification:${deliveryId}`;
/** The type of deliveries that `notify` makes. */
export const MESSAGE_TYPE = 'notification.message';
/** Wake-ups may be lost: a delivery that somebody waits for is looked at again so often. */
const LOOK_MS = 5 * SECOND_MS;
/** How long deliveries are kept, whatever became of them. */
export const DELIVERY_RETENTION_MS = 30 * DAY_MS;
export const MAX_MESSAGE_LENGTH = 10_000;
const PRUNE_BATCH = 1_000;

export type Notification = {
  /** Null cannot be one. */
  channelId: string | null;
  /** Whose the channel has to be. */
  organizationId: string;
  /** Beyond 10,000 characters it is cut; may not be empty. */
  message: string;
  /** A channel is told of the same key once, however often it is asked for. */
  key: string;
};

/**
 * Has a message sent to a channel: when the transaction commits, where `db` is one. Answers with the delivery's id, the same for the
 * same key. @throws {NotFoundError | ValidationError} where the organization has no such channel, or there is nothing to send
 */
export async function notify(db: SqlExecutor, notification: Notification): Promise<string> {
  const { channelId, organizationId, message, key } = notification;
  if (message.trim() === '') throw ValidationError.field('message', 'is empty: there is nothing to send');
  const { rows } = await db.query<{ id: string }>(
    `insert into notification_deliveries (id, channel_id, key, event_type, message, created_at, next_attempt_at)
     select $1, c.id, $4, '${MESSAGE_TYPE}', $5, clock_timestamp(), clock_timestamp()
     from notification_channels c where c.id = $2 and c.organization_id = $3
     on conflict (channel_id, key) do update set key = excluded.key
     returning id`,
    [newId(), channelId, organizationId, `message:${key}`, cut(message, MAX_MESSAGE_LENGTH)],
  );
  if (!rows[0]) throw new NotFoundError('notification channel');
  await notifyTopics(db, [NOTIFICATIONS_TOPIC]);
  return rows[0].id;
}

export type DeliveryOutcome = { status: NotificationDeliveryStatus; error: string | null };

/** What becomes of a message: resolves once it was sent, or given up. Throws the signal's reason where that aborts. */
export async function settled(pool: Pool, bus: Bus, id: string, signal: AbortSignal): Promise<DeliveryOutcome> {
  using watch = bus.watch([deliveryTopic(id)]);
  for (;;) {
    const outcome = await outcomeOf(pool, id);
    if (outcome.status !== 'PENDING') return outcome;
    await watch.wait(LOOK_MS, signal);
    signal.throwIfAborted();
  }
}

/** What became of a delivery so far. */
export async function outcomeOf(db: SqlExecutor, id: string): Promise<DeliveryOutcome> {
  const { rows } = await db.query<DeliveryOutcome>(
    'select status::text as status, error from notification_deliveries where id = $1',
    [id],
  );
  return rows[0] ?? { status: 'FAILED', error: 'the channel was deleted' };
}

/**
 * Has a delivery sent again that FAILED, from the first attempt on; one that is PENDING is due at once.
 * @throws {ConflictError | NotFoundError} where it was sent, its channel is disabled, or it is gone
 */
export async function retryDelivery(db: SqlExecutor, id: string): Promise<void> {
  const { rows } = await db.query<{ status: NotificationDeliveryStatus; isEnabled: boolean }>(
    `with known as (
       select d.id, d.status, c.is_enabled from notification_deliveries d join notification_channels c on c.id = d.channel_id
       where d.id = $1 for no key update of d
     ), retried as (
       update notification_deliveries d set status = 'PENDING', next_attempt_at = clock_timestamp(),
         attempts = case when d.status = 'FAILED' then 0 else d.attempts end
       from known k where d.id = k.id and k.status <> 'SENT' and k.is_enabled
     )
     select status::text as status, is_enabled as "isEnabled" from known`,
    [id],
  );
  if (!rows[0]) throw new NotFoundError('notification delivery');
  const { status, isEnabled } = rows[0];
  if (!isEnabled) throw new ConflictError('its channel is disabled: enable that first');
  if (status === 'SENT') throw new ConflictError('it was sent: there is nothing to send again');
  await notifyTopics(db, [NOTIFICATIONS_TOPIC]);
}

/** Deletes what has served its time, in small transactions. */
export async function pruneDeliveries(db: SqlExecutor, now: Date, signal?: AbortSignal): Promise<void> {
  const before = new Date(now.getTime() - DELIVERY_RETENTION_MS);
  for (let isMore = true; isMore && !signal?.aborted; ) {
    const { rowCount } = await db.query(
      `delete from notification_deliveries where id in (
         select id from notification_deliveries where created_at < $1 order by created_at limit $2)`,
      [before, PRUNE_BATCH],
    );
    isMore = rowCount === PRUNE_BATCH;
  }
}
