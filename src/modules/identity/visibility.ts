import type { PrismaClient } from '../../db/client.ts';
import type { User } from '../../db/generated/prisma/client.ts';
import type { Caller } from '../services.ts';

/** Those of the users that the caller may see: oneself, members of shared organizations; for a superadmin all. */
export function visibleUsers(prisma: PrismaClient, caller: Caller, ids: string[]): Promise<User[]> {
  const shared = { memberships: { some: { organization: { members: { some: { userId: caller.userId } } } } } };
  const visible = caller.isSuperadmin ? {} : { OR: [{ id: caller.userId }, shared] };
  return prisma.user.findMany({ where: { id: { in: ids }, ...visible } });
}

/** Those of the users whose e-mail the caller may read: oneself, members of organizations that the caller administers; for a superadmin all. */
export async function emailReaders(prisma: PrismaClient, caller: Caller, userIds: string[]): Promise<Set<string>> {
  const others = userIds.filter((id) => id !== caller.userId);
  if (caller.isSuperadmin || others.length === 0) return new Set(userIds);
  const administered = await prisma.$queryRaw<{ id: string }[]>`
    select distinct other.user_id as id
    from organization_members own join organization_members other on other.organization_id = own.organization_id
    where own.user_id = ${caller.userId}::uuid and own.role in ('ADMIN', 'OWNER') and other.user_id = any(${others}::uuid[])`;
  return new Set([caller.userId, ...administered.map(({ id }) => id)]);
}
