import type { Transaction } from '../../db/client.ts';
import { Prisma } from '../../db/client.ts';
import type { OrganizationMember } from '../../db/generated/prisma/client.ts';
import type { Role } from '../../db/generated/prisma/enums.ts';
import { ConflictError, NotFoundError, PermissionDeniedError, QuotaExceededError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { change } from '../change.ts';
import { findRelatedPages } from '../related-pages.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { type Access, isAtLeast, ROLES, readableBy, requireCaller } from './access.ts';

export const MAX_MEMBERS_PER_ORGANIZATION = 1_000;

const BY_JOINING = orderBy('joined', { field: 'joinedAt', direction: 'asc', type: 'date' });

export type MemberUpdate = { organizationId: string | null; userId: string | null; role: Role };
export type MemberRemoval = Omit<MemberUpdate, 'role'>;

export type Members = {
  updateMember(caller: Caller | null, input: MemberUpdate): Promise<OrganizationMember>;
  /** Removes a member, or lets the caller leave. Answers the id that the membership had. */
  removeMember(caller: Caller | null, input: MemberRemoval): Promise<{ id: string }>;
  findMembers(caller: Caller | null, ids: string[], query?: object): Promise<OrganizationMember[]>;
  /** The same page of members of each organization that the caller belongs to, by organization id. */
  memberPages(
    caller: Caller | null,
    organizationIds: string[],
    page: Page,
    query?: object,
  ): Promise<Map<string, Connection<OrganizationMember>>>;
};

export function createMembers({ prisma, pool }: ServiceDependencies, access: Access): Members {
  return {
    async updateMember(caller, { organizationId, userId, role }) {
      const own = await access.requireOrganization(caller, organizationId, 'member:manage');
      refuseAbove(own.role, role);
      return change(prisma, caller!, async (tx, record) => {
        const member = await lockMember(tx, own.organizationId, userId);
        refuseAbove(own.role, member.role);
        if (member.role === role) return member;
        if (member.role === 'OWNER') await refuseLastOwner(tx, own.organizationId);
        record.event({
          organizationId: own.organizationId,
          type: 'member.updated',
          subject: { type: 'user', id: member.userId },
          data: { role, previousRole: member.role },
        });
        record.accessChanged(member.userId);
        return tx.organizationMember.update({ where: { id: member.id }, data: { role } });
      });
    },

    async removeMember(caller, { organizationId, userId }) {
      const leaves = userId === requireCaller(caller).userId;
      const own = await access.requireOrganization(caller, organizationId, leaves ? 'member:leave' : 'member:manage');
      return change(prisma, caller!, async (tx, record) => {
        const member = await lockMember(tx, own.organizationId, userId);
        refuseAbove(own.role, member.role);
        if (member.role === 'OWNER') await refuseLastOwner(tx, own.organizationId);
        await tx.organizationMember.delete({ where: { id: member.id } });
        record.event({
          organizationId: own.organizationId,
          type: 'member.removed',
          subject: { type: 'user', id: member.userId },
        });
        record.accessChanged(member.userId);
        return { id: member.id };
      });
    },

    async findMembers(caller, ids, query = {}) {
      return prisma.organizationMember.findMany({
        ...query,
        where: { id: { in: ids }, organization: readableBy(caller) },
      });
    },

    async memberPages(caller, organizationIds, page, query = {}) {
      const parents = membershipsSql(caller, organizationIds);
      const list = {
        parents,
        model: 'OrganizationMember' as const,
        parentColumn: Prisma.sql`organization_id`,
        order: BY_JOINING,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

/** The ids of those organizations in which the caller has one of the roles: the parents of a list under them. */
export function membershipsSql(
  caller: Caller | null,
  organizationIds: string[],
  roles: readonly Role[] = ROLES,
): Prisma.Sql {
  return Prisma.sql`
    select m.organization_id as id from organization_members m
    where m.user_id = ${requireCaller(caller).userId}::uuid and m.organization_id = any(${organizationIds}::uuid[])
      and m.role::text = any(${roles}::text[])`;
}

/** One change of an organization's members at a time: what is checked of them stays true until the commit. */
export async function lockOrganization(tx: Transaction, organizationId: string): Promise<void> {
  const locked = await tx.$queryRaw<unknown[]>`
    select 1 from organizations where id = ${organizationId}::uuid for no key update`;
  if (locked.length === 0) throw new NotFoundError('organization');
}

/** Adds a member under the organization's lock, or within the transaction that makes it. */
export async function addMember(
  tx: Transaction,
  organizationId: string,
  userId: string,
  role: Role,
): Promise<OrganizationMember> {
  const members = await tx.organizationMember.count({ where: { organizationId } });
  if (members >= MAX_MEMBERS_PER_ORGANIZATION) {
    throw new QuotaExceededError('members', MAX_MEMBERS_PER_ORGANIZATION, members);
  }
  return tx.organizationMember.create({ data: { id: newId(), organizationId, userId, role } });
}

/** Nobody grants, changes or removes a role above their own. */
export function refuseAbove(own: Role, other: Role): void {
  if (!isAtLeast(own, other)) {
    throw new PermissionDeniedError(`the role ${other} is above yours (${own}): ask someone who has it`);
  }
}

async function lockMember(tx: Transaction, organizationId: string, userId: string | null): Promise<OrganizationMember> {
  await lockOrganization(tx, organizationId);
  const member = userId && (await tx.organizationMember.findFirst({ where: { organizationId, userId } }));
  if (!member) throw new NotFoundError('member');
  return member;
}

async function refuseLastOwner(tx: Transaction, organizationId: string): Promise<void> {
  if ((await tx.organizationMember.count({ where: { organizationId, role: 'OWNER' } })) > 1) return;
  throw new ConflictError('this is the last owner of the organization: make another member an owner first');
}
