import type { OrganizationMember } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf, encodeGlobalId } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { OrganizationRef, RoleRef } from './schema.ts';

export const OrganizationMemberRef = builder.prismaNode('OrganizationMember', {
  description: 'A user in an organization.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    organization: t.relation('organization', { description: 'Where.' }),
    user: t.relation('user', { description: 'Who.' }),
    role: t.expose('role', { type: RoleRef, description: 'What they may do there.' }),
    joinedAt: t.expose('joinedAt', { type: 'DateTime', description: 'Since when.' }),
  }),
});
registerNode('OrganizationMember', async ({ services, caller }, ids) =>
  byId(await services.organizations.findMembers(caller, ids)),
);

builder.objectField(OrganizationRef, 'members', (t) =>
  t.field({
    type: connectionFor<OrganizationMember>(OrganizationMemberRef),
    nullable: true,
    description: 'Its members, in the order in which they joined.',
    args: pageArgs(),
    complexity: pageComplexity,
    resolve: ({ id }, args, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.organizations.memberPages(context.caller, ids, page, pageQuery(context, info)),
      );
    },
  }),
);

const OrganizationMemberUpdateInput = builder.inputType('OrganizationMemberUpdateInput', {
  description: 'Another role for a member.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Where.' }),
    userId: t.id({ required: true, description: 'Whose.' }),
    role: t.field({ type: RoleRef, required: true, description: "Not above the caller's own." }),
  }),
});
const OrganizationMemberRemoveInput = builder.inputType('OrganizationMemberRemoveInput', {
  description: 'A member who goes.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Where.' }),
    userId: t.id({ required: true, description: 'Who; the caller to leave.' }),
  }),
});

const idsOf = (input: { organizationId: string; userId: string }) => ({
  organizationId: decodeIdOf('Organization', input.organizationId),
  userId: decodeIdOf('User', input.userId),
});

builder.mutationFields((t) => ({
  organizationMemberUpdate: t.field({
    type: OrganizationMemberRef,
    nullable: true,
    description: "Changes a member's role. For admins, up to their own role. ConflictError: the last owner.",
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: OrganizationMemberUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.organizations.updateMember(caller, { ...idsOf(input), role: input.role }),
  }),
  organizationMemberRemove: t.field({
    type: DeletedRef,
    nullable: true,
    description: 'Removes a member, for admins; or lets the caller leave. ConflictError: the last owner.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: OrganizationMemberRemoveInput, required: true }) },
    resolve: async (_root, { input }, { services, caller }) => {
      const { id } = await services.organizations.removeMember(caller, idsOf(input));
      return { id: encodeGlobalId('OrganizationMember', id) };
    },
  }),
}));
