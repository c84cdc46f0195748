import { isOutage } from '../db/outage.ts';
import { type Clock, delay, HOUR_MS, MINUTE_MS } from '../shared/clock.ts';
import type { Logger } from '../shared/logger.ts';

/** Every instance keeps house; what is done already costs a look. */
export const MAINTENANCE_MS = HOUR_MS;
const RETRY_MS = MINUTE_MS;

export type Maintenance = AsyncDisposable;

export type MaintenanceOptions = {
  clock: Clock;
  log: Logger;
  /** Each idempotent and safe beside other instances that do the same: by name. A long one ends early when the signal aborts. */
  tasks: Record<string, (now: Date, signal: AbortSignal) => Promise<unknown>>;
  /** Resolves after so many milliseconds, when the signal aborts, or earlier where there is work. Absent: by time alone. */
  pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
};

/** What must happen now and then: partitions ahead of their days, and rows that have served their time go. */
export function startMaintenance(options: MaintenanceOptions): Maintenance {
  const stop = new AbortController();
  const running = keepHouse(options, stop.signal);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

async function keepHouse({ clock, log, tasks, pause = delay }: MaintenanceOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    let wait = MAINTENANCE_MS;
    for (const [task, run] of Object.entries(tasks)) {
      if (signal.aborted) return;
      await run(clock.now(), signal).catch((error: unknown) => {
        if (signal.aborted) return;
        log[isOutage(error) ? 'warn' : 'error']({ err: error, task }, 'maintenance failed and is tried again');
        wait = RETRY_MS;
      });
    }
    await pause(wait, signal);
  }
}
