import type { StackServiceSummary } from '../../compose/index.ts';
import type { Stack } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery, rowQuery } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { ActorRef } from '../identity/schema.ts';
import { OrganizationRef } from '../organizations/schema.ts';
import type { VersionKey } from './lists.ts';

const StackServiceRef = builder.objectRef<StackServiceSummary>('StackService').implement({
  description: 'A service of a compose file, as far as it can be read without variables.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Its key in the file.' }),
    image: t.exposeString('image', { nullable: true, description: 'The image, where it names one.' }),
    command: t.exposeStringList('command', {
      nullable: true,
      description: 'Program and arguments, where it gives them.',
    }),
    ports: t.exposeStringList('ports', { description: 'As a compose file writes them: "8080:80", "53:53/udp".' }),
    dependsOn: t.exposeStringList('dependsOn', { description: 'The services that it waits for.' }),
    replicas: t.exposeInt('replicas', { description: 'How many of it run.' }),
  }),
});

/** Selects what is asked for: a compose file may have 1 MiB. */
export const StackVersionRef = builder.prismaNode('StackVersion', {
  description: "What a stack was at one time: immutable; every change of a stack's compose file adds one.",
  id: { field: 'id', description: 'Global ID.' },
  select: { id: true, stackId: true, number: true },
  fields: (t) => ({
    stack: t.relation('stack', { description: 'The stack.' }),
    number: t.exposeInt('number', { description: '1, 2, 3 … within the stack.' }),
    compose: t.exposeString('compose', { description: 'The compose file, as it was given.' }),
    services: t.field({
      type: [StackServiceRef],
      description: 'What it has in it, by name.',
      select: { services: true },
      resolve: ({ services }) => services as StackServiceSummary[],
    }),
    createdBy: t.field({
      type: ActorRef,
      nullable: true,
      description: 'Who made it; null where they are gone.',
      select: { createdBy: true },
      resolve: ({ createdBy }) => createdBy,
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
  }),
});
registerNode('StackVersion', async ({ services, caller }, ids) =>
  byId(await services.stacks.findVersions(caller, ids)),
);

export const StackRef = builder.prismaNode('Stack', {
  description: 'A compose file under a name, with all its versions.',
  id: { ...viewerIndependent, field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    name: t.exposeString('name', { ...viewerIndependent, description: '1–100 characters.' }),
    slug: t.exposeString('slug', {
      ...viewerIndependent,
      description: 'Short name, unique in the organization: 2–50 of a–z, 0–9 and "-".',
    }),
    description: t.exposeString('description', { nullable: true, description: 'Up to 2,000 characters.' }),
    organization: t.relation('organization', { description: 'Whose it is.' }),
    currentVersion: t.field({
      type: StackVersionRef,
      description: 'The newest one: what a deployment takes that names none.',
      resolve: async ({ id, currentNumber }, _args, context, info) => {
        const key = { stackId: id, number: currentNumber };
        const version = await batchedField(context, info, id, key, (keys: VersionKey[]) =>
          context.services.stacks.versionsByStack(context.caller, keys, rowQuery(context, info)),
        );
        return version!;
      },
    }),
    versions: t.field({
      type: connectionFor(StackVersionRef),
      nullable: true,
      description: 'All versions, the newest first.',
      args: pageArgs(),
      complexity: pageComplexity,
      resolve: ({ id }, args, context, info) => {
        const page = parsePage(args);
        return batchedField(context, info, id, id, (ids: string[]) =>
          context.services.stacks.versionPages(context.caller, ids, page, pageQuery(context, info)),
        );
      },
    }),
    lastDeployedAt: t.expose('lastDeployedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'When a deployment of it was last created; null: never.',
    }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});
registerNode('Stack', async ({ services, caller }, ids) => byId(await services.stacks.findMany(caller, ids)));

builder.queryField('stack', (t) =>
  t.prismaField({
    type: StackRef,
    nullable: true,
    description: 'One stack; null where there is none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'Its global ID.' }) },
    resolve: (query, _root, args, { services, caller }) => {
      const id = decodeIdOf('Stack', args.id);
      return id === null ? null : services.stacks.find(caller, id, query);
    },
  }),
);

const StackFilter = builder.inputType('StackFilter', {
  description: 'Which stacks.',
  fields: (t) => ({
    search: t.string({ description: 'A part of the name or slug, without regard to case; up to 200 characters.' }),
    environmentId: t.id({ description: 'Only what runs there now.' }),
  }),
});
const StackOrder = builder.enumType('StackOrder', {
  description: 'The order of stacks; NAME_ASC by default. Those never deployed come last.',
  values: ['NAME_ASC', 'NAME_DESC', 'CREATED_AT_ASC', 'CREATED_AT_DESC', 'LAST_DEPLOYED_AT_DESC'] as const,
});

builder.objectField(OrganizationRef, 'stacks', (t) =>
  t.field({
    type: connectionFor<Stack>(StackRef),
    nullable: true,
    description: 'Its stacks.',
    args: {
      filter: t.arg({ type: StackFilter, description: 'Which of them.' }),
      orderBy: t.arg({ type: StackOrder, description: 'NAME_ASC by default.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: ({ id }, { filter, orderBy: order, ...args }, context, info) => {
      const page = parsePage(args);
      const environmentId = filter?.environmentId == null ? undefined : decodeIdOf('Environment', filter.environmentId);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.stacks.pages(context.caller, ids, {
          filter: { search: filter?.search, environmentId },
          order,
          page,
          query: pageQuery(context, info),
        }),
      );
    },
  }),
);
