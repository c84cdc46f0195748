import type { Bus } from './bus.ts';
import { type LogFilter, selectorOf } from './log-filter.ts';
import { FOLLOW_BATCH_BYTES, FOLLOW_BATCH_LINES, HEARTBEAT_MS } from './log-limits.ts';
import type { LogLine } from './log-line.ts';
import { type LogStore, SCAN_WINDOW } from './log-store.ts';
import { type FollowedPage, narrowed } from './log-tail.ts';
import { logTopic } from './log-writer.ts';
import { OUTAGE_PATIENCE_MS, retry } from './retry.ts';
import type { SharedTails, TailReader } from './shared-tail.ts';

/** What one read looks at: the second window is where blocks leave out lines. */
const FOLLOW_SCAN_LINES = 2 * SCAN_WINDOW;
/** How long after `until` lines of that time may still come. */
export const UNTIL_GRACE_MS = 2_000;

export type LogFollowing = {
  deploymentId: string;
  store: LogStore;
  /** What it reads from, where others follow the same log, once it is live; absent: always from the store. */
  tails?: SharedTails<LogLine>;
  bus: Bus;
  /** Begins after this sequence; absent: before the first line. */
  after?: number;
  /** Begins with the last so many matching lines. */
  last?: number;
  filter?: LogFilter | null;
  /** More topics at which to look again, above all whether it is still allowed. */
  wakeTopics?: readonly string[];
  /** Called before each read; whatever it throws ends the following. */
  authorize: () => Promise<void>;
  /** Whether the deployment is final: all lines are stored, no more will come. */
  isFinal: () => Promise<boolean>;
  /** Whoever follows has been told everything up to `after`: nothing is marked as a replay. */
  isLive?: boolean;
  signal: AbortSignal;
  now?: () => number;
};

export type LogBatch = {
  /** In order; none in a batch that only moves the position or marks the turn to live. */
  lines: LogLine[];
  /** Where the batch before it ended. */
  after: number;
  /** Every matching line up to here was delivered. */
  endSequence: number;
  /** False while replaying what was stored before. */
  live: boolean;
  /** Lines that retention or a bound took, just before this batch. */
  missed: number;
  /** Nothing further was stored when it was read. */
  isNewest: boolean;
};

/**
 * A deployment's log from storage, then live without a seam, always from what is stored: a slow reader is fed at its own pace.
 * Returns when the deployment is final (or the filter's `until` is over) and all is sent, or the signal aborts.
 */
export async function* followLog(following: LogFollowing): AsyncGenerator<LogBatch, void> {
  const { deploymentId, bus, filter, authorize, isFinal, signal, now = Date.now } = following;
  const insist = <T>(work: () => Promise<T>) => retry(work, { signal, patienceMs: OUTAGE_PATIENCE_MS });
  const stateTopic = `deployment:${deploymentId}`;
  const selector = selectorOf(filter ?? {});
  using resources = new DisposableStack();
  let tail: TailReader<LogLine> | undefined;
  using watch = bus.watch([logTopic(deploymentId), stateTopic, ...(following.wakeTopics ?? [])]);
  const overAt = filter?.until ? filter.until.getTime() + UNTIL_GRACE_MS : Number.POSITIVE_INFINITY;
  const isOver = async () => now() >= overAt || (await insist(isFinal));
  try {
    await insist(authorize);
    let position = await insist(() => startOf(following));
    let sent = { position, at: now() };
    let missed = 0;
    let live = false;
    const goLive = () => {
      live = true;
      if (following.tails && selector) tail = resources.use(following.tails.join(deploymentId));
    };
    if (following.isLive) goLive();
    let isNewest = false;
    // What happened before the watch began went unheard.
    let isFirstLook = true;
    // Known before the read that then finds nothing more: that read saw all there will be.
    let over = false;
    const batchOf = (lines: LogLine[]): LogBatch => {
      const batch = { lines, after: sent.position, endSequence: position, live, missed, isNewest };
      sent = { position, at: now() };
      missed = 0;
      return batch;
    };
    for (;;) {
      await insist(authorize);
      const page = await insist(async () => {
        // The last look is at the store itself: what was stored may not have been announced yet.
        const atHand = over ? null : await tail?.after(position);
        return atHand && selector ? narrowed(atHand, selector) : readNext(following, position);
      });
      position = page.through;
      missed += page.dropped + page.pruned;
      isNewest = page.complete;
      const isLate = position > sent.position && now() - sent.at >= HEARTBEAT_MS;
      if (page.lines.length > 0 || isLate) yield batchOf(page.lines);
      if (!page.complete) continue;
      if (over) {
        if (position > sent.position || missed > 0) yield batchOf([]);
        return;
      }
      if (isFirstLook) {
        isFirstLook = false;
        over = await isOver();
        if (over) continue;
      }
      if (!live) {
        goLive();
        yield batchOf([]);
      }
      const woken = await watch.wait(Math.max(0, Math.min(HEARTBEAT_MS, overAt - now())), signal);
      signal.throwIfAborted();
      if (woken.size === 0 || woken.has(stateTopic)) over = await isOver();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function readNext({ store, deploymentId, filter }: LogFollowing, after: number): Promise<FollowedPage> {
  const limits = { limit: FOLLOW_BATCH_LINES, maxBytes: FOLLOW_BATCH_BYTES, scanLimit: FOLLOW_SCAN_LINES };
  return store.read({ deploymentId, after, filter, ...limits });
}

async function startOf({ store, deploymentId, after, last, filter, signal }: LogFollowing): Promise<number> {
  const ofLast = last === undefined ? 0 : await store.positionOfLast(deploymentId, last, filter ?? null, signal);
  if (after === undefined) return ofLast;
  // A position beyond the log (of a database restored from a backup) must not hide the lines to come.
  const head = await store.head(deploymentId);
  return Math.max(ofLast, Math.min(after, head.last));
}
