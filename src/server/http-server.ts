import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { GraphQLSchema } from 'graphql';
import { CSRF_HEADER } from '../graphql/plugins/csrf-prevention.ts';
import { createSubscriptionLifetimes } from '../graphql/plugins/subscription-lifetime.ts';
import { Hub } from '../realtime/hub.ts';
import { UnavailableError } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import type { Logger } from '../shared/logger.ts';
import { sendGraphiQL, wantsGraphiQL } from './graphiql.ts';
import { type HealthChecks, sendHealth, sendLiveness, sendReadiness } from './health.ts';
import { createMetrics, METRICS_CONTENT_TYPE, type Metrics, observeProcess } from './metrics.ts';
import { bearerTokenOf, type ContextParts } from './operation-context.ts';
import { type PublishedSchemas, sendSchema } from './published-schemas.ts';
import { createRequestGuard, type GuardOptions } from './request-guard.ts';
import { createSessionWatch } from './session-watch.ts';
import { createSharedExecution } from './shared-execution.ts';
import { createResponseWatch } from './stall-watch.ts';
import { createWebSocketEndpoint } from './web-socket.ts';
import { isWebhook, receiveWebhook } from './webhook-receiver.ts';
import { createGraphQLServer, GRAPHQL_PATH } from './yoga.ts';

/** How long an answer that is under way may take when the server stops. */
export const DRAIN_MS = 2_000;
/** A client that sends its request more slowly is cut off. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 10_000;
const EVENT_STREAM = 'text/event-stream';
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_REQUESTS_PER_CONNECTION = 10_000;

export type HttpServerOptions = ContextParts &
  GuardOptions & {
    schema: GraphQLSchema;
    host: string;
    /** 0: any free one. */
    port: number;
    log: Logger;
    /** The state of each part, for /health/ready. */
    checks: HealthChecks;
    version: string;
    /** JSON Schemas that are published, by their paths. */
    schemas?: PublishedSchemas;
    metrics?: Metrics;
  };

export type HttpServer = AsyncDisposable & {
  /** "http://127.0.0.1:4000". */
  url: string;
  port: number;
  metrics: Metrics;
  /** Ends sockets with 1001 and streams with UNAVAILABLE, lets answers under way finish for 2 s. */
  close(): Promise<void>;
};

