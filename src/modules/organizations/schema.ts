import type { Organization } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { BadRequestError, ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { ViewerRef } from '../identity/schema.ts';

export const RoleRef = builder.enumType('Role', {
  description: 'What a member may do. Nobody grants, changes or removes a role above their own; the last owner stays.',
  values: {
    OWNER: { description: 'Also deletes the organization and sets quotas.' },
    ADMIN: {
      description: 'Also deploys to PRODUCTION and manages environments, variables, members and notification channels.',
    },
    DEVELOPER: {
      description: 'Also edits stacks, agents and workflows, runs these, and deploys outside PRODUCTION.',
    },
    VIEWER: { description: 'Reads; never the value of a secret.' },
  },
});

export const RuntimeKindRef = builder.enumType('RuntimeKind', {
  description: 'What carries services out.',
  values: {
    PROCESS: { description: 'Processes on the host of a server.' },
    DOCKER: { description: 'Containers of a Docker engine. Not available yet.' },
    SWARM: { description: 'Services of a Docker swarm. Not available yet.' },
    KUBERNETES: { description: 'Workloads of a Kubernetes cluster. Not available yet.' },
  },
});

export const OrganizationRef = builder.prismaNode('Organization', {
  description: 'A tenant: what its members have is invisible to everyone else.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    slug: t.exposeString('slug', { description: 'Short name, unique in the installation: 2–50 of a–z, 0–9 and "-".' }),
    name: t.exposeString('name', { description: '2–100 characters.' }),
    description: t.exposeString('description', { nullable: true, description: 'Up to 2,000 characters.' }),
    settings: t.expose('settings', {
      type: 'JSON',
      description:
        'A JSON object of the members’ own, up to 64 KiB. The server reads `logRetentionDays`: lines of its deployments that are older go, 1–3650 days; absent: as the installation has it. And `monthlyTokenBudget`: tokens that its executions may use in a month of UTC, 0 or more; absent: any number.',
    }),
    isActive: t.exposeBoolean('isActive', {
      description: 'false: everything stays readable, nothing can be changed or deployed.',
    }),
    allowedRuntimes: t.expose('allowedRuntimes', {
      type: [RuntimeKindRef],
      description:
        'What new environments may run on. PROCESS only where a superadmin made the organization, or allowed it: it runs commands on the host.',
    }),
    viewerRole: t.field({
      type: RoleRef,
      nullable: true,
      description: "The caller's role; null for a superadmin who is no member.",
      select: (_args, context) => ({
        members: { where: { userId: context.caller?.userId }, select: { role: true }, take: 1 },
      }),
      resolve: (organization) => organization.members[0]?.role ?? null,
    }),
    environmentCount: t.relationCount('environments', { description: 'How many environments it has.' }),
    userCount: t.relationCount('members', { description: 'How many members it has.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was created.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When it was last changed.' }),
  }),
});
registerNode('Organization', async ({ services, caller }, ids) =>
  byId(await services.organizations.findMany(caller, ids)),
);

const idOf = (globalId: string) => decodeIdOf('Organization', globalId);

const OrganizationFilter = builder.inputType('OrganizationFilter', {
  description: 'Which organizations.',
  fields: (t) => ({
    search: t.string({ description: 'A part of the name or slug, without regard to case; up to 200 characters.' }),
    isActive: t.boolean({ description: 'Only those that are, or are not.' }),
  }),
});
const OrganizationOrder = builder.enumType('OrganizationOrder', {
  description: 'The order of organizations; NAME_ASC by default.',
  values: ['NAME_ASC', 'NAME_DESC', 'CREATED_AT_ASC', 'CREATED_AT_DESC'] as const,
});

