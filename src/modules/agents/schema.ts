import type { Agent, AgentTemplate } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { ActorRef } from '../identity/schema.ts';
import { OrganizationRef } from '../organizations/schema.ts';

export const AgentTemplateRef = builder.prismaNode('AgentTemplate', {
  description: 'A version of a recipe that agents are made from: immutable; every change of a template adds one.',
  id: { field: 'id', description: 'Global ID of this version.' },
  fields: (t) => ({
    organization: t.relation('organization', { description: 'Whose it is.' }),
    slug: t.exposeString('slug', {
      description:
        'Its name in requests, unique in the organization, the same in all versions: 2–50 of a–z, 0–9 and "-".',
    }),
    version: t.exposeInt('version', { description: '1, 2, 3 … under the slug.' }),
    name: t.exposeString('name', { description: '1–100 characters.' }),
    description: t.exposeString('description', { nullable: true, description: 'Up to 2,000 characters.' }),
    type: t.exposeString('type', {
      description: 'What kind of agent it makes, in a word of its maker: 1–50 of a–z, 0–9 and "-".',
    }),
    definition: t.expose('definition', {
      type: 'JSON',
      description:
        'What agents get that give nothing else, as it was given: { model, systemPrompt, configuration }, each optional.',
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who made this version; null where they are gone.',
      select: { createdBy: true },
      resolve: ({ createdBy }) => createdBy,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When this version was made.' }),
  }),
});
registerNode('AgentTemplate', async ({ services, caller }, ids) =>
  byId(await services.agents.findTemplates(caller, ids)),
);

export const AgentRef = builder.prismaNode('Agent', {
  description: 'A model with a task and tools. Its tools have no more rights than the user who made it.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    name: t.exposeString('name', {
      ...viewerIndependent,
      description: '1–100 characters, unique in the organization.',
    }),
    description: t.exposeString('description', { nullable: true, description: 'Up to 2,000 characters.' }),
    organization: t.relation('organization', { description: 'Whose it is.' }),
    template: t.relation('template', {
      nullable: true,
      description: 'The version of a template that it was made from; null: from none. Later versions change nothing.',
    }),
    model: t.exposeString('model', {
      description: 'As its provider has it: "openai/gpt-4o". "builtin/echo" needs no provider.',
    }),
    systemPrompt: t.exposeString('systemPrompt', {
      nullable: true,
      description: 'What the model is told before anything else; up to 64 KiB of UTF-8.',
    }),
    configuration: t.expose('configuration', {
      type: 'JSON',
      description:
        'How it works, defaults included: { temperature, maxTokens, tools, withoutApproval, maxTurns, timeoutSeconds, outputSchema, retry }.',
    }),
    hasCredential: t.boolean({
      description:
        "Whether it has a key of its own for the provider, never readable; false: it uses the installation's.",
      select: { credential: true },
      resolve: ({ credential }) => credential !== null,
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who made it; null where they are gone, and then its tools may do nothing.',
      select: { createdBy: true },
      resolve: ({ createdBy }) => createdBy,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});
registerNode('Agent', async ({ services, caller }, ids) => byId(await services.agents.findMany(caller, ids)));

builder.queryFields((t) => ({
  agent: t.prismaField({
    type: AgentRef,
    nullable: true,
    description: 'One agent; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Agent', args.id);
      return id === null ? null : services.agents.find(caller, id, query);
    },
  }),
  agentTemplate: t.prismaField({
    type: AgentTemplateRef,
    nullable: true,
    description: 'One version of a template; null where there is none that the caller may see.',
    args: {
      organizationId: t.arg.id({ required: true, description: 'Whose it is.' }),
      slug: t.arg.string({ required: true, description: 'Its slug.' }),
      version: t.arg.int({ description: 'Which version; absent: the newest one.' }),
    },
    resolve: (query, _root, { slug, version = null, ...args }, { services, caller }) => {
      const organizationId = decodeIdOf('Organization', args.organizationId);
      return organizationId === null
        ? null
        : services.agents.findTemplate(caller, { organizationId, slug, version }, query);
    },
  }),
}));

builder.objectFields(OrganizationRef, (t) => ({
  agents: t.field({
    type: connectionFor<Agent>(AgentRef),
    nullable: true,
    description: 'Its agents, by name.',
    args: {
      search: t.arg.string({ description: 'A part of the name, without regard to case; up to 200 characters.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { search, ...args }, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.agents.pages(context.caller, ids, { search, page, query: pageQuery(context, info) }),
      );
    },
  }),
  agentTemplates: t.field({
    type: connectionFor<AgentTemplate>(AgentTemplateRef),
    nullable: true,
    description: 'The newest version of each of its templates for agents, by name.',
    args: {
      search: t.arg.string({
        description: 'A part of the name or slug, without regard to case; up to 200 characters.',
      }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { search, ...args }, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.agents.templatePages(context.caller, ids, { search, page, query: pageQuery(context, info) }),
      );
    },
  }),
}));
