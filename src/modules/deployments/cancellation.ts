import type { Pool } from 'pg';
import { isOutage } from '../../db/outage.ts';
import type { Bus } from '../../realtime/bus.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { deploymentTopic } from './records.ts';
import type { StepOutcome } from './task.ts';

/** A wake-up that got lost delays a cancel by no more than this. */
const LOOK_MS = 2 * SECOND_MS;

export type Cancellation = Disposable & {
  /** Aborts when the work on the deployment has to end before it is done. */
  signal: AbortSignal;
  /** Why it had to. */
  outcome(): StepOutcome;
};

/** Watches for whatever ends a deployment's roll-out from outside: a cancel, its deletion, its deadline. Disposing of it ends the watch. */
export async function watchCancellation(
  { pool, bus, log }: { pool: Pool; bus: Bus; log: Logger },
  deploymentId: string,
): Promise<Cancellation> {
  const ended = new AbortController();
  const over = new AbortController();
  let outcome: StepOutcome = { result: 'cancelled' };
  const watch = bus.watch([deploymentTopic(deploymentId)]);
  const look = async () => {
    const { rows } = await pool.query<{ status: string; isLate: boolean | null }>(
      'select status::text as status, deadline_at < now() as "isLate" from deployments where id = $1',
      [deploymentId],
    );
    const status = rows[0]?.status;
    if (status === undefined || status === 'CANCELLING' || status === 'CANCELLED') return ended.abort();
    if (!rows[0]?.isLate) return;
    outcome = { result: 'failed', reason: 'it did not finish before its deadline', started: false };
    ended.abort();
  };
  const lookAgain = async () => {
    while (!over.signal.aborted && !ended.signal.aborted) {
      await watch.wait(LOOK_MS, over.signal);
      if (over.signal.aborted) return;
      await look().catch((error: unknown) => {
        log[isOutage(error) ? 'debug' : 'error']({ err: error, deploymentId }, 'could not look for a cancel yet');
      });
    }
  };
  try {
    await look();
  } catch (error) {
    watch.close();
    throw error;
  }
  void lookAgain();
  return {
    signal: ended.signal,
    outcome: () => outcome,
    [Symbol.dispose]() {
      over.abort();
      watch.close();
    },
  };
}
