import type { Deployment } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery, rowQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { EnvironmentRef } from '../environments/schema.ts';
import { ActorRef, loadActor } from '../identity/schema.ts';
import { StackRef } from '../stacks/schema.ts';
import type { DeploymentParent, DeploymentFilter as Filter } from './lists.ts';
import { DeploymentServiceRef } from './services-schema.ts';

export const DeploymentStatusRef = builder.enumType('DeploymentStatus', {
  description: 'Where a deployment stands.',
  values: {
    QUEUED: {
      description:
        'Waits for a server that reaches the runtime, or for another deployment of the same stack and environment.',
    },
    PREPARING: { description: 'Resolves and validates: nothing that runs has been touched.' },
    DEPLOYING: { description: 'Starts and replaces services in the order of their dependencies.' },
    VERIFYING: { description: 'Waits for health.' },
    RUNNING: {
      description:
        'Live: every service is healthy, or runs without a health check, or exited 0 where its restart policy allows that.',
    },
    DEGRADED: { description: 'Live, and a service is not as it should be; alternates with RUNNING.' },
    STOPPING: { description: 'Is being taken down by request.' },
    CANCELLING: { description: 'Restores what ran before.' },
    STOPPED: { description: 'Final: taken down.' },
    FAILED: { description: 'Final: never became live.' },
    CANCELLED: { description: 'Final: cancelled before it became live.' },
    SUPERSEDED: { description: 'Final: another deployment took its place.' },
  },
});
const DeploymentTrigger = builder.enumType('DeploymentTrigger', {
  description: 'What made a deployment.',
  values: {
    MANUAL: { description: 'deploymentCreate, or an agent’s tool deployments.create.' },
    ROLLBACK: {
      description:
        'deploymentRollback, an agent’s or a workflow’s, or the server itself where one failed once it was live.',
    },
    REDEPLOY: { description: 'deploymentRedeploy.' },
    WORKFLOW: { description: 'A step deploy of a workflow.' },
    SCHEDULE: { description: 'Nothing makes such yet: a schedule begins a workflow.' },
    WEBHOOK: { description: 'Nothing makes such yet: a webhook begins a workflow.' },
  },
});
export const DeploymentStrategyRef = builder.enumType('DeploymentStrategy', {
  description: 'How services are replaced. PROCESS supports RECREATE, DOCKER all of them.',
  values: {
    RECREATE: { description: 'Services that differ are stopped, then started anew.' },
    ROLLING: { description: 'Replica by replica: each new one takes over once it is up.' },
    BLUE_GREEN: { description: 'A whole second set, which takes over at once when all of it is up.' },
  },
});
export const DeploymentRef = builder.prismaNode('Deployment', {
  description: 'A version of a stack in an environment: from the request until it is final.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    number: t.exposeInt('number', {
      ...viewerIndependent,
      description: '1, 2, 3 … within stack and environment, in the order of work.',
    }),
    revision: t.exposeInt('revision', { ...viewerIndependent, description: 'Rises with every visible change.' }),
    status: t.expose('status', { ...viewerIndependent, type: DeploymentStatusRef, description: 'Where it stands.' }),
    statusReason: t.exposeString('statusReason', {
      ...viewerIndependent,
      nullable: true,
      description: 'Why, in one sentence: "service db: exited with code 1 before it was healthy".',
    }),
    strategy: t.expose('strategy', {
      ...viewerIndependent,
      type: DeploymentStrategyRef,
      description: 'How services are replaced.',
    }),
    watchUntil: t.expose('watchUntil', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description:
        'Until then what ran before is brought back if it fails; null: it is not live yet, is not watched, or was brought to an end by that.',
    }),
    trigger: t.expose('trigger', { ...viewerIndependent, type: DeploymentTrigger, description: 'What made it.' }),
    stack: t.relation('stack', { ...viewerIndependent, description: 'What is deployed.' }),
    stackVersion: t.relation('stackVersion', { description: 'In which version.' }),
    environment: t.relation('environment', { ...viewerIndependent, description: 'Where.' }),
    services: t.field({
      ...viewerIndependent,
      type: [DeploymentServiceRef],
      description: 'What runs of it, by name; once it is final, what last ran.',
      complexity: { field: 2, multiplier: 1 },
      resolve: async ({ id }, _args, context, info) =>
        (await batchedField(context, info, id, id, (ids: string[]) => context.services.deployments.services(ids))) ??
        [],
    }),
    steps: t.relation('steps', {
      ...viewerIndependent,
      description: 'The parts of its roll-out, in order.',
      query: { orderBy: { position: 'asc' } },
    }),
    progress: t.exposeFloat('progress', {
      ...viewerIndependent,
      description: '0–1: how much of the roll-out is done; never falls; 1 once live.',
    }),
    rollbackOf: t.relation('rollbackOf', { nullable: true, description: 'The one that this undoes.' }),
    source: t.relation('source', { nullable: true, description: 'The one whose release this runs again.' }),
    supersededBy: t.relation('supersededBy', { nullable: true, description: 'The one that took its place.' }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who asked for it; null where they are gone, or the server did.',
      select: { createdBy: true, agentId: true, workflowId: true },
      resolve: ({ createdBy, agentId, workflowId }, _args, context, info) => {
        if (agentId !== null) return loadActor(context, info, encodeGlobalId('Agent', agentId));
        return workflowId === null ? createdBy : loadActor(context, info, encodeGlobalId('Workflow', workflowId));
      },
    }),
    createdAt: t.expose('createdAt', { ...viewerIndependent, type: 'DateTime', description: 'When it was asked for.' }),
    startedAt: t.expose('startedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When work on it began.',
    }),
    liveAt: t.expose('liveAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it first became RUNNING or DEGRADED.',
    }),
    finishedAt: t.expose('finishedAt', {
      ...viewerIndependent,
      type: 'DateTime',
      nullable: true,
      description: 'When it became final.',
    }),
  }),
});
registerNode('Deployment', async ({ services, caller }, ids) => byId(await services.deployments.findMany(caller, ids)));

