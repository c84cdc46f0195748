import type { PrismaClient } from '../../db/generated/prisma/client.ts';
import { isOutage } from '../../db/outage.ts';
import { delay, SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { FairShare } from '../executions/fair-share.ts';
import { tellEvents } from './event-worker.ts';
import { beginScheduled } from './schedule-worker.ts';

/** Schedules and events are looked at so often. */
const LOOK_MS = SECOND_MS;

/** What the holder of a host's lease does beside: begins runs of workflows when their time, or an event, has come. */
export class TriggerWorker {
  readonly #prisma: PrismaClient;
  readonly #log: Logger;
  readonly #share = new FairShare();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor({ prisma, log }: { prisma: PrismaClient; log: Logger }) {
    this.#prisma = prisma;
    this.#log = log;
  }

  start(): void {
    this.#running = this.#work(this.#stop.signal);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #work(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      const isMore = await this.#look('schedules', async () => (await beginScheduled(this.#prisma, this.#share)) > 0);
      const areMore = await this.#look('events', () => tellEvents(this.#prisma, this.#share));
      if (!isMore && !areMore) await delay(LOOK_MS, over);
    }
  }

  /** Whether there is more to do at once. */
  async #look(what: string, work: () => Promise<boolean>): Promise<boolean> {
    try {
      return await work();
    } catch (error) {
      this.#log[isOutage(error) ? 'warn' : 'error']({ err: error }, `${what} of workflows are looked at again soon`);
      return false;
    }
  }
}
