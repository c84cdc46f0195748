import { Prisma } from '../../db/client.ts';
import type { Workflow, WorkflowVersion } from '../../db/generated/prisma/client.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { readableBy } from '../organizations/access.ts';
import { membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import { containsSearch } from '../search-condition.ts';
import type { Caller, ServiceDependencies } from '../services.ts';

const BY_NAME = orderBy('name', { field: 'name', direction: 'asc', type: 'text' });

export type WorkflowListRequest = { search?: string | null; page: Page; query?: object };
export type WorkflowVersionKey = { workflowId: string; version: number };

export type WorkflowLists = {
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Workflow | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Workflow[]>;
  /** The named versions of workflows that the caller reads, by workflow id. */
  versionsByWorkflow(caller: Caller | null, keys: WorkflowVersionKey[]): Promise<Map<string, WorkflowVersion>>;
  /** The same page of each organization's workflows, by organization id. */
  pages(
    caller: Caller | null,
    organizationIds: string[],
    request: WorkflowListRequest,
  ): Promise<Map<string, Connection<Workflow>>>;
};

export function createWorkflowLists({ prisma, pool }: Pick<ServiceDependencies, 'prisma' | 'pool'>): WorkflowLists {
  return {
    async find(caller, id, query = {}) {
      return prisma.workflow.findFirst({ ...query, where: { id, organization: readableBy(caller) } });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.workflow.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async versionsByWorkflow(caller, keys) {
      const where = {
        OR: keys.map(({ workflowId, version }) => ({ workflowId, version })),
        workflow: { organization: readableBy(caller) },
      };
      const versions = await prisma.workflowVersion.findMany({ where });
      return new Map(versions.map((version) => [version.workflowId, version]));
    },

    async pages(caller, organizationIds, { search, page, query = {} }) {
      return findRelatedPages(
        { prisma, pool },
        {
          parents: membershipsSql(caller, organizationIds),
          model: 'Workflow' as const,
          parentColumn: Prisma.sql`organization_id`,
          condition: containsSearch(search, ['name']),
          order: BY_NAME,
          page,
          query,
        },
      );
    },
  };
}
