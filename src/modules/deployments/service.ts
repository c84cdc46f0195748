import type { Pool } from 'pg';
import type { Deployment } from '../../db/generated/prisma/client.ts';
import type { DeploymentStatus } from '../../db/generated/prisma/enums.ts';
import type { Feed } from '../../realtime/feed.ts';
import type { LogFilter } from '../../realtime/log-filter.ts';
import type { LogLine } from '../../realtime/log-line.ts';
import { LogStore } from '../../realtime/log-store.ts';
import { createLogTails } from '../../realtime/log-tail.ts';
import type { Runtime } from '../../runtimes/runtime.ts';
import { ConflictError, NotFoundError } from '../../shared/errors.ts';
import type { Connection, Page } from '../../shared/pagination.ts';
import type { Environments } from '../environments/service.ts';
import { type Recorder, recorded } from '../lease-transaction.ts';
import { type Access, type DeploymentAccess, requireCaller } from '../organizations/access.ts';
import { type Revised, type RevisionNews, revisionFeed } from '../revision-feed.ts';
import { withField } from '../selection.ts';
import { actorOf, type Caller, type ServiceDependencies } from '../services.ts';
import type { Stacks } from '../stacks/service.ts';
import { type ChangesMark, type ChangesRequest, changesFeed, type DeploymentChange } from './changes.ts';
import { createDeploymentLists, type DeploymentLists } from './lists.ts';
import { type DeploymentLogBatch, type LogRequest, logFeed, logPage } from './logs.ts';
import { createPlans, type Plans } from './plans.ts';
import { deploymentTopic, hostTopic, transition } from './records.ts';
import type { ReleaseStore } from './release-store.ts';
import { createRequests, type Requests } from './requests.ts';
import { readServices, type ServiceView } from './service-views.ts';
import { isFinal, isLive } from './state.ts';
import { usageFeed } from './usage-feed.ts';
import { type UsageSample, UsageSampler } from './usage-sampler.ts';
import { type Failing, revert } from './watch-window.ts';

/** By then a cancel or a stop has ended, grace periods included. */
const ENDING_SECONDS = 900;

export type DeploymentDependencies = ServiceDependencies & {
  access: Access;
  environments: Environments;
  stacks: Stacks;
  releases: ReleaseStore;
  /** Whether this installation allows the PROCESS runtime at all. */
  processRuntime: boolean;
  /** What this server can ask of a host; null: nothing. */
  runtimeOf(hostId: string): Runtime | null;
};

export type Deployments = DeploymentLists &
  Requests &
  Plans & {
    /** For the holder of a host's lease. See `revert` in watch-window.ts. */
    revert(failing: Failing): Promise<void>;
    cancel(caller: Caller | null, deploymentId: string | null): Promise<Deployment>;
    stop(caller: Caller | null, deploymentId: string | null): Promise<Deployment>;
    /** The services of deployments that the caller was shown, by deployment id. */
    services(deploymentIds: string[]): Promise<Map<string, ServiceView[]>>;
    /** What deployments that the caller was shown use, by deployment id. See `UsageSampler.look`. */
    usage(deploymentIds: string[]): Promise<Map<string, UsageSample>>;
    /** See `usageFeed`. */
    followUsage(caller: Caller | null, deploymentId: string | null, signal: AbortSignal): Feed<UsageSample>;
    /** A page of the log of a deployment that the caller was shown. */
    logPage(deploymentId: string, page: Page, filter: LogFilter): Promise<Connection<LogLine>>;
    /** What a follower, which authorized before, is told of. */
    readNews(news: RevisionNews, query?: object): Promise<Deployment>;
    /** See `revisionFeed`. */
    follow(caller: Caller | null, deploymentId: string | null, signal: AbortSignal): Feed<RevisionNews>;
    /** See `changesFeed`. */
    followChanges(
      caller: Caller | null,
      request: ChangesRequest,
      signal: AbortSignal,
      query?: object,
    ): Feed<DeploymentChange | ChangesMark, DeploymentChange>;
    /** See `logFeed`. */
    followLog(caller: Caller | null, request: LogRequest, signal: AbortSignal): Feed<DeploymentLogBatch>;
  };

const REVISED: Revised = {
  what: 'deployment',
  table: 'deployments',
  topicOf: deploymentTopic,
  isFinal: (status) => isFinal(status as DeploymentStatus),
};

type Standing = { status: DeploymentStatus; active: string | null; queued: number };

