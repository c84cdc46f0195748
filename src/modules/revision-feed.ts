import type { Pool } from 'pg';
import type { Bus } from '../realtime/bus.ts';
import { Feed } from '../realtime/feed.ts';
import { delay, SECOND_MS } from '../shared/clock.ts';
import { NotFoundError } from '../shared/errors.ts';
import { accessTopic } from './change.ts';
import { type OrganizationAccess, requireCaller } from './organizations/access.ts';
import type { RightsWatch } from './organizations/rights-watch.ts';
import type { Caller } from './services.ts';

/** States that follow each other faster are told as one. */
export const MIN_INTERVAL_MS = 100;
/** Wake-ups may be lost: state and permission are looked at again so often, at the latest. */
export const LOOK_MS = 5 * SECOND_MS;

/** Something has changed. Whoever reads it for the client notes the revision that was told. */
export type RevisionNews = { id: string; told: number };

export type RevisionFeedDependencies = { pool: Pool; bus: Bus; rights: RightsWatch };

/** What has revisions: rows of a table with `revision` and `status`. */
export type Revised = {
  /** In words: "deployment". */
  what: string;
  table: 'deployments' | 'executions';
  topicOf(id: string): string;
  isFinal(status: string): boolean;
};

/**
 * The id of a row whenever it has changed, now included; ends when its status is final. `authorize` throws what tells the follower why it
 * may not follow it, or not any more. Positions are revisions.
 */
export function revisionFeed(
  deps: RevisionFeedDependencies,
  revised: Revised,
  caller: Caller | null,
  authorize: () => Promise<OrganizationAccess & { id: string }>,
  signal: AbortSignal,
): Feed<RevisionNews> {
  return new Feed(async () => {
    const { id, organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    return {
      topic: JSON.stringify([revised.table, id, role]),
      own: () =>
        followRevisions(deps, revised, id, { told: 0, signal, rights: { topic: accessTopic(userId), authorize } }),
      live: (told, end) => followRevisions(deps, revised, id, { told, signal: end }),
      positionOf: ({ told }) => told,
      isLive: () => true,
      // The newest state is all there is to tell.
      rest: (news, told) => (news.told > told ? news : null),
      watchRights: (onChange) => deps.rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

type Following = {
  told: number;
  signal: AbortSignal;
  rights?: { topic: string; authorize: () => Promise<unknown> };
};

async function* followRevisions(
  { pool, bus }: RevisionFeedDependencies,
  { what, table, topicOf, isFinal }: Revised,
  id: string,
  { told, signal, rights }: Following,
): AsyncGenerator<RevisionNews> {
  using watch = bus.watch([topicOf(id), ...(rights ? [rights.topic] : [])]);
  while (!signal.aborted) {
    const { rows } = await pool.query<{ revision: number; status: string }>(
      `select revision, status::text as status from ${table} where id = $1`,
      [id],
    );
    if (!rows[0]) throw new NotFoundError(what);
    const { revision, status } = rows[0];
    if (revision > told) {
      const news: RevisionNews = { id, told: revision };
      yield news;
      // What was read for the client may have been newer already: it is not told twice.
      told = news.told;
    }
    if (isFinal(status)) return;
    const [announced] = await Promise.all([watch.wait(LOOK_MS, signal), delay(MIN_INTERVAL_MS, signal)]);
    if (!signal.aborted && !(announced.size === 1 && announced.has(topicOf(id)))) await rights?.authorize();
  }
}
