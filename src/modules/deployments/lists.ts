import { Prisma } from '../../db/client.ts';
import type { Deployment } from '../../db/generated/prisma/client.ts';
import type { DeploymentStatus, DeploymentTrigger } from '../../db/generated/prisma/enums.ts';
import { type Connection, type Order, orderBy, type Page } from '../../shared/pagination.ts';
import { readableBy, requireCaller } from '../organizations/access.ts';
import { findRelatedPages } from '../related-pages.ts';
import { withField } from '../selection.ts';
import type { Caller, ServiceDependencies } from '../services.ts';

const ORDERS = {
  CREATED_AT_DESC: orderBy('-created', { field: 'createdAt', direction: 'desc', type: 'date' }),
  CREATED_AT_ASC: orderBy('created', { field: 'createdAt', direction: 'asc', type: 'date' }),
} satisfies Record<string, Order>;

export type DeploymentOrder = keyof typeof ORDERS;
/** An id that is null cannot be one: nothing matches it. */
export type DeploymentFilter = {
  status?: DeploymentStatus[] | null;
  stackId?: string | null;
  environmentId?: string | null;
  trigger?: DeploymentTrigger | null;
  createdAfter?: Date | null;
  createdBefore?: Date | null;
};
export type DeploymentListRequest = {
  filter?: DeploymentFilter;
  order?: DeploymentOrder | null;
  page: Page;
  query?: object;
};
/** What a list of deployments belongs to. */
export type DeploymentParent = 'organization' | 'environment' | 'stack';

export type DeploymentLists = {
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Deployment | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Deployment[]>;
  /** The organization's among them, for who is known to read there. */
  findIn(organizationId: string, ids: string[], query?: object): Promise<Deployment[]>;
  /** The same page under each parent that the caller reads, by parent id. */
  pages(
    caller: Caller | null,
    parent: DeploymentParent,
    ids: string[],
    request: DeploymentListRequest,
  ): Promise<Map<string, Connection<Deployment>>>;
  /** What runs, one a stack and environment, by parent id. */
  live(
    caller: Caller | null,
    parent: 'environment' | 'stack',
    ids: string[],
    query?: object,
  ): Promise<Map<string, Deployment[]>>;
};

const PARENTS = {
  organization: {
    table: Prisma.sql`organizations`,
    organization: Prisma.sql`p.id`,
    column: Prisma.sql`organization_id`,
  },
  environment: {
    table: Prisma.sql`environments`,
    organization: Prisma.sql`p.organization_id`,
    column: Prisma.sql`environment_id`,
  },
  stack: { table: Prisma.sql`stacks`, organization: Prisma.sql`p.organization_id`, column: Prisma.sql`stack_id` },
};

export function createDeploymentLists({ prisma, pool }: Pick<ServiceDependencies, 'prisma' | 'pool'>): DeploymentLists {
  return {
    async find(caller, id, query = {}) {
      return prisma.deployment.findFirst({ ...query, where: { id, organization: readableBy(caller) } });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.deployment.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async findIn(organizationId, ids, query = {}) {
      return prisma.deployment.findMany({ ...query, where: { id: { in: ids }, organizationId } });
    },

    async pages(caller, parent, ids, { filter, order, page, query = {} }) {
      const { table, organization, column } = PARENTS[parent];
      const list = {
        parents: Prisma.sql`
          select p.id from ${table} p
          join organization_members m on m.organization_id = ${organization} and m.user_id = ${requireCaller(caller).userId}::uuid
          where p.id = any(${ids}::uuid[])`,
        model: 'Deployment' as const,
        parentColumn: column,
        condition: filterSql(filter ?? {}),
        order: ORDERS[order ?? 'CREATED_AT_DESC'],
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },

    async live(caller, parent, ids, query = {}) {
      const parentId = parent === 'stack' ? 'stackId' : 'environmentId';
      const where = { [parentId]: { in: ids }, liveIn: { isNot: null }, organization: readableBy(caller) };
      const found: Deployment[] = await prisma.deployment.findMany({
        ...withField(query, parentId),
        where,
        orderBy: { createdAt: 'asc' },
      });
      return Map.groupBy(found, (deployment) => deployment[parentId]);
    },
  };
}

function filterSql({
  status,
  stackId,
  environmentId,
  trigger,
  createdAfter,
  createdBefore,
}: DeploymentFilter): Prisma.Sql {
  const conditions = [Prisma.sql`true`];
  if (status) conditions.push(Prisma.sql`x.status::text = any(${status}::text[])`);
  if (stackId !== undefined) conditions.push(Prisma.sql`x.stack_id = ${stackId}::uuid`);
  if (environmentId !== undefined) conditions.push(Prisma.sql`x.environment_id = ${environmentId}::uuid`);
  if (trigger) conditions.push(Prisma.sql`x.trigger::text = ${trigger}`);
  if (createdAfter) conditions.push(Prisma.sql`x.created_at > ${createdAfter}`);
  if (createdBefore) conditions.push(Prisma.sql`x.created_at < ${createdBefore}`);
  return Prisma.join(conditions, ' and ');
}
