import type { Pool } from 'pg';
import type { Privilege } from '../../compose/index.ts';
import type {
  DeploymentStatus,
  DeploymentStrategy,
  DeploymentTrigger,
  RuntimeKind,
} from '../../db/generated/prisma/enums.ts';

/** What a deployment's workflow knows of it; read anew in every step, since steps may run in different processes. */
export type DeploymentTask = {
  id: string;
  number: number;
  status: DeploymentStatus;
  organizationId: string;
  stackId: string;
  stackVersionId: string;
  strategy: DeploymentStrategy;
  trigger: DeploymentTrigger;
  environmentId: string;
  stackEnvironmentId: string;
  releaseId: string | null;
  /** Of the deployment whose release is run again. */
  sourceReleaseId: string | null;
  /** Of the plan that it carries out. */
  planDigest: string | null;
  autoRollback: boolean;
  healthTimeoutSeconds: number;
  compose: string;
  runtime: RuntimeKind;
  uidOffset: number | null;
  /** What containers of the environment may do beyond their own walls. */
  privileges: Privilege[];
  stackSlug: string;
  environmentSlug: string;
  hostId: string | null;
  /** Whether the present state should have ended by now. */
  isLate: boolean;
  liveDeploymentId: string | null;
  liveReleaseId: string | null;
};

export async function readTask(pool: Pick<Pool, 'query'>, deploymentId: string): Promise<DeploymentTask | null> {
  const { rows } = await pool.query<DeploymentTask>(
    `select d.id, d.number, d.status::text as status, d.organization_id as "organizationId", d.stack_id as "stackId",
            d.stack_version_id as "stackVersionId", d.strategy::text as strategy, d.trigger::text as trigger, d.environment_id as "environmentId",
            d.stack_environment_id as "stackEnvironmentId", d.release_id as "releaseId", source.release_id as "sourceReleaseId",
            d.plan_digest as "planDigest", d.auto_rollback as "autoRollback",
            d.health_timeout_seconds as "healthTimeoutSeconds", v.compose, e.runtime::text as runtime,
            e.uid_offset as "uidOffset", e.privileges, s.slug as "stackSlug", e.slug as "environmentSlug", e.host_id as "hostId", coalesce(d.deadline_at < now(), false) as "isLate",
            se.live_deployment_id as "liveDeploymentId", live.release_id as "liveReleaseId"
     from deployments d join stack_versions v on v.id = d.stack_version_id join environments e on e.id = d.environment_id
     join stacks s on s.id = d.stack_id
     join stack_environments se on se.id = d.stack_environment_id left join deployments live on live.id = se.live_deployment_id
     left join deployments source on source.id = d.source_id
     where d.id = $1`,
    [deploymentId],
  );
  return rows[0] ?? null;
}

/** How a step of a workflow ended; JSON, since it is recorded. */
export type StepOutcome =
  | { result: 'ok' }
  /** Failed or cancelled: what ran before is restored. */
  | { result: 'failed'; reason: string; started: boolean }
  | { result: 'cancelled' }
  /** The deployment is final already: there is nothing to do. */
  | { result: 'over' };

export const STEP_OK: StepOutcome = { result: 'ok' };
