import { builder } from '../../graphql/builder.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf, optionalId } from '../../shared/global-id.ts';
import {
  DEFAULT_HEALTH_TIMEOUT_SECONDS,
  DEFAULT_WATCH_SECONDS,
  MAX_HEALTH_TIMEOUT_SECONDS,
  MAX_WATCH_SECONDS,
  MIN_HEALTH_TIMEOUT_SECONDS,
} from './inputs.ts';
import { DeploymentRef, DeploymentStrategyRef } from './schema.ts';

const DeploymentCreateInput = builder.inputType('DeploymentCreateInput', {
  description: 'What is deployed, and where.',
  fields: (t) => ({
    stackId: t.id({ required: true, description: 'The stack.' }),
    environmentId: t.id({ required: true, description: 'The environment, of the same organization.' }),
    stackVersion: t.int({ description: 'The number of a version; absent: the current one, resolved now.' }),
    strategy: t.field({
      type: DeploymentStrategyRef,
      description:
        'Absent: RECREATE. PROCESS supports no other; DOCKER all of them, for services that can run twice for a while.',
    }),
    autoRollback: t.boolean({
      defaultValue: true,
      description:
        'Whether what ran before is restored when this does not become live. False: services that started but are not healthy go live as DEGRADED.',
    }),
    healthTimeoutSeconds: t.int({
      defaultValue: DEFAULT_HEALTH_TIMEOUT_SECONDS,
      description: `How long a service may take to be healthy: ${MIN_HEALTH_TIMEOUT_SECONDS}–${MAX_HEALTH_TIMEOUT_SECONDS} seconds.`,
    }),
    watchSeconds: t.int({
      defaultValue: DEFAULT_WATCH_SECONDS,
      description: `How long it is watched once it is live: where it fails within that time (crashes again and again, or its health checks fail), what ran before is brought back by a deployment of its own, once. 0–${MAX_WATCH_SECONDS} seconds; 0, or without autoRollback: not at all.`,
    }),
    planId: t.id({
      description:
        'A plan of deploymentPlan: it decides version and strategy. ConflictError where it is out of date or has expired; where it is so only when work begins, the deployment ends FAILED and nothing was touched.',
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const DeploymentRollbackInput = builder.inputType('DeploymentRollbackInput', {
  description: 'What is undone, and where to.',
  fields: (t) => ({
    deploymentId: t.id({ required: true, description: 'The live one.' }),
    toDeploymentId: t.id({
      description:
        'One of the same stack and environment that was live once; absent: the newest such one before what runs (before its source, where it has one).',
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const DeploymentRedeployInput = builder.inputType('DeploymentRedeployInput', {
  description: 'What is deployed anew.',
  fields: (t) => ({
    deploymentId: t.id({ required: true, description: 'Its global ID; it may be over.' }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const DeploymentCancelInput = builder.inputType('DeploymentCancelInput', {
  description: 'What is cancelled.',
  fields: (t) => ({ deploymentId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const DeploymentStopInput = builder.inputType('DeploymentStopInput', {
  description: 'What is stopped.',
  fields: (t) => ({ deploymentId: t.id({ required: true, description: 'Its global ID.' }) }),
});

builder.mutationFields((t) => ({
  deploymentCreate: t.field({
    type: DeploymentRef,
    nullable: true,
    description:
      'Asks for a deployment: follow it with deploymentStatus and deploymentLogs. For developers; in PRODUCTION for admins. What cannot be deployed ends FAILED with a reason, and nothing that runs is touched.',
    errors: { types: [ValidationError, NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: DeploymentCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.create(caller, {
        ...input,
        stackId: decodeIdOf('Stack', input.stackId),
        environmentId: decodeIdOf('Environment', input.environmentId),
        planId: optionalId('DeploymentPlan', input.planId),
      }),
  }),
  deploymentRollback: t.field({
    type: DeploymentRef,
    nullable: true,
    description:
      'Runs the stored release of an earlier deployment again, in place of the live one: compose file, variables, secrets and ports as they were. Asks for a new deployment (trigger ROLLBACK). ConflictError where deploymentId is not what runs, or nothing earlier was live. A secret that was deleted since, or a port that is taken, makes it end FAILED, and nothing that runs is touched.',
    errors: { types: [ValidationError, NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: DeploymentRollbackInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.rollback(caller, {
        ...input,
        deploymentId: decodeIdOf('Deployment', input.deploymentId),
        toDeploymentId: optionalId('Deployment', input.toDeploymentId),
      }),
  }),
  deploymentRedeploy: t.field({
    type: DeploymentRef,
    nullable: true,
    description:
      'Deploys the same stack version with the same settings again, with the variables of today (trigger REDEPLOY). What would run as it does already is not touched.',
    errors: { types: [ValidationError, NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: DeploymentRedeployInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.redeploy(caller, {
        ...input,
        deploymentId: decodeIdOf('Deployment', input.deploymentId),
      }),
  }),
  deploymentCancel: t.field({
    type: DeploymentRef,
    nullable: true,
    description:
      'Cancels a deployment that is not live yet; what ran before is restored. One that is being cancelled is returned as it is; a live one: ConflictError.',
    errors: { types: [NotFoundError, ConflictError] },
    args: { input: t.arg({ type: DeploymentCancelInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.cancel(caller, decodeIdOf('Deployment', input.deploymentId)),
  }),
  deploymentStop: t.field({
    type: DeploymentRef,
    nullable: true,
    description:
      'Takes a live deployment down; volumes stay. ConflictError while another deployment of the stack is under way there.',
    errors: { types: [NotFoundError, ConflictError] },
    args: { input: t.arg({ type: DeploymentStopInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.stop(caller, decodeIdOf('Deployment', input.deploymentId)),
  }),
}));
