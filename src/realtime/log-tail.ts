import type { Bus } from './bus.ts';
import type { LogSelector } from './log-filter.ts';
import { FOLLOW_BATCH_BYTES, FOLLOW_BATCH_LINES, HEARTBEAT_MS } from './log-limits.ts';
import type { LogLine } from './log-line.ts';
import { jsonBytes, type LogPage, type LogStore } from './log-store.ts';
import { logTopic } from './log-writer.ts';
import { SharedTails, type TailPage } from './shared-tail.ts';

/** The part of a page that a follower goes by. */
export type FollowedPage = Pick<LogPage, 'lines' | 'through' | 'complete' | 'dropped' | 'pruned'>;

/** Tails of logs, by the id of the deployment, from whose lines each follower takes what its filter wants. */
export function createLogTails(store: LogStore, bus: Bus): SharedTails<LogLine> {
  return new SharedTails((deploymentId) => ({
    bus,
    topic: logTopic(deploymentId),
    lookMs: HEARTBEAT_MS,
    positionOf: ({ sequence }) => sequence,
    sizeOf: (line) => jsonBytes([line]),
    async read(after) {
      const page = await store.read({ deploymentId, after, limit: FOLLOW_BATCH_LINES, maxBytes: FOLLOW_BATCH_BYTES });
      return page.pruned > 0 ? null : { items: page.lines, through: page.through, isNewest: page.complete };
    },
  }));
}

/** What a filter leaves of lines at hand, as `LogStore.read` would. */
export function narrowed({ items, through, isNewest }: TailPage<LogLine>, selector: LogSelector): FollowedPage {
  const lines: LogLine[] = [];
  let dropped = 0;
  let kept = 0;
  let bytes = 0;
  let last = through;
  for (const line of items) {
    const matches = selector.matches(line);
    if (!matches && !selector.concerns(line)) continue;
    const size = jsonBytes([line]);
    if (kept === FOLLOW_BATCH_LINES || (kept > 0 && bytes + size > FOLLOW_BATCH_BYTES)) {
      last = line.sequence - 1;
      break;
    }
    kept++;
    bytes += size;
    dropped += line.dropped;
    if (matches) lines.push(line);
  }
  return { lines, through: last, complete: isNewest && last === through, dropped, pruned: 0 };
}
