import type { Execution } from '../../db/generated/prisma/client.ts';
import type { ExecutionKind, ExecutionStatus } from '../../db/generated/prisma/enums.ts';
import type { Feed } from '../../realtime/feed.ts';
import { NotFoundError } from '../../shared/errors.ts';
import type { Access } from '../organizations/access.ts';
import { type Revised, type RevisionNews, revisionFeed } from '../revision-feed.ts';
import { withField } from '../selection.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { executionTopic } from './ledger.ts';
import { createExecutionLists, type ExecutionLists } from './lists.ts';
import { type OutputBatch, outputFeed } from './output-feed.ts';
import type { ExecutionRow, Procedure } from './procedure.ts';
import { createRequests, type Requests } from './requests.ts';
import { isFinal } from './state.ts';

export type ExecutionDependencies = ServiceDependencies & {
  access: Access;
  /** How each kind is carried out. */
  procedures: Partial<Record<ExecutionKind, Procedure>>;
};

export type Executions = ExecutionLists &
  Requests & {
    /** For whoever carries them out. */
    procedureOf(execution: ExecutionRow): Procedure;
    /** What a follower, which authorized before, is told of. */
    readNews(news: RevisionNews, query?: object): Promise<Execution>;
    /** See `revisionFeed`. */
    follow(caller: Caller | null, executionId: string | null, signal: AbortSignal): Feed<RevisionNews>;
    /** See `outputFeed`. */
    followOutput(
      caller: Caller | null,
      request: { executionId: string | null; after?: string | null },
      signal: AbortSignal,
    ): Feed<OutputBatch>;
  };

const REVISED: Revised = {
  what: 'execution',
  table: 'executions',
  topicOf: executionTopic,
  isFinal: (status) => isFinal(status as ExecutionStatus),
};

export function createExecutions(deps: ExecutionDependencies): Executions {
  const { prisma, access, procedures } = deps;
  const lists = createExecutionLists(deps);
  return {
    ...lists,
    ...createRequests({ ...deps, lists }),

    procedureOf({ kind }) {
      const procedure = procedures[kind];
      if (!procedure) throw new Error(`nothing carries out executions of the kind ${kind}`);
      return procedure;
    },

    async readNews(news, query = {}) {
      const found = await prisma.execution.findUnique({ ...withField(query, 'revision'), where: { id: news.id } });
      if (!found) throw new NotFoundError('execution');
      news.told = Math.max(news.told, found.revision);
      return found;
    },

    follow(caller, executionId, signal) {
      const authorize = async () => {
        const found = await access.requireExecution(caller, executionId, 'execution:read');
        return { ...found, id: found.executionId };
      };
      return revisionFeed(deps, REVISED, caller, authorize, signal);
    },

    followOutput: (caller, request, signal) => outputFeed(deps, caller, request, signal),
  };
}
