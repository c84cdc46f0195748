import type { PrismaClient } from '../db/generated/prisma/client.ts';
import type { AgentRuns } from '../modules/agents/runs.ts';
import type { Agents } from '../modules/agents/service.ts';
import type { Deployments } from '../modules/deployments/service.ts';
import type { Environments } from '../modules/environments/service.ts';
import type { Events } from '../modules/events/service.ts';
import type { Executions } from '../modules/executions/service.ts';
import type { IdentityService } from '../modules/identity/service.ts';
import type { Notifications } from '../modules/notifications/service.ts';
import type { Organizations } from '../modules/organizations/service.ts';
import type { Caller } from '../modules/services.ts';
import type { Stacks } from '../modules/stacks/service.ts';
import type { Workflows } from '../modules/workflows/service.ts';
import type { Logger } from '../shared/logger.ts';

/** The service of each module; a module adds its line here. */
export interface Services {
  identity: IdentityService;
  organizations: Organizations;
  environments: Environments;
  stacks: Stacks;
  agents: Agents;
  agentRuns: AgentRuns;
  executions: Executions;
  workflows: Workflows;
  deployments: Deployments;
  events: Events;
  notifications: Notifications;
}

/** What every operation knows, on HTTP and WebSocket alike. */
export interface GraphQLContext {
  /** Who asks, or null for an anonymous operation. */
  caller: Caller | null;
  /** Why the token that came is not taken; null without one too. Fields that need a caller end with it. */
  authenticationError: Error | null;
  /** The token that came, good or not. */
  bearerToken: string | null;
  requestId: string;
  /** Writes the requestId with every line. */
  log: Logger;
  prisma: PrismaClient;
  services: Services;
  /** The client's address, as the socket (or a trusted proxy) tells it. */
  ip: string;
  userAgent: string | null;
  transport: 'http' | 'websocket';
  /** Aborted when the operation is over for its client: a subscription's source ends with `lifetime.signal`. */
  lifetime: AbortController;
  /** Where the caller's feeds stood before anything of the operation was read, by organization id; absent where nobody asks for it. */
  eventCursors?: ReadonlyMap<string, string>;
}
