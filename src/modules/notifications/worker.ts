import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import type { Lease } from '../../engine/host-lease.ts';
import type { Bus } from '../../realtime/bus.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { type ClaimedDelivery, claimDeliveries } from './claim.ts';
import type { Deliver } from './deliver.ts';
import { NOTIFICATIONS_TOPIC } from './deliveries.ts';
import { tellChannels } from './outbox.ts';

/** Events, and times that have come, are found so often. */
export const LOOK_MS = SECOND_MS;
/** What this process sends at once. */
export const MAX_IN_HAND = 100;

export type NotificationWorkerDependencies = { pool: Pool; bus: Bus; log: Logger; deliver: Deliver };

/** What the holder of a host's lease does beside its executions: tells channels of events, and sends what is to be sent. */
export class NotificationWorker {
  readonly #deps: NotificationWorkerDependencies;
  readonly #lease: Lease;
  readonly #stop = new AbortController();
  readonly #sending = new Set<Promise<void>>();
  /** Ends the pause between two looks. */
  #pause = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(deps: NotificationWorkerDependencies, lease: Lease) {
    this.#deps = deps;
    this.#lease = lease;
  }

  start(): void {
    this.#running = this.#work(AbortSignal.any([this.#stop.signal, this.#lease.signal]));
  }

  /** Ends what is being sent: whoever works next tries it again. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all(this.#sending);
  }

  async #work(over: AbortSignal): Promise<void> {
    const { pool, bus, log } = this.#deps;
    using watch = bus.watch([NOTIFICATIONS_TOPIC]);
    while (!over.aborted) {
      this.#pause = new AbortController();
      try {
        const { hasEvents, hasDue } = await lookForWork(pool);
        const isMore = hasEvents && (await tellChannels(pool));
        if (hasEvents || hasDue)
          for (const delivery of await claimDeliveries(pool, MAX_IN_HAND - this.#sending.size))
            this.#send(delivery, over);
        if (isMore) continue;
      } catch (error) {
        if (over.aborted) return;
        log[isOutage(error) ? 'warn' : 'error']({ err: error }, 'notifications are looked at again soon');
      }
      await watch.wait(LOOK_MS, AbortSignal.any([over, this.#pause.signal]));
    }
  }

  #send(delivery: ClaimedDelivery, over: AbortSignal): void {
    const { deliver, log } = this.#deps;
    const sending = deliver(delivery, over)
      .catch((error: unknown) => {
        if (!over.aborted)
          log.error({ err: error, deliveryId: delivery.id }, 'what became of a notification is unknown');
      })
      .finally(() => {
        this.#sending.delete(sending);
        // The next one of its channel may be due.
        this.#pause.abort();
      });
    this.#sending.add(sending);
  }
}

/** One statement a look, where there is nothing to do. */
async function lookForWork(pool: Pool): Promise<{ hasEvents: boolean; hasDue: boolean }> {
  const { rows } = await pool.query<{ hasEvents: boolean; hasDue: boolean }>({
    name: 'look-for-notifications',
    text: `
      select exists (select 1 from notification_cursors k join event_heads h on h.organization_id = k.organization_id
                     where h.last_sequence > k.sequence) as "hasEvents",
             exists (select 1 from notification_deliveries d where d.status = 'PENDING' and d.next_attempt_at <= now()) as "hasDue"`,
  });
  return rows[0]!;
}