builder.queryFields((t) => ({
  organization: t.prismaField({
    type: OrganizationRef,
    nullable: true,
    description: 'One organization by its ID or its slug; null where there is none that the caller belongs to.',
    args: { id: t.arg.id({ description: 'Its global ID.' }), slug: t.arg.string({ description: 'Its slug.' }) },
    resolve: async (query, _root, { id, slug }, { services, caller }) => {
      if ((id == null) === (slug == null)) throw new BadRequestError('give either "id" or "slug"');
      if (slug != null) return services.organizations.find(caller, { slug }, query);
      const uuid = idOf(id!);
      return uuid === null ? null : services.organizations.find(caller, { id: uuid }, query);
    },
  }),
  organizations: t.field({
    type: connectionFor<Organization>(OrganizationRef),
    nullable: true,
    description: 'The organizations that the caller belongs to.',
    args: {
      filter: t.arg({ type: OrganizationFilter, description: 'Which of them.' }),
      orderBy: t.arg({ type: OrganizationOrder, description: 'NAME_ASC by default.' }),
      ...pageArgs(),
    },
    complexity: pageComplexity,
    resolve: (_root, { filter, orderBy: order, ...args }, context, info) =>
      context.services.organizations.page(context.caller, {
        filter,
        order,
        page: parsePage(args),
        query: pageQuery(context, info),
      }),
  }),
}));

builder.objectField(ViewerRef, 'organizations', (t) =>
  t.field({
    type: connectionFor<Organization>(OrganizationRef),
    nullable: true,
    description: 'The organizations that the viewer belongs to, by name.',
    args: pageArgs(),
    complexity: pageComplexity,
    resolve: (_viewer, args, context, info) =>
      context.services.organizations.page(context.caller, { page: parsePage(args), query: pageQuery(context, info) }),
  }),
);

const OrganizationCreateInput = builder.inputType('OrganizationCreateInput', {
  description: 'A new organization; the caller becomes its owner.',
  fields: (t) => ({
    name: t.string({ required: true, description: '2–100 characters.' }),
    slug: t.string({
      description: '2–50 of a–z, 0–9 and "-", unique in the installation; absent: made from the name.',
    }),
    description: t.string({ description: 'Up to 2,000 characters.' }),
    settings: t.field({
      type: 'JSON',
      description: 'A JSON object, up to 64 KiB; `logRetentionDays`: 1–3650; `monthlyTokenBudget`: 0 or more.',
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const OrganizationUpdateInput = builder.inputType('OrganizationUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '2–100 characters.' }),
    description: t.string({ description: 'Up to 2,000 characters; null clears it.' }),
    settings: t.field({
      type: 'JSON',
      description:
        'A JSON object, up to 64 KiB, in place of the former one; `logRetentionDays`: 1–3650; `monthlyTokenBudget`: 0 or more.',
    }),
    isActive: t.boolean({ description: 'false: nothing can be changed or deployed, until it is true again.' }),
  }),
});
const OrganizationDeleteInput = builder.inputType('OrganizationDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ organizationId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const OrganizationRuntimesUpdateInput = builder.inputType('OrganizationRuntimesUpdateInput', {
  description: 'What new environments of an organization may run on.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Its global ID.' }),
    allowedRuntimes: t.field({
      type: [RuntimeKindRef],
      required: true,
      description: 'All of them: others are no longer allowed.',
    }),
  }),
});

builder.mutationFields((t) => ({
  organizationCreate: t.field({
    type: OrganizationRef,
    nullable: true,
    description: 'Creates an organization. ConflictError: the slug is taken, or the idempotencyKey was used otherwise.',
    errors: { types: [ValidationError, ConflictError] },
    args: { input: t.arg({ type: OrganizationCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => services.organizations.create(caller, input),
  }),
  organizationUpdate: t.field({
    type: OrganizationRef,
    nullable: true,
    description: 'Changes an organization. For admins.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: OrganizationUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.organizations.update(caller, { ...input, organizationId: idOf(input.organizationId) }),
  }),
  organizationDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description:
      'Deletes an organization with all that belongs to it. For owners. ConflictError: something of it runs.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: OrganizationDeleteInput, required: true }) },
    resolve: async (_root, { input: { organizationId: id } }, { services, caller }) => {
      await services.organizations.remove(caller, idOf(id));
      return { id };
    },
  }),
  organizationRuntimesUpdate: t.field({
    type: OrganizationRef,
    nullable: true,
    description:
      'Says what new environments of any organization may run on. For superadmins. Existing environments stay.',
    errors: { types: [ValidationError, NotFoundError] },
    args: { input: t.arg({ type: OrganizationRuntimesUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.organizations.updateRuntimes(caller, { ...input, organizationId: idOf(input.organizationId) }),
  }),
}));
