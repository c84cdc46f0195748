import type { DocumentNode, GraphQLSchema } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import { toPublicError } from '../graphql/errors.ts';
import { MAX_BODY_BYTES } from '../graphql/limits.ts';
import { useComplexityLimit } from '../graphql/plugins/complexity-limit.ts';
import { useCsrfPrevention } from '../graphql/plugins/csrf-prevention.ts';
import { useDocumentLimits } from '../graphql/plugins/document-limits.ts';
import { useErrorPresentation } from '../graphql/plugins/error-presentation.ts';
import { useEventCursors } from '../graphql/plugins/event-cursors.ts';
import { type OperationRecord, useOperationLog } from '../graphql/plugins/operation-log.ts';
import { useRateLimit } from '../graphql/plugins/rate-limit.ts';
import { useReadableBody } from '../graphql/plugins/readable-body.ts';
import type { SubscriptionLifetimes } from '../graphql/plugins/subscription-lifetime.ts';
import { createDocumentCache } from './document-cache.ts';
import { type Authentication, type ContextParts, createContext, type OperationOrigin } from './operation-context.ts';
import type { SharedExecution } from './shared-execution.ts';

export const GRAPHQL_PATH = '/graphql';

/** What a transport hands over with each operation. */
export type ServerContext = OperationOrigin & {
  /** Known already where a socket was authenticated when it opened. */
  authentication?: Authentication;
};

export type GraphQLServer = YogaServerInstance<ServerContext, object>;

export type GraphQLServerOptions = ContextParts & {
  schema: GraphQLSchema;
  lifetimes: SubscriptionLifetimes;
  sharedExecution: SharedExecution;
  onOperation: (record: OperationRecord) => void;
};

/** The pipeline of every operation, on HTTP and WebSocket alike. */
export function createGraphQLServer(options: GraphQLServerOptions): GraphQLServer {
  const { schema, lifetimes, sharedExecution, onOperation, ...parts } = options;
  return createYoga<ServerContext>({
    schema,
    graphqlEndpoint: GRAPHQL_PATH,
    context: (initial) => createContext(parts, originOf(initial), initial.authentication),
    // Logs, GraphiQL, CORS and health are the business of the server around it.
    logging: false,
    graphiql: false,
    landingPage: false,
    cors: false,
    healthCheckEndpoint: '/health/graphql',
    multipart: false,
    batching: false,
    maxRequestBodySize: MAX_BODY_BYTES,
    maskedErrors: { maskError: (error) => toPublicError(error), errorMessage: '' },
    parserAndValidationCache: {
      documentCache: createDocumentCache<DocumentNode>(),
      errorCache: createDocumentCache<unknown>(),
    },
    plugins: [
      useCsrfPrevention(),
      useReadableBody(),
      useDocumentLimits(),
      useRateLimit(),
      useComplexityLimit(),
      useEventCursors(),
      sharedExecution.plugin,
      lifetimes.plugin,
      useOperationLog(onOperation),
      useErrorPresentation(),
    ],
  });
}

function originOf({ requestId, log, ip, userAgent, transport, bearerToken }: OperationOrigin): OperationOrigin {
  return { requestId, log, ip, userAgent, transport, bearerToken };
}
