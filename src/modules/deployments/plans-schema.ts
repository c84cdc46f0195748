import type { FieldChange, Finding } from '../../compose/index.ts';
import { builder } from '../../graphql/builder.ts';
import { FindingRef } from '../../graphql/error-types.ts';
import { oneByOne, registerNode } from '../../graphql/nodes.ts';
import { NotFoundError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { MAX_SHOWN_LENGTH } from './hidden-fields.ts';
import type { ServiceChange } from './plan.ts';
import { MAX_PLANS_PER_STACK, PLAN_HOURS } from './plans.ts';
import { DeploymentStrategyRef } from './schema.ts';

const ChangeAction = builder.enumType('ChangeAction', {
  description: 'What a deployment does to a service.',
  values: {
    CREATE: { description: 'Nothing of it runs: it is started.' },
    RECREATE: {
      description: 'It differs from what runs, or does not run as it should: it is stopped and started anew.',
    },
    SCALE: { description: 'Only the number of replicas changes: those that stay are left alone.' },
    REMOVE: { description: 'The stack has it no more: it is stopped.' },
    UNCHANGED: { description: 'It runs as it should, and is left alone.' },
  } as const,
});

const FieldChangeRef = builder.objectRef<FieldChange>('FieldChange').implement({
  description:
    'One field that differs. A secret shows as "(secret)"; where another one takes its place, as "(secret, changed)".',
  fields: (t) => ({
    path: t.exposeString('path', {
      description:
        'In the words of a compose file, resolved: "environment.LOG_LEVEL", "ports["80/tcp"]"; of one replica: "replicas[2].state", "replicas[1].files["/etc/app.conf"]".',
    }),
    before: t.exposeString('before', {
      nullable: true,
      description: `What runs; null: absent. Cut after ${MAX_SHOWN_LENGTH} characters.`,
    }),
    after: t.exposeString('after', {
      nullable: true,
      description: `What would run; null: absent. Cut after ${MAX_SHOWN_LENGTH} characters.`,
    }),
  }),
});

const ServiceChangeRef = builder.objectRef<ServiceChange>('ServiceChange').implement({
  description: 'What a deployment would do to one service.',
  fields: (t) => ({
    service: t.exposeString('service', { description: 'Its name in the compose file.' }),
    action: t.expose('action', { type: ChangeAction, description: 'What is done to it.' }),
    fields: t.field({
      type: [FieldChangeRef],
      description:
        'Why: every field that differs from what really runs; none for UNCHANGED. Where a plan has very many, the last one counts those left out.',
      complexity: { field: 1, multiplier: 1 },
      resolve: ({ fields }) => fields,
    }),
  }),
});

export const DeploymentPlanRef = builder.prismaNode('DeploymentPlan', {
  description:
    'What a deployment would do, computed from what runs now. Carried out with deploymentCreate(planId); what has changed by then makes it out of date.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    stack: t.relation('stack', { description: 'What would be deployed.' }),
    stackVersion: t.relation('stackVersion', { description: 'In which version.' }),
    environment: t.relation('environment', { description: 'Where.' }),
    strategy: t.expose('strategy', { type: DeploymentStrategyRef, description: 'How services would be replaced.' }),
    changes: t.field({
      type: [ServiceChangeRef],
      description: 'Every service of the stack, in the order of starting, then those that would go.',
      complexity: { field: 1, multiplier: 1 },
      select: { changes: true },
      resolve: ({ changes }) => changes as ServiceChange[],
    }),
    findings: t.field({
      type: [FindingRef],
      description: 'What the check of the compose file has to say; no errors, or there would be no plan.',
      select: { findings: true },
      resolve: ({ findings }) => findings as Finding[],
    }),
    expiresAt: t.expose('expiresAt', {
      type: 'DateTime',
      description: `Until when it can be carried out: ${PLAN_HOURS} hour after it was made.`,
    }),
  }),
});
registerNode(
  'DeploymentPlan',
  oneByOne(({ services, caller }, id) => services.deployments.findPlan(caller, id)),
);

const DeploymentPlanInput = builder.inputType('DeploymentPlanInput', {
  description: 'What would be deployed, and where.',
  fields: (t) => ({
    stackId: t.id({ required: true, description: 'The stack.' }),
    environmentId: t.id({ required: true, description: 'The environment, of the same organization.' }),
    stackVersion: t.int({ description: 'The number of a version; absent: the current one.' }),
    strategy: t.field({
      type: DeploymentStrategyRef,
      description:
        'Absent: ROLLING for a stack with an ingress whose changed services can run twice for a while, else RECREATE; why is a finding.',
    }),
  }),
});

builder.mutationField('deploymentPlan', (t) =>
  t.field({
    type: DeploymentPlanRef,
    nullable: true,
    description: `Says what a deployment would do, compared with what really runs, changes by hand included; nothing is changed. Who may deploy there may plan. What cannot be deployed is a ValidationError with findings. Of a stack in an environment, the newest ${MAX_PLANS_PER_STACK} plans are kept.`,
    errors: { types: [ValidationError, NotFoundError] },
    args: { input: t.arg({ type: DeploymentPlanInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.deployments.plan(caller, {
        ...input,
        stackId: decodeIdOf('Stack', input.stackId),
        environmentId: decodeIdOf('Environment', input.environmentId),
      }),
  }),
);
