import type { Pool } from 'pg';
import { notifyTopics } from '../../realtime/bus.ts';
import { HOUR_MS, SECOND_MS } from '../../shared/clock.ts';
import type { Keyring } from '../../shared/crypto.ts';
import type { GuardedHttp } from '../../shared/guarded-http.ts';
import type { Logger } from '../../shared/logger.ts';
import { untilStored } from '../lease-transaction.ts';
import { type ClaimedDelivery, type Outcome, storeOutcome } from './claim.ts';
import { openConfiguration } from './configuration.ts';
import { deliveryTopic, MESSAGE_TYPE } from './deliveries.ts';
import { SendError } from './send-error.ts';
import { send } from './senders.ts';

/** Of a delivery, until it is given up: about two and a half hours. */
export const MAX_DELIVERY_ATTEMPTS = 8;
/** The pause after the first attempt; each further one is four times as long. */
export const FIRST_RETRY_MS = 5 * SECOND_MS;
const RETRY_FACTOR = 4;
export const MAX_RETRY_MS = HOUR_MS;
export const CHANNEL_DISABLED = 'the channel is disabled';

/** Makes one attempt at a delivery, and writes what became of it; not where the signal aborts: then its claim runs out. */
export type Deliver = (delivery: ClaimedDelivery, signal: AbortSignal) => Promise<void>;

export type DeliverDependencies = {
  pool: Pool;
  keyring: Keyring;
  http: GuardedHttp;
  log: Logger;
  firstRetryMs?: number;
};

export function createDeliver({ pool, keyring, http, log, firstRetryMs }: DeliverDependencies): Deliver {
  async function attempt(delivery: ClaimedDelivery, signal: AbortSignal): Promise<Outcome> {
    const { channelId, configuration, isEnabled, attempts } = delivery;
    if (!isEnabled) return { status: 'FAILED', error: CHANNEL_DISABLED };
    try {
      const opened = openConfiguration(keyring, channelId, configuration);
      return { status: 'SENT', error: await send(http, opened, delivery, signal) };
    } catch (error) {
      if (signal.aborted) throw error;
      if (error instanceof SendError) return afterFailure(error, attempts, firstRetryMs);
      log.error({ err: error, deliveryId: delivery.id }, 'a notification could not be sent');
      return { status: 'FAILED', error: 'an internal fault (the server log says which)' };
    }
  }

  return async (delivery, signal) => {
    const outcome = await attempt(delivery, signal);
    await untilStored(signal, () => storeOutcome(pool, delivery, outcome));
    if (delivery.eventType === MESSAGE_TYPE && outcome.status !== 'PENDING')
      // Whoever waits looks again by itself.
      await notifyTopics(pool, [deliveryTopic(delivery.id)]).catch(() => undefined);
  };
}

/** Whether it is tried again, and after how long. `attempts`: those that were made, which failed all. */
export function afterFailure(
  { message, isTransient, retryAfterMs }: SendError,
  attempts: number,
  firstRetryMs = FIRST_RETRY_MS,
): Outcome {
  if (!isTransient) return { status: 'FAILED', error: message };
  if (attempts >= MAX_DELIVERY_ATTEMPTS)
    return { status: 'FAILED', error: `given up after ${attempts} attempts: ${message}` };
  const pause = Math.max(firstRetryMs * RETRY_FACTOR ** (attempts - 1), retryAfterMs);
  return { status: 'PENDING', error: message, delayMs: Math.min(pause, MAX_RETRY_MS) };
}
