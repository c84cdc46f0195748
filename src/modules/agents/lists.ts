import { Prisma } from '../../db/client.ts';
import type { Agent, AgentTemplate } from '../../db/generated/prisma/client.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { slugText } from '../input.ts';
import { readableBy } from '../organizations/access.ts';
import { membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import { containsSearch } from '../search-condition.ts';
import type { Caller, ServiceDependencies } from '../services.ts';

const BY_NAME = orderBy('name', { field: 'name', direction: 'asc', type: 'text' });

/** `version` null: the newest one. */
export type TemplateKey = { organizationId: string; slug: string; version: number | null };
export type AgentListRequest = { search?: string | null; page: Page; query?: object };

export type AgentLists = {
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Agent | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Agent[]>;
  /** The same page of each organization's agents by name, by organization id. */
  pages(
    caller: Caller | null,
    organizationIds: string[],
    request: AgentListRequest,
  ): Promise<Map<string, Connection<Agent>>>;
  /** Null where it is absent or another tenant's. */
  findTemplate(caller: Caller | null, key: TemplateKey, query?: object): Promise<AgentTemplate | null>;
  findTemplates(caller: Caller | null, ids: string[], query?: object): Promise<AgentTemplate[]>;
  /** The same page of each organization's templates by name, each in its newest version, by organization id. */
  templatePages(
    caller: Caller | null,
    organizationIds: string[],
    request: AgentListRequest,
  ): Promise<Map<string, Connection<AgentTemplate>>>;
};

export function createAgentLists({ prisma, pool }: Pick<ServiceDependencies, 'prisma' | 'pool'>): AgentLists {
  return {
    async find(caller, id, query = {}) {
      return prisma.agent.findFirst({ ...query, where: { id, organization: readableBy(caller) } });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.agent.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async pages(caller, organizationIds, { search, page, query = {} }) {
      const list = {
        parents: membershipsSql(caller, organizationIds),
        model: 'Agent' as const,
        parentColumn: Prisma.sql`organization_id`,
        condition: containsSearch(search, ['name']),
        order: BY_NAME,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },

    async findTemplate(caller, { organizationId, slug, version }, query = {}) {
      if (!slugText.safeParse(slug).success) return null;
      return prisma.agentTemplate.findFirst({
        ...query,
        where: { organizationId, slug, organization: readableBy(caller), ...(version !== null && { version }) },
        orderBy: { version: 'desc' },
      });
    },

    async findTemplates(caller, ids, query = {}) {
      return prisma.agentTemplate.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async templatePages(caller, organizationIds, { search, page, query = {} }) {
      const found = containsSearch(search, ['name', 'slug']);
      const list = {
        parents: membershipsSql(caller, organizationIds),
        model: 'AgentTemplate' as const,
        parentColumn: Prisma.sql`organization_id`,
        condition: Prisma.sql`${found} and ${IS_NEWEST}`,
        order: BY_NAME,
        page,
        query,
      };
      return findRelatedPages({ prisma, pool }, list);
    },
  };
}

const IS_NEWEST = Prisma.sql`not exists (
  select 1 from agent_templates n
  where n.organization_id = x.organization_id and n.slug = x.slug and n.version > x.version)`;
