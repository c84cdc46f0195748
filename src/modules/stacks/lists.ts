import { Prisma } from '../../db/client.ts';
import type { Stack, StackVersion } from '../../db/generated/prisma/client.ts';
import { type Connection, type Order, orderBy, type Page } from '../../shared/pagination.ts';
import { readableBy, requireCaller } from '../organizations/access.ts';
import { membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import { containsSearch } from '../search-condition.ts';
import type { Caller, ServiceDependencies } from '../services.ts';

const ORDERS = {
  NAME_ASC: orderBy('name', { field: 'name', direction: 'asc', type: 'text' }),
  NAME_DESC: orderBy('-name', { field: 'name', direction: 'desc', type: 'text' }),
  CREATED_AT_ASC: orderBy('created', { field: 'createdAt', direction: 'asc', type: 'date' }),
  CREATED_AT_DESC: orderBy('-created', { field: 'createdAt', direction: 'desc', type: 'date' }),
  LAST_DEPLOYED_AT_DESC: orderBy('-deployed', {
    field: 'lastDeployedAt',
    direction: 'desc',
    type: 'date',
    nullable: true,
  }),
} satisfies Record<string, Order>;
const NEWEST_FIRST = orderBy('-number', { field: 'number', direction: 'desc', type: 'number' });

export type StackOrder = keyof typeof ORDERS;
/** `environmentId`: what runs there; null: an id that cannot be one. */
export type StackFilter = { search?: string | null; environmentId?: string | null };
export type StackListRequest = { filter?: StackFilter | null; order?: StackOrder | null; page: Page; query?: object };
export type VersionKey = { stackId: string; number: number };

export type StackLists = {
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Stack | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Stack[]>;
  findVersions(caller: Caller | null, ids: string[], query?: object): Promise<StackVersion[]>;
  /** The named versions of stacks that the caller reads, by stack id. */
  versionsByStack(caller: Caller | null, keys: VersionKey[], query?: object): Promise<Map<string, StackVersion>>;
  /** The same page of each organization's stacks, by organization id. */
  pages(
    caller: Caller | null,
    organizationIds: string[],
    request: StackListRequest,
  ): Promise<Map<string, Connection<Stack>>>;
  /** The same page of each stack's versions, newest first, by stack id. */
  versionPages(
    caller: Caller | null,
    stackIds: string[],
    page: Page,
    query?: object,
  ): Promise<Map<string, Connection<StackVersion>>>;
};

export function createStackLists({ prisma, pool }: Pick<ServiceDependencies, 'prisma' | 'pool'>): StackLists {
  return {
    async find(caller, id, query = {}) {
      return prisma.stack.findFirst({ ...query, where: { id, organization: readableBy(caller) } });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.stack.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async findVersions(caller, ids, query = {}) {
      const where = { id: { in: ids }, stack: { organization: readableBy(caller) } };
      return prisma.stackVersion.findMany({ ...query, where });
    },

    async versionsByStack(caller, keys, query = {}) {
      const where = {
        OR: keys.map(({ stackId, number }) => ({ stackId, number })),
        stack: { organization: readableBy(caller) },
      };
      const versions: StackVersion[] = await prisma.stackVersion.findMany({ ...query, where });
      return new Map(versions.map((version) => [version.stackId, version]));
    },

    async pages(caller, organizationIds, { filter, order, page, query = {} }) {
      const list = {
        parents: membershipsSql(caller, organizationIds),
        model: 'Stack' as const,
        parentColumn: Prisma.sql`organization_id`,
        condition: Prisma.sql`${containsSearch(filter?.search, ['name', 'slug'])} and ${runsIn(filter?.environmentId)}`,
        order: ORDERS[order ?? 'NAME_ASC'],
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },

    async versionPages(caller, stackIds, page, query = {}) {
      const list = {
        parents: Prisma.sql`
          select s.id from stacks s
          join organization_members m on m.organization_id = s.organization_id and m.user_id = ${requireCaller(caller).userId}::uuid
          where s.id = any(${stackIds}::uuid[])`,
        model: 'StackVersion' as const,
        parentColumn: Prisma.sql`stack_id`,
        order: NEWEST_FIRST,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

function runsIn(environmentId: string | null | undefined): Prisma.Sql {
  if (environmentId === undefined) return Prisma.sql`true`;
  return Prisma.sql`exists (
    select 1 from stack_environments se
    where se.stack_id = x.id and se.environment_id = ${environmentId}::uuid and se.live_deployment_id is not null)`;
}
