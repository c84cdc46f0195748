import { z } from 'zod';
import { idempotencyKey } from '../input.ts';

export const MIN_HEALTH_TIMEOUT_SECONDS = 1;
export const MAX_HEALTH_TIMEOUT_SECONDS = 3_600;
export const DEFAULT_HEALTH_TIMEOUT_SECONDS = 120;

export const DEFAULT_WATCH_SECONDS = 60;
export const MAX_WATCH_SECONDS = 3_600;

/** What the database, and an Int of the API, can hold. */
const MAX_INT = 2 ** 31 - 1;

const watch = `must be between 0 and ${MAX_WATCH_SECONDS} seconds`;
const healthTimeout = `must be between ${MIN_HEALTH_TIMEOUT_SECONDS} and ${MAX_HEALTH_TIMEOUT_SECONDS} seconds`;

/** Which strategies a runtime supports is looked at later, see `requireStrategy`. */
export const deploymentCreateInput = z.object({
  stackVersion: z.int().min(1, 'versions are numbered from 1').max(MAX_INT, 'there is no such version').nullish(),
  strategy: z.enum(['RECREATE', 'ROLLING', 'BLUE_GREEN']).nullish(),
  autoRollback: z.boolean().nullish(),
  healthTimeoutSeconds: z
    .int()
    .min(MIN_HEALTH_TIMEOUT_SECONDS, healthTimeout)
    .max(MAX_HEALTH_TIMEOUT_SECONDS, healthTimeout)
    .nullish(),
  watchSeconds: z.int().min(0, watch).max(MAX_WATCH_SECONDS, watch).nullish(),
  idempotencyKey,
});
export const deploymentPlanInput = deploymentCreateInput.pick({ stackVersion: true, strategy: true });
export const deploymentRerunInput = z.object({ idempotencyKey });

export type DeploymentCreateInput = {
  stackId: string | null;
  environmentId: string | null;
  stackVersion?: number | null;
  strategy?: string | null;
  autoRollback?: boolean | null;
  healthTimeoutSeconds?: number | null;
  watchSeconds?: number | null;
  /** Absent: no plan; null: an id that cannot be one. */
  planId?: string | null;
  /** What asks for it; absent: a person. */
  trigger?: 'WORKFLOW';
  idempotencyKey?: string | null;
};
export type DeploymentPlanInput = Pick<
  DeploymentCreateInput,
  'stackId' | 'environmentId' | 'stackVersion' | 'strategy'
>;
export type DeploymentRollbackInput = {
  deploymentId: string | null;
  /** Absent: the newest one; null: an id that cannot be one. */
  toDeploymentId?: string | null;
  idempotencyKey?: string | null;
};
export type DeploymentRedeployInput = { deploymentId: string | null; idempotencyKey?: string | null };
