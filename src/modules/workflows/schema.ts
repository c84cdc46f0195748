import type { Workflow } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { WEBHOOK_PATH } from '../../shared/webhook-path.ts';
import { addExecutions, ExecutionRef } from '../executions/schema.ts';
import { ActorRef } from '../identity/schema.ts';
import { OrganizationRef } from '../organizations/schema.ts';
import type { WorkflowVersionKey } from './lists.ts';

export const WorkflowRef = builder.prismaNode('Workflow', {
  description: 'A directed acyclic graph of steps, as immutable versions.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    name: t.exposeString('name', {
      ...viewerIndependent,
      description: '1–100 characters, unique in the organization.',
    }),
    organization: t.relation('organization', { description: 'Whose it is.' }),
    version: t.exposeInt('version', {
      ...viewerIndependent,
      description: '1, 2, 3 …: which of its versions is the current one, that runs take which begin now.',
    }),
    definition: t.field({
      type: 'JSON',
      description: 'The current version, defaults included; /schemas/workflow.json says what may stand in it.',
      resolve: async ({ id, version }, _args, context, info) => {
        const key = { workflowId: id, version };
        const found = await batchedField(context, info, id, key, (keys: WorkflowVersionKey[]) =>
          context.services.workflows.versionsByWorkflow(context.caller, keys),
        );
        return found!.definition as never;
      },
    }),
    schedule: t.exposeString('schedule', {
      nullable: true,
      description: 'When it begins by itself: five fields of cron, in UTC; its definition may have more triggers.',
    }),
    webhookPath: t.string({
      nullable: true,
      description:
        'Where signed requests begin a run, under the public URL; null: its definition has no trigger of the kind webhook, or no secret was made yet (workflowWebhookSecretRotate).',
      select: { id: true, webhookSecret: true, triggers: { where: { kind: 'webhook' } } },
      resolve: ({ id, webhookSecret, triggers }) =>
        webhookSecret !== null && triggers.length > 0 ? `${WEBHOOK_PATH}${encodeGlobalId('Workflow', id)}` : null,
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who made it; null where they are gone.',
      select: { createdBy: true },
      resolve: ({ createdBy }) => createdBy,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});
registerNode('Workflow', async ({ services, caller }, ids) => byId(await services.workflows.findMany(caller, ids)));

addExecutions(WorkflowRef, 'workflow');
builder.prismaObjectField(ExecutionRef, 'workflow', (t) =>
  t.relation('workflow', { nullable: true, description: 'The workflow; null where it was deleted, or it is none’s.' }),
);
builder.prismaObjectField(ExecutionRef, 'workflowVersion', (t) =>
  t.exposeInt('workflowVersion', {
    ...viewerIndependent,
    nullable: true,
    description: 'Which version of the workflow it carries out.',
  }),
);

builder.queryField('workflow', (t) =>
  t.prismaField({
    type: WorkflowRef,
    nullable: true,
    description: 'One workflow; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Workflow', args.id);
      return id === null ? null : services.workflows.find(caller, id, query);
    },
  }),
);

builder.objectField(OrganizationRef, 'workflows', (t) =>
  t.field({
    type: connectionFor<Workflow>(WorkflowRef),
    nullable: true,
    description: 'Its workflows, by name.',
    args: {
      search: t.arg.string({
        description: 'A part of the name, without regard to case; up to 200 characters.',
      }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { search, ...args }, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.workflows.pages(context.caller, ids, { search, page, query: pageQuery(context, info) }),
      );
    },
  }),
);
