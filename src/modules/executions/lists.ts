import { Prisma } from '../../db/client.ts';
import type { Execution, ExecutionStep } from '../../db/generated/prisma/client.ts';
import type { ExecutionKind, ExecutionStatus, ExecutionStepState } from '../../db/generated/prisma/enums.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import { readableBy, requireCaller } from '../organizations/access.ts';
import { membershipsSql } from '../organizations/members.ts';
import { findRelatedPages } from '../related-pages.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { childKeysOf, stepOfChild } from './ledger.ts';

const NEWEST_FIRST = orderBy('-created', { field: 'createdAt', direction: 'desc', type: 'date' });
const BY_POSITION = orderBy('position', { field: 'position', direction: 'asc', type: 'number' });

const TABLES = { agent: Prisma.sql`agents`, workflow: Prisma.sql`workflows` };
const COLUMNS = {
  organization: Prisma.sql`organization_id`,
  agent: Prisma.sql`agent_id`,
  workflow: Prisma.sql`workflow_id`,
};

/** An id that is null cannot be one: nothing matches it. */
export type ExecutionFilter = {
  kind?: ExecutionKind | null;
  status?: ExecutionStatus[] | null;
  agentId?: string | null;
  workflowId?: string | null;
  createdById?: string | null;
  parentId?: string | null;
};
/** A step of an execution that the caller was shown. */
export type StepKey = { executionId: string; key: string };
export type ExecutionListRequest = { filter?: ExecutionFilter; page: Page; query?: object };
export type StepListRequest = { state?: ExecutionStepState[] | null; page: Page; query?: object };

export type ExecutionLists = {
  /** Null where it is absent or another tenant's. */
  find(caller: Caller | null, id: string, query?: object): Promise<Execution | null>;
  findMany(caller: Caller | null, ids: string[], query?: object): Promise<Execution[]>;
  /** The same page of executions, the newest first, of each organization, agent or workflow that the caller reads, by its id. */
  pages(
    caller: Caller | null,
    parent: 'organization' | 'agent' | 'workflow',
    ids: string[],
    request: ExecutionListRequest,
  ): Promise<Map<string, Connection<Execution>>>;
  /** The same page of the steps of executions that the caller was shown, by execution id. */
  stepPages(executionIds: string[], request: StepListRequest): Promise<Map<string, Connection<ExecutionStep>>>;
  /** The newest execution that each step began, by "<execution> <key>". */
  begunBy(steps: StepKey[]): Promise<Map<string, Execution>>;
};

export function createExecutionLists({ prisma, pool }: Pick<ServiceDependencies, 'prisma' | 'pool'>): ExecutionLists {
  return {
    async find(caller, id, query = {}) {
      return prisma.execution.findFirst({ ...query, where: { id, organization: readableBy(caller) } });
    },

    async findMany(caller, ids, query = {}) {
      return prisma.execution.findMany({ ...query, where: { id: { in: ids }, organization: readableBy(caller) } });
    },

    async pages(caller, parent, ids, { filter, page, query = {} }) {
      return findRelatedPages(
        { prisma, pool },
        {
          parents: parent === 'organization' ? membershipsSql(caller, ids) : readable(TABLES[parent], caller, ids),
          model: 'Execution' as const,
          parentColumn: COLUMNS[parent],
          condition: matches(filter ?? {}),
          order: NEWEST_FIRST,
          page,
          query,
        },
      );
    },

    begunBy: (steps) => begunBy({ prisma }, steps),

    async stepPages(executionIds, { state, page, query = {} }) {
      return findRelatedPages(
        { prisma, pool },
        {
          parents: Prisma.sql`select e.id from executions e where e.id = any(${executionIds}::uuid[])`,
          model: 'ExecutionStep' as const,
          parentColumn: Prisma.sql`execution_id`,
          condition: state ? Prisma.sql`x.state::text = any(${state})` : Prisma.sql`true`,
          order: BY_POSITION,
          page,
          query,
        },
      );
    },
  };
}

/** Each attempt of a step begins one under a key of its own: see `childKey`. */
async function begunBy(
  { prisma }: Pick<ServiceDependencies, 'prisma'>,
  steps: StepKey[],
): Promise<Map<string, Execution>> {
  const executionIds = [...new Set(steps.map(({ executionId }) => executionId))];
  const children = await prisma.execution.findMany({
    where: { parentId: { in: executionIds }, parentStep: { in: steps.flatMap(({ key }) => childKeysOf(key)) } },
    orderBy: { createdAt: 'asc' },
  });
  return new Map(children.map((child) => [`${child.parentId} ${stepOfChild(child.parentStep!)}`, child]));
}

function readable(table: Prisma.Sql, caller: Caller | null, ids: string[]): Prisma.Sql {
  return Prisma.sql`
    select p.id from ${table} p
    join organization_members m on m.organization_id = p.organization_id and m.user_id = ${requireCaller(caller).userId}::uuid
    where p.id = any(${ids}::uuid[])`;
}

function matches({ kind, status, agentId, workflowId, createdById, parentId }: ExecutionFilter): Prisma.Sql {
  const conditions = [
    kind ? Prisma.sql`x.kind::text = ${kind}` : null,
    status ? Prisma.sql`x.status::text = any(${status})` : null,
    agentId === undefined ? null : Prisma.sql`x.agent_id = ${agentId}::uuid`,
    workflowId === undefined ? null : Prisma.sql`x.workflow_id = ${workflowId}::uuid`,
    createdById === undefined ? null : Prisma.sql`x.created_by_id = ${createdById}::uuid`,
    parentId === undefined ? null : Prisma.sql`x.parent_id = ${parentId}::uuid`,
  ].filter((condition) => condition !== null);
  return conditions.length === 0 ? Prisma.sql`true` : Prisma.join(conditions, ' and ');
}
