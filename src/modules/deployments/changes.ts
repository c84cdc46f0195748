import type { Pool } from 'pg';
import type { Deployment } from '../../db/generated/prisma/client.ts';
import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import type { Bus } from '../../realtime/bus.ts';
import { encodeEventCursor } from '../../realtime/cursor.ts';
import { followEvents } from '../../realtime/event-follower.ts';
import type { StoredEvent } from '../../realtime/event-store.ts';
import { ALL_EVENT_TYPES } from '../../realtime/event-types.ts';
import { Feed } from '../../realtime/feed.ts';
import type { SharedTails } from '../../realtime/shared-tail.ts';
import { NotFoundError } from '../../shared/errors.ts';
import { accessTopic } from '../change.ts';
import { type Access, type OrganizationAccess, requireCaller } from '../organizations/access.ts';
import type { RightsWatch } from '../organizations/rights-watch.ts';
import type { Caller } from '../services.ts';
import { requireThere } from '../still-there.ts';

/** How many changes are read at once: a follower holds no more at a time. */
export const CHANGES_PAGE = 200;

const DEPLOYMENT_EVENTS = ALL_EVENT_TYPES.filter((type) => type.startsWith('deployment.'));

export type ChangesRequest = {
  organizationId: string | null;
  /** Only this environment's changes; null cannot be one: there is none to follow. Absent: all. */
  environmentId?: string | null;
  /** A cursor of the organization: what came after it is told first. Absent: from now on. */
  after?: string | null;
};

export type DeploymentChange = {
  /** As it was when the change was read: at `status`, or further on. */
  deployment: Deployment;
  /** Null: it was created. */
  previousStatus: DeploymentStatus | null;
  status: DeploymentStatus;
  endCursor: string;
  sequence: number;
  /** Nothing further had happened when it was read. */
  isNewest: boolean;
};

/** Where the feed stands while nothing has happened yet. */
export type ChangesMark = Pick<DeploymentChange, 'sequence' | 'isNewest'> & { deployment: null };

export type ChangesDependencies = {
  pool: Pool;
  bus: Bus;
  access: Access;
  rights: RightsWatch;
  eventTails: SharedTails<StoredEvent>;
  /** The organization's deployments of these ids that are still there, with what the client selects of them. */
  load(organizationId: string, ids: string[]): Promise<Deployment[]>;
  now?: () => number;
};

/**
 * Every change of status, in the order of commits: see `followEvents`. Changes of deployments that were deleted since are left out.
 * Opening it throws NotFoundError when they may not be followed, or not any more.
 */
export function changesFeed(
  deps: ChangesDependencies,
  caller: Caller | null,
  request: ChangesRequest,
  signal: AbortSignal,
): Feed<DeploymentChange | ChangesMark, DeploymentChange> {
  const { pool, rights } = deps;
  const { environmentId } = request;
  return new Feed(async () => {
    const { organizationId, role } = await authorize(deps.access, caller, request);
    const { userId } = requireCaller(caller);
    return {
      topic: JSON.stringify(['changes', organizationId, environmentId ?? null, role]),
      own: () =>
        followChanges(deps, request, {
          organizationId,
          after: request.after,
          rightsTopic: accessTopic(userId),
          authorize: () => authorize(deps.access, caller, request),
          signal,
        }),
      live: (position, end) =>
        followChanges(deps, request, {
          organizationId,
          after: encodeEventCursor(organizationId, position),
          authorize: async () => {
            if (environmentId) await requireThere(pool, 'environment', environmentId);
            else await requireThere(pool, 'organization', organizationId);
            return { organizationId };
          },
          signal: end,
        }),
      positionOf: ({ sequence }) => sequence,
      isMark: ({ deployment }) => deployment === null,
      isLive: ({ isNewest }) => isNewest,
      rest: (told, position) => (told.sequence > position ? told : null),
      watchRights: (onChange) => rights.add({ userId, organizationId, role }, onChange),
    };
  }, signal);
}

type ChangesFollowing = {
  organizationId: string;
  after: string | null | undefined;
  rightsTopic?: string;
  authorize(): Promise<{ organizationId: string }>;
  signal: AbortSignal;
};

async function* followChanges(
  deps: ChangesDependencies,
  { environmentId }: ChangesRequest,
  { organizationId, signal, ...following }: ChangesFollowing,
): AsyncGenerator<DeploymentChange | ChangesMark> {
  const { pool, bus, eventTails: tails, now } = deps;
  const pages = followEvents({
    ...following,
    pool,
    bus,
    tails,
    now,
    signal,
    limit: CHANGES_PAGE,
    select: () => ({ types: DEPLOYMENT_EVENTS, environmentId }),
    load: (events) => changesOf(events, organizationId, deps),
  });
  try {
    let isFirst = true;
    for await (const { items, through, isLast, requireStill } of pages) {
      for (const change of items) {
        await requireStill();
        yield { ...change, isNewest: isLast && change === items.at(-1) };
      }
      if (isFirst && isLast && items.length === 0) yield { deployment: null, sequence: through, isNewest: true };
      if (isLast) isFirst = false;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function changesOf(
  events: StoredEvent[],
  organizationId: string,
  { load }: ChangesDependencies,
): Promise<Omit<DeploymentChange, 'isNewest'>[]> {
  const ids = [...new Set(events.map(({ subjectId }) => subjectId!))];
  const deployments = new Map((await load(organizationId, ids)).map((deployment) => [deployment.id, deployment]));
  return events.flatMap(({ sequence, subjectId, data }) => {
    const deployment = deployments.get(subjectId!);
    if (!deployment) return [];
    const { status, previousStatus = null } = data as Pick<DeploymentChange, 'status' | 'previousStatus'>;
    return [{ deployment, status, previousStatus, sequence, endCursor: encodeEventCursor(organizationId, sequence) }];
  });
}

/** The organization that is followed, and as what. */
async function authorize(
  access: Access,
  caller: Caller | null,
  { organizationId, environmentId }: ChangesRequest,
): Promise<OrganizationAccess> {
  if (environmentId === undefined) return access.requireOrganization(caller, organizationId, 'deployment:read');
  const environment = await access.requireEnvironment(caller, environmentId, 'deployment:read');
  // Both are the caller's, but the one is not in the other.
  if (environment.organizationId !== organizationId) throw new NotFoundError('environment');
  return environment;
}
