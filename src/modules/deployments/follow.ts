import type { Pool } from 'pg';
import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import type { Bus } from '../../realtime/bus.ts';
import { Feed } from '../../realtime/feed.ts';
import { delay, SECOND_MS } from '../../shared/clock.ts';
import { NotFoundError } from '../../shared/errors.ts';
import { accessTopic } from '../change.ts';
import { type Access, requireCaller } from '../organizations/access.ts';
import type { RightsWatch } from '../organizations/rights-watch.ts';
import type { Caller } from '../services.ts';
import { deploymentTopic } from './records.ts';
import { isFinal } from './state.ts';

/** States that follow each other faster are told as one. */
export const MIN_INTERVAL_MS = 100;
/** Wake-ups may be lost: state and permission are looked at again so often, at the latest. */
export const LOOK_MS = 5 * SECOND_MS;

/** A deployment has changed. Whoever reads it for the client notes the revision that was told. */
export type DeploymentNews = { id: string; told: number };

export type StatusFeedDependencies = { pool: Pool; bus: Bus; access: Access; rights: RightsWatch };

/**
 * The id of a deployment whenever it has changed, now included; ends when it is final. Opening it throws NotFoundError when it may not be
 * followed, or not any more. Positions are revisions.
 */
export function statusFeed(
  deps: StatusFeedDependencies,
  caller: Caller | null,
  deploymentId: string | null,
  signal: AbortSignal,
): Feed<DeploymentNews> {
  const authorize = () => deps.access.requireDeployment(caller, deploymentId, 'deployment:read');
  return new Feed(async () => {
    const { deploymentId: id, organizationId, role } = await authorize();
    const { userId } = requireCaller(caller);
    return {
      topic: JSON.stringify(['status', id, role]),
      own: () => followRevisions(deps, id, { told: 0, signal, rights: { topic: accessTopic(userId), authorize } }),
      live: (told, end) => followRevisions(deps, id, { told, signal: end }),
      positionOf: ({ told }) => told,
      isLive: () => true,
      // The newest state is all there is to tell.
      rest: (news, told) => (news.told > told ? news : null),
      watchRights: (onChange) => deps.rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

type Revisions = {
  told: number;
  signal: AbortSignal;
  rights?: { topic: string; authorize: () => Promise<unknown> };
};

async function* followRevisions(
  { pool, bus }: StatusFeedDependencies,
  id: string,
  { told, signal, rights }: Revisions,
): AsyncGenerator<DeploymentNews> {
  using watch = bus.watch([deploymentTopic(id), ...(rights ? [rights.topic] : [])]);
  while (!signal.aborted) {
    const { rows } = await pool.query<{ revision: number; status: DeploymentStatus }>(
      'select revision, status::text as status from deployments where id = $1',
      [id],
    );
    if (!rows[0]) throw new NotFoundError('deployment');
    const { revision, status } = rows[0];
    if (revision > told) {
      const news: DeploymentNews = { id, told: revision };
      yield news;
      // What was read for the client may have been newer already: it is not told twice.
      told = news.told;
    }
    if (isFinal(status)) return;
    const [announced] = await Promise.all([watch.wait(LOOK_MS, signal), delay(MIN_INTERVAL_MS, signal)]);
    if (!signal.aborted && !(announced.size === 1 && announced.has(deploymentTopic(id)))) await rights?.authorize();
  }
}
