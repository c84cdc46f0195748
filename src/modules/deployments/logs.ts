import type { Pool } from 'pg';
import type { Bus } from '../../realtime/bus.ts';
import { decodeLogCursor, encodeLogCursor } from '../../realtime/cursor.ts';
import { Feed } from '../../realtime/feed.ts';
import type { LogFilter } from '../../realtime/log-filter.ts';
import { followLog, type LogBatch } from '../../realtime/log-follower.ts';
import type { LogLine } from '../../realtime/log-line.ts';
import type { LogStore } from '../../realtime/log-store.ts';
import type { SharedTails } from '../../realtime/shared-tail.ts';
import { NotFoundError } from '../../shared/errors.ts';
import type { Connection, Page } from '../../shared/pagination.ts';
import { accessTopic } from '../change.ts';
import { type Access, requireCaller } from '../organizations/access.ts';
import type { RightsWatch } from '../organizations/rights-watch.ts';
import type { Caller } from '../services.ts';
import { isFinal } from './state.ts';

export type LogRequest = {
  deploymentId: string | null;
  after?: string | null;
  last?: number | null;
  filter: LogFilter;
};
export type DeploymentLogBatch = LogBatch & { endCursor: string; missedLines: number };

/** A page of a deployment's log. Cursors are positions in the log, whatever the filter. Throws InvalidCursorError. */
export async function logPage(
  store: LogStore,
  deploymentId: string,
  page: Page,
  filter: LogFilter,
): Promise<Connection<LogLine>> {
  const after = page.after === null ? undefined : decodeLogCursor(page.after, deploymentId);
  // A cursor stands after its line: `before` it excludes that line too.
  const before = page.before === null ? undefined : decodeLogCursor(page.before, deploymentId);
  const direction = page.backward ? ('backward' as const) : ('forward' as const);
  const found = await store.read({
    deploymentId,
    direction,
    after,
    before,
    limit: page.size + 1,
    filter,
    scanLimit: Number.MAX_SAFE_INTEGER,
  });
  const more = found.lines.length > page.size;
  const lines = page.backward ? found.lines.slice(-page.size) : found.lines.slice(0, page.size);
  const edges = lines.map((node) => ({ cursor: encodeLogCursor(deploymentId, node.sequence), node }));
  return {
    edges,
    pageInfo: {
      hasNextPage: page.backward ? before !== undefined : more,
      hasPreviousPage: page.backward ? more : after !== undefined,
      startCursor: edges.at(0)?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
    totalCount: () => Promise.reject(new Error('a log is not counted')),
  };
}

export type LogFeedDependencies = {
  pool: Pool;
  bus: Bus;
  access: Access;
  rights: RightsWatch;
  store: LogStore;
  tails: SharedTails<LogLine>;
};

/** A deployment's log as the contract's subscription tells it. Opening it throws NotFoundError when it may not be followed, or not any more. */
export function logFeed(
  deps: LogFeedDependencies,
  caller: Caller | null,
  request: LogRequest,
  signal: AbortSignal,
): Feed<DeploymentLogBatch> {
  const { pool, bus, access, rights, store, tails } = deps;
  const { after, last, filter } = request;
  const authorize = () => access.requireDeployment(caller, request.deploymentId, 'deployment:read');
  return new Feed(async () => {
    const { deploymentId, organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    const isOver = async () => {
      const { rows } = await pool.query('select status::text as status from deployments where id = $1', [deploymentId]);
      if (!rows[0]) throw new NotFoundError('deployment');
      return isFinal(rows[0].status);
    };
    const common = { deploymentId, store, tails, bus, filter, isFinal: isOver };
    const start = after == null ? undefined : decodeLogCursor(after, deploymentId);
    return {
      topic: JSON.stringify(['log', deploymentId, filter, role]),
      own: () =>
        viewsOf(
          deploymentId,
          followLog({
            ...common,
            after: start,
            last: last ?? undefined,
            wakeTopics: [accessTopic(userId)],
            authorize: async () => void (await authorize()),
            signal,
          }),
        ),
      live: (position, end) =>
        viewsOf(
          deploymentId,
          followLog({ ...common, after: position, isLive: true, authorize: async () => undefined, signal: end }),
        ),
      positionOf: ({ endSequence }) => endSequence,
      isLive: ({ live, isNewest }) => live && isNewest,
      rest: restOf,
      watchRights: (onChange) => rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

async function* viewsOf(deploymentId: string, batches: AsyncIterable<LogBatch>): AsyncGenerator<DeploymentLogBatch> {
  for await (const batch of batches)
    yield { ...batch, endCursor: encodeLogCursor(deploymentId, batch.endSequence), missedLines: batch.missed };
}

/** What of a batch comes after a position within it. Which of the missed lines do, only the store knows. */
function restOf(batch: DeploymentLogBatch, position: number): DeploymentLogBatch | null | undefined {
  if (batch.endSequence <= position) return null;
  if (batch.missed > 0) return undefined;
  const lines = batch.lines.filter(({ sequence }) => sequence > position);
  if (lines.length === batch.lines.length) return batch;
  return lines.length === 0 ? null : { ...batch, lines, after: position };
}