builder.queryField('deployment', (t) =>
  t.prismaField({
    type: DeploymentRef,
    nullable: true,
    description: 'One deployment; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Deployment', args.id);
      return id === null ? null : services.deployments.find(caller, id, query);
    },
  }),
);

const DeploymentFilter = builder.inputType('DeploymentFilter', {
  description: 'Which deployments.',
  fields: (t) => ({
    status: t.field({ type: [DeploymentStatusRef], description: 'In one of these states.' }),
    stackId: t.id({ description: 'Of this stack.' }),
    environmentId: t.id({ description: 'In this environment.' }),
    trigger: t.field({ type: DeploymentTrigger, description: 'Made by this.' }),
    createdAfter: t.field({ type: 'DateTime', description: 'Asked for after this moment.' }),
    createdBefore: t.field({ type: 'DateTime', description: 'Asked for before this moment.' }),
  }),
});
const DeploymentOrder = builder.enumType('DeploymentOrder', {
  description: 'The order of deployments; CREATED_AT_DESC by default.',
  values: ['CREATED_AT_DESC', 'CREATED_AT_ASC'] as const,
});

type FilterInput = typeof DeploymentFilter.$inferInput;

function filterOf(input: FilterInput | null | undefined): Filter {
  const { stackId, environmentId, ...rest } = input ?? {};
  return {
    ...rest,
    stackId: stackId == null ? undefined : decodeIdOf('Stack', stackId),
    environmentId: environmentId == null ? undefined : decodeIdOf('Environment', environmentId),
  };
}

const listArgs = () =>
  builder.args((t) => ({
    filter: t.field({ type: DeploymentFilter, description: 'Which of them.' }),
    orderBy: t.field({ type: DeploymentOrder, description: 'CREATED_AT_DESC by default.' }),
  }));

builder.queryField('deployments', (t) =>
  t.field({
    type: connectionFor<Deployment>(DeploymentRef),
    nullable: true,
    description: 'The deployments of an organization; null where there is none that the caller may see.',
    args: { organizationId: t.arg.id({ required: true, description: 'Whose.' }), ...listArgs(), ...pageArgs() },
    complexity: pageComplexity,
    resolve: async (_root, { organizationId, filter, orderBy: order, ...args }, context, info) => {
      const page = parsePage(args);
      const id = decodeIdOf('Organization', organizationId);
      const request = { filter: filterOf(filter), order, page, query: pageQuery(context, info) };
      const pages = await context.services.deployments.pages(
        context.caller,
        'organization',
        id === null ? [] : [id],
        request,
      );
      return pages.get(id ?? '') ?? null;
    },
  }),
);

/** `deployments` and `liveDeployments` of what a deployment belongs to. */
function addDeployments(
  ref: typeof StackRef | typeof EnvironmentRef,
  parent: Exclude<DeploymentParent, 'organization'>,
  perWhat: string,
): void {
  builder.objectFields(ref as typeof StackRef, (t) => ({
    deployments: t.field({
      type: connectionFor<Deployment>(DeploymentRef),
      nullable: true,
      description: 'Its deployments.',
      args: { ...listArgs(), ...pageArgs() },
      complexity: pageComplexity,
      resolve: ({ id }, { filter, orderBy: order, ...args }, context, info) => {
        const page = parsePage(args);
        const request = { filter: filterOf(filter), order, page, query: pageQuery(context, info) };
        return batchedField(context, info, id, id, (ids: string[]) =>
          context.services.deployments.pages(context.caller, parent, ids, request),
        );
      },
    }),
    liveDeployments: t.field({
      type: [DeploymentRef],
      description: `What runs now, ${perWhat}.`,
      resolve: async ({ id }, _args, context, info) =>
        (await batchedField(context, info, id, id, (ids: string[]) =>
          context.services.deployments.live(context.caller, parent, ids, rowQuery(context, info)),
        )) ?? [],
    }),
  }));
}
addDeployments(StackRef, 'stack', 'one an environment');
addDeployments(EnvironmentRef, 'environment', 'one a stack');