/** Everything that listens: GraphQL over HTTP, SSE and WebSocket, GraphiQL, health, metrics, keys. Resolves when it listens. */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, log, services, schemas = {} } = options;
  const metrics = options.metrics ?? createMetrics();
  const stopObserving = observeProcess(metrics);
  const measured = measurements(metrics);
  const guard = createRequestGuard(options);
  const sessionWatch = createSessionWatch(services.identity, log);
  const lifetimes = createSubscriptionLifetimes((sessionId, onEnd) => sessionWatch.add(sessionId, onEnd), {
    started: (transport) => measured.subscriptions.add(1, { transport }),
    ended: (transport) => measured.subscriptions.add(-1, { transport }),
  });
  const hub = new Hub();
  const sharedExecution = createSharedExecution(hub);
  const yoga = createGraphQLServer({
    ...options,
    lifetimes,
    sharedExecution,
    onOperation({ type, transport, code, seconds }) {
      measured.operations.add({ type, transport, outcome: code ?? 'OK' });
      measured.durations.observe(seconds, { type });
    },
  });
  const sockets = createWebSocketEndpoint({ yoga, sharedExecution, services, sessionWatch, log });
  metrics.observedGauge('windflow_open_sockets', 'WebSockets that are open.', () => sockets.size);
  metrics.observedGauge(
    'windflow_socket_backlog_bytes',
    'What waits to be sent to slow readers of WebSockets.',
    () => sockets.backlog,
  );
  metrics.observedGauge('windflow_shared_executions', 'Groups of subscribers that share an execution.', () => hub.size);
  const eventStreams = createResponseWatch();
  let isStopping = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = newId();
    setSecurityHeaders(response, requestId);
    response.once('finish', () => measured.requests.add({ status: String(response.statusCode) }));
    const path = pathOf(request);
    if (path === '/health/live') return sendLiveness(response);
    if (path === '/health/ready') return sendReadiness(response, options.checks, isStopping);
    if (path === '/health') return sendHealth(response, options.version);
    const refusal = guard.refuse(request.headers);
    if (refusal) return refuse(response, 403, 'PERMISSION_DENIED', refusal, requestId);
    if (allowOrigin(request, response, guard.corsOrigin(request.headers))) return;
    if (path === '/metrics') return sendText(response, METRICS_CONTENT_TYPE, metrics.render());
    if (path === '/.well-known/jwks.json') {
      return sendText(response, 'application/json', JSON.stringify(await services.identity.jwks()));
    }
    if (isWebhook(path)) return receiveWebhook(services, request, response, path);
    if (Object.hasOwn(schemas, path)) return sendSchema(response, schemas[path]!);
    if (path !== GRAPHQL_PATH) {
      if (path === '/' && wantsGraphiQL(request)) return redirect(response, GRAPHQL_PATH);
      return refuse(
        response,
        404,
        'NOT_FOUND',
        `there is nothing at this path: the API is at ${GRAPHQL_PATH}`,
        requestId,
      );
    }
    if (wantsGraphiQL(request)) return sendGraphiQL(request, response);
    if (request.headers.accept?.includes(EVENT_STREAM)) eventStreams.add(response);
    await yoga(request, response, {
      requestId,
      log: log.child({ requestId }),
      ...clientOf(request),
      transport: 'http',
      bearerToken: bearerTokenOf(request.headers.authorization),
    });
  }

  const server = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      answer(request, response).catch((error: unknown) => {
        log.error({ err: error, path: pathOf(request) }, 'a request failed');
        if (response.headersSent) response.destroy();
        else refuse(response, 500, 'INTERNAL', 'a fault of the server', String(response.getHeader('X-Request-Id')));
      });
    },
  );
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
  server.on('upgrade', (request: IncomingMessage, connection: Duplex, head: Buffer) => {
    connection.on('error', () => connection.destroy());
    if (isStopping || pathOf(request) !== GRAPHQL_PATH || guard.refuse(request.headers)) {
      connection.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    sockets.upgrade(request, connection, head, clientOf(request));
  });

  await listen(server, host, options.port);
  const { port } = server.address() as AddressInfo;

  async function close(): Promise<void> {
    if (isStopping) return;
    isStopping = true;
    stopObserving();
    eventStreams[Symbol.dispose]();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    lifetimes.endAll(new UnavailableError('the server stops: connect again in a moment', 1_000));
    const socketsClosed = sockets.close(DRAIN_MS);
    server.closeIdleConnections();
    const cutOff = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    await Promise.all([closed, socketsClosed]);
    clearTimeout(cutOff);
    await sessionWatch[Symbol.asyncDispose]();
  }

  const name = host.includes(':') ? `[${host}]` : host;
  return { url: `http://${name}:${port}`, port, metrics, close, [Symbol.asyncDispose]: close };
}

function measurements(metrics: Metrics) {
  return {
    requests: metrics.counter('windflow_http_requests_total', 'HTTP requests by status.'),
    operations: metrics.counter(
      'windflow_graphql_operations_total',
      'GraphQL operations by type, transport and outcome.',
    ),
    durations: metrics.histogram('windflow_graphql_operation_duration_seconds', 'Time until the first result.'),
    subscriptions: metrics.gauge('windflow_subscriptions', 'Subscriptions under way.'),
  };
}

function setSecurityHeaders(response: ServerResponse, requestId: string): void {
  response.setHeader('X-Request-Id', requestId);
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('X-Frame-Options', 'DENY');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
}

/** Tells a page of a configured origin that it may; true when the request was only a question about that. */
function allowOrigin(request: IncomingMessage, response: ServerResponse, origin: string | null): boolean {
  if (origin) {
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Access-Control-Expose-Headers', 'X-Request-Id');
    response.setHeader('Cross-Origin-Resource-Policy', 'cross-origin');
    response.appendHeader('Vary', 'Origin');
  }
  if (request.method !== 'OPTIONS') return false;
  if (origin) {
    response.setHeader('Access-Control-Allow-Methods', 'GET, POST');
    response.setHeader('Access-Control-Allow-Headers', `Authorization, Content-Type, ${CSRF_HEADER}`);
    response.setHeader('Access-Control-Max-Age', '600');
  }
  response.writeHead(204).end();
  return true;
}

function refuse(response: ServerResponse, status: number, code: string, message: string, requestId: string): void {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify({ errors: [{ message, extensions: { code, requestId } }] }));
}

function sendText(response: ServerResponse, contentType: string, text: string): void {
  response.writeHead(200, { 'Content-Type': contentType }).end(text);
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { Location: location }).end();
}

function pathOf(request: IncomingMessage): string {
  const path = (request.url ?? '/').split('?', 1)[0]!;
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function clientOf(request: IncomingMessage): { ip: string; userAgent: string | null } {
  const address = request.socket.remoteAddress ?? 'unknown';
  return { ip: address.replace(/^::ffff:/, ''), userAgent: request.headers['user-agent'] ?? null };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
