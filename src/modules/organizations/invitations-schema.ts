import type { Invitation } from '../../db/generated/prisma/client.ts';
import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { batchedField, byId } from '../../graphql/field-batch.ts';
import { registerNode } from '../../graphql/nodes.ts';
import { connectionFor, pageArgs, pageComplexity, pageQuery } from '../../graphql/pagination.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { parsePage } from '../../shared/pagination.ts';
import { OrganizationRef, RoleRef } from './schema.ts';

export const InvitationRef = builder.prismaNode('Invitation', {
  description: 'A place in an organization for whoever has an e-mail address: single use, for 7 days.',
  id: { field: 'id', description: 'Global ID.' },
  fields: (t) => ({
    organization: t.relation('organization', { description: 'Where.' }),
    email: t.exposeString('email', { description: 'Whose: nobody else can use it.' }),
    role: t.expose('role', { type: RoleRef, description: 'What they may do once they joined.' }),
    expiresAt: t.expose('expiresAt', { type: 'DateTime', description: 'When it ends unused.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
  }),
});
registerNode('Invitation', async ({ services, caller }, ids) =>
  byId(await services.organizations.findInvitations(caller, ids)),
);

builder.objectField(OrganizationRef, 'invitations', (t) =>
  t.field({
    type: connectionFor<Invitation>(InvitationRef),
    nullable: true,
    description: 'Open invitations, the oldest first. To admins; null to others.',
    args: pageArgs(),
    complexity: pageComplexity,
    resolve: ({ id }, args, context, info) => {
      const page = parsePage(args);
      return batchedField(context, info, id, id, (ids: string[]) =>
        context.services.organizations.invitationPages(context.caller, ids, page, pageQuery(context, info)),
      );
    },
  }),
);

const InvitationCreatedRef = builder
  .objectRef<{ invitation: Invitation; token: string }>('InvitationCreated')
  .implement({
    description: 'A new invitation.',
    fields: (t) => ({
      invitation: t.field({
        type: InvitationRef,
        description: 'What was made.',
        resolve: ({ invitation }) => invitation,
      }),
      token: t.exposeString('token', { description: 'Told once, here: hand it to the invited person.' }),
    }),
  });

const OrganizationInviteInput = builder.inputType('OrganizationInviteInput', {
  description: 'Whom to invite.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Where.' }),
    email: t.string({ required: true, description: 'Whose account may use it, also one that is registered later.' }),
    role: t.field({ type: RoleRef, defaultValue: 'DEVELOPER', description: "Not above the caller's own." }),
  }),
});
const InvitationAcceptInput = builder.inputType('InvitationAcceptInput', {
  description: 'What is used.',
  fields: (t) => ({ token: t.string({ required: true, description: 'As it was handed over.' }) }),
});
const InvitationRevokeInput = builder.inputType('InvitationRevokeInput', {
  description: 'What ends.',
  fields: (t) => ({ invitationId: t.id({ required: true, description: 'Its global ID.' }) }),
});

builder.mutationFields((t) => ({
  organizationInvite: t.field({
    type: InvitationCreatedRef,
    nullable: true,
    description: 'Invites an e-mail address. For admins. ConflictError: a member, or invited already.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: OrganizationInviteInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.organizations.invite(caller, {
        ...input,
        organizationId: decodeIdOf('Organization', input.organizationId),
      }),
  }),
  invitationAccept: t.field({
    type: OrganizationRef,
    nullable: true,
    description: "Joins the organization that invited the caller's e-mail. ConflictError: a member already.",
    errors: { types: [NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: InvitationAcceptInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => services.organizations.acceptInvitation(caller, input.token),
  }),
  invitationRevoke: t.field({
    type: DeletedRef,
    nullable: true,
    description: 'Ends an invitation that nobody used. For admins.',
    errors: { types: [NotFoundError] },
    args: { input: t.arg({ type: InvitationRevokeInput, required: true }) },
    resolve: async (_root, { input: { invitationId: id } }, { services, caller }) => {
      await services.organizations.revokeInvitation(caller, decodeIdOf('Invitation', id));
      return { id };
    },
  }),
}));
