import { Prisma, type Transaction } from '../../db/client.ts';
import type { Invitation, Organization } from '../../db/generated/prisma/client.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { randomToken, sha256 } from '../../shared/crypto.ts';
import { ConflictError, NotFoundError, PermissionDeniedError, QuotaExceededError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { parseInput } from '../../shared/validation.ts';
import { change, type Recorder } from '../change.ts';
import { findRelatedPages } from '../related-pages.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { type Access, requireCaller } from './access.ts';
import { type OrganizationInviteInput, organizationInviteInput } from './inputs.ts';
import { addMember, lockOrganization, membershipsSql, refuseAbove } from './members.ts';

export const INVITATION_LIFETIME_MS = 7 * DAY_MS;
export const MAX_INVITATIONS_PER_ORGANIZATION = 200;

const BY_CREATION = orderBy('created', { field: 'createdAt', direction: 'asc', type: 'date' });
const ADMINS = ['ADMIN', 'OWNER'] as const;

export type Invitations = {
  /** The token is told once, here: the database knows its hash alone. */
  invite(caller: Caller | null, input: OrganizationInviteInput): Promise<{ invitation: Invitation; token: string }>;
  /** Joins the organization that invited the caller's e-mail. */
  acceptInvitation(caller: Caller | null, token: string): Promise<Organization>;
  revokeInvitation(caller: Caller | null, invitationId: string | null): Promise<void>;
  findInvitations(caller: Caller | null, ids: string[], query?: object): Promise<Invitation[]>;
  /** The same page of invitations of each organization that the caller administers, by organization id. */
  invitationPages(
    caller: Caller | null,
    organizationIds: string[],
    page: Page,
    query?: object,
  ): Promise<Map<string, Connection<Invitation>>>;
};

export function createInvitations({ prisma, pool, clock }: ServiceDependencies, access: Access): Invitations {
  return {
    async invite(caller, input) {
      const own = await access.requireOrganization(caller, input.organizationId, 'invitation:manage');
      const { organizationId } = own;
      const values = parseInput(organizationInviteInput, input);
      const role = values.role ?? 'DEVELOPER';
      refuseAbove(own.role, role);
      const token = randomToken();
      const now = clock.now();
      const row = {
        id: newId(),
        organizationId,
        email: values.email,
        emailKey: values.email.toLowerCase(),
        role,
        tokenHash: sha256(token),
        invitedById: caller!.userId,
        expiresAt: new Date(now.getTime() + INVITATION_LIFETIME_MS),
      };
      const invitation = await change(prisma, caller!, async (tx, record) => {
        await lockOrganization(tx, organizationId);
        const { emailKey } = row;
        if (await tx.organizationMember.count({ where: { organizationId, user: { emailKey } } })) {
          throw new ConflictError(`${row.email} belongs to a member already`);
        }
        await tx.invitation.deleteMany({ where: { organizationId, expiresAt: { lte: now } } });
        if (await tx.invitation.count({ where: { organizationId, emailKey } })) {
          throw new ConflictError(`${row.email} is invited already: revoke that invitation to make another`);
        }
        const open = await tx.invitation.count({ where: { organizationId } });
        if (open >= MAX_INVITATIONS_PER_ORGANIZATION) {
          throw new QuotaExceededError('open invitations', MAX_INVITATIONS_PER_ORGANIZATION, open);
        }
        record.event({
          organizationId,
          type: 'invitation.created',
          subject: { type: 'invitation', id: row.id },
          data: { email: row.email, role },
        });
        return tx.invitation.create({ data: row });
      });
      return { invitation, token };
    },

    async acceptInvitation(caller, token) {
      const { userId } = requireCaller(caller);
      return change(prisma, caller!, async (tx, record) => {
        const { emailKey } = await tx.user.findUniqueOrThrow({ where: { id: userId }, select: { emailKey: true } });
        const organizationId = await joinByInvitation(tx, record, { token, userId, emailKey, now: clock.now() });
        return tx.organization.findUniqueOrThrow({ where: { id: organizationId } });
      });
    },

    async revokeInvitation(caller, invitationId) {
      const own = await access.requireInvitation(caller, invitationId, 'invitation:manage');
      refuseAbove(own.role, own.invitedRole);
      await change(prisma, caller!, async (tx, record) => {
        const { invitationId: id, organizationId } = own;
        const { count } = await tx.invitation.deleteMany({ where: { id } });
        if (count === 0) throw new NotFoundError('invitation');
        record.event({ organizationId, type: 'invitation.revoked', subject: { type: 'invitation', id } });
      });
    },

    async findInvitations(caller, ids, query = {}) {
      const { userId } = requireCaller(caller);
      const administered = { members: { some: { userId, role: { in: [...ADMINS] } } } };
      return prisma.invitation.findMany({ ...query, where: { id: { in: ids }, organization: administered } });
    },

    async invitationPages(caller, organizationIds, page, query = {}) {
      const list = {
        parents: membershipsSql(caller, organizationIds, ADMINS),
        model: 'Invitation' as const,
        parentColumn: Prisma.sql`organization_id`,
        condition: Prisma.sql`x.expires_at > ${clock.now().toISOString()}::timestamptz`,
        order: BY_CREATION,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

/**
 * Uses an invitation up, for the invited e-mail alone, and makes its member; answers the organization's id.
 * An unknown, used, expired or foreign token is a NotFoundError, a member already a ConflictError.
 */
export async function joinByInvitation(
  tx: Transaction,
  record: Recorder,
  joining: { token: string; userId: string; emailKey: string; now: Date },
): Promise<string> {
  const { userId, emailKey, now } = joining;
  const valid = { tokenHash: sha256(joining.token), emailKey, expiresAt: { gt: now } };
  const invitation = await tx.invitation.findFirst({ where: valid, include: { organization: true } });
  if (!invitation) throw new NotFoundError('invitation');
  const { organizationId, role } = invitation;
  if (!invitation.organization.isActive) {
    throw new PermissionDeniedError('the organization is not active: an admin must set isActive before anyone joins');
  }
  await lockOrganization(tx, organizationId);
  if (await tx.organizationMember.count({ where: { organizationId, userId } })) {
    throw new ConflictError('you are a member of this organization already');
  }
  const used = await tx.invitation.deleteMany({ where: { id: invitation.id } });
  if (used.count === 0) throw new NotFoundError('invitation');
  await addMember(tx, organizationId, userId, role);
  record.event({ organizationId, type: 'member.joined', subject: { type: 'user', id: userId }, data: { role } });
  record.accessChanged(userId);
  return organizationId;
}