export function createDeployments(deps: DeploymentDependencies): Deployments {
  const { prisma, pool, bus, access } = deps;
  const store = new LogStore(pool);
  const tails = createLogTails(store, bus);
  const lists = createDeploymentLists(deps);
  const plans = createPlans(deps);
  const sampler = new UsageSampler(deps);

  const readAs = async (caller: Caller | null, id: string): Promise<Deployment> => {
    const found = await lists.find(caller, id);
    if (!found) throw new NotFoundError('deployment');
    return found;
  };

  return {
    ...lists,
    ...plans,
    ...createRequests({ ...deps, plans, lists }),
    revert: (failing) => revert(deps, failing),
    services: (ids) => readServices(pool, ids),
    usage: (ids) => sampler.look(ids),
    followUsage: (caller, id, signal) => usageFeed({ ...deps, sampler }, caller, id, signal),
    logPage: (id, page, filter) => logPage(store, id, page, filter),
    follow(caller, deploymentId, signal) {
      const authorize = async () => {
        const found = await access.requireDeployment(caller, deploymentId, 'deployment:read');
        return { ...found, id: found.deploymentId };
      };
      return revisionFeed(deps, REVISED, caller, authorize, signal);
    },
    followChanges(caller, request, signal, query = {}) {
      const load = (organizationId: string, ids: string[]) => lists.findIn(organizationId, ids, withField(query, 'id'));
      return changesFeed({ ...deps, load }, caller, request, signal);
    },
    followLog: (caller, request, signal) => logFeed({ ...deps, store, tails }, caller, request, signal),

    async readNews(news, query = {}) {
      const found = await prisma.deployment.findUnique({ ...withField(query, 'revision'), where: { id: news.id } });
      if (!found) throw new NotFoundError('deployment');
      news.told = Math.max(news.told, found.revision);
      return found;
    },

    async cancel(caller, deploymentId) {
      const found = await access.requireDeployment(caller, deploymentId, 'deployment:cancel');
      await act(pool, found, caller, async (standing, client, record) => {
        const { status, active } = standing;
        if (status === 'CANCELLING' || status === 'CANCELLED') return;
        if (isLive(status) || isFinal(status) || status === 'STOPPING')
          throw new ConflictError(
            `it is ${status.toLowerCase()}: only a deployment that is not live yet can be cancelled`,
          );
        const actor = actorOf(requireCaller(caller));
        if (status === 'QUEUED') {
          await transition(client, record, found.deploymentId, { to: 'CANCELLED', reason: null, actor });
          if (active === found.deploymentId)
            await client.query(
              'update stack_environments set active_deployment_id = null where active_deployment_id = $1',
              [found.deploymentId],
            );
        } else {
          await transition(client, record, found.deploymentId, {
            to: 'CANCELLING',
            reason: null,
            deadlineSeconds: ENDING_SECONDS,
            actor,
          });
          await client.query('update deployments set cancel_requested_at = now() where id = $1', [found.deploymentId]);
        }
      });
      return readAs(caller, found.deploymentId);
    },

    async stop(caller, deploymentId) {
      const found = await access.requireDeployment(caller, deploymentId, 'deployment:stop');
      await act(pool, found, caller, async (standing, client, record) => {
        const { status, active, queued } = standing;
        if (status === 'STOPPING' || status === 'STOPPED') return;
        if (!isLive(status))
          throw new ConflictError(`it is ${status.toLowerCase()}: only a live deployment can be stopped`);
        if (active !== null || queued > 0)
          throw new ConflictError('another deployment of this stack is under way here: cancel it first, or wait');
        const actor = actorOf(requireCaller(caller));
        await transition(client, record, found.deploymentId, {
          to: 'STOPPING',
          reason: null,
          deadlineSeconds: ENDING_SECONDS,
          actor,
        });
        await client.query(`update stack_environments set active_deployment_id = $1 where live_deployment_id = $1`, [
          found.deploymentId,
        ]);
        await client.query('update deployments set stop_requested_at = now() where id = $1', [found.deploymentId]);
      });
      return readAs(caller, found.deploymentId);
    },
  };
}

/** Decides about a deployment under the lock of its stack's row, so that a cancel and a commit cannot pass each other. */
async function act(
  pool: Pool,
  found: DeploymentAccess,
  caller: Caller | null,
  decide: (
    standing: Standing,
    client: Parameters<Parameters<typeof recorded>[1]>[0],
    record: Recorder,
  ) => Promise<void>,
): Promise<void> {
  requireCaller(caller);
  await recorded(pool, async (client, record) => {
    const { rows } = await client.query<Standing>(
      `select d.status::text as status, se.active_deployment_id as active,
              (select count(*)::int from deployments q where q.stack_environment_id = se.id and q.status = 'QUEUED') as queued
       from deployments d join stack_environments se on se.id = d.stack_environment_id where d.id = $1 for no key update of se, d`,
      [found.deploymentId],
    );
    if (!rows[0]) throw new NotFoundError('deployment');
    if (found.hostId) record.wake(hostTopic(found.hostId));
    await decide(rows[0], client, record);
  });
}
