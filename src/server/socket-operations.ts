import { type ExecutionArgs, type FormattedExecutionResult, type GraphQLError, getOperationAST } from 'graphql';
import type { Context, ExecutionResult, OperationResult, ServerOptions, SubscribePayload } from 'graphql-ws';
import type { WebSocket } from 'ws';
import type { Services } from '../graphql/context.ts';
import { formatError, presentErrors, type RequestIdentity } from '../graphql/errors.ts';
import { RateLimitedError, TokenRefusedError } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import type { Logger } from '../shared/logger.ts';
import { type Authentication, authenticate, bearerTokenOf } from './operation-context.ts';
import type { SessionWatch } from './session-watch.ts';
import type { SharedExecution, SharedResult } from './shared-execution.ts';
import { SharedFrame } from './shared-frame.ts';
import type { SocketOutlet } from './socket-outlet.ts';
import type { GraphQLServer, ServerContext } from './yoga.ts';

/** Operations that one socket has under way at once, subscriptions included. */
export const MAX_OPERATIONS_PER_SOCKET = 100;
const BUSY_RETRY_MS = 1_000;
/** Close codes: of graphql-ws for who is refused, of the WebSocket protocol for what is over for now. */
const FORBIDDEN = 4403;
export const TRY_AGAIN_LATER = 1013;

/** What a socket is, beside what graphql-ws knows of it. */
export type SocketState = {
  socket: WebSocket;
  outlet: SocketOutlet;
  ip: string;
  userAgent: string | null;
  bearerToken: string | null;
  authentication: Authentication;
  /** What stops watching the sessions that the socket was used with, by id. */
  sessions: Map<string, () => void>;
};

export type SocketOperationParts = {
  yoga: GraphQLServer;
  sharedExecution: SharedExecution;
  services: Pick<Services, 'identity'>;
  sessionWatch: SessionWatch;
  log: Logger;
};

type SocketContext = Context<Record<string, unknown> | undefined, SocketState>;
type PreparedArgs = ExecutionArgs & {
  rootValue: Pick<ReturnType<GraphQLServer['getEnveloped']>, 'execute' | 'subscribe'>;
};

/** Graphql-ws' side of the pipeline: who opens a socket, and each operation through the same plugins as on HTTP. */
export function createSocketOptions(
  parts: SocketOperationParts,
): ServerOptions<Record<string, unknown> | undefined, SocketState> {
  const { yoga, sharedExecution, services, sessionWatch, log } = parts;
  const identities = new WeakMap<object, { requestId: string; log: Logger }>();

  /** A socket lives as long as the sessions that it speaks for. */
  function watchSession({ socket, sessions, ip }: SocketState, { caller }: Authentication): void {
    if (!caller || sessions.has(caller.sessionId)) return;
    const close = ({ reason }: TokenRefusedError) => {
      log.info({ sessionId: caller.sessionId, ip }, 'a socket is closed with its session');
      socket.close(FORBIDDEN, reason);
    };
    sessions.set(caller.sessionId, sessionWatch.add(caller.sessionId, close));
  }

  /** GraphiQL cannot give connectionParams: it sends its headers with each operation. */
  async function authenticationOf(state: SocketState, payload: SubscribePayload) {
    const token = bearerTokenOf(valueUnder(payload.extensions?.headers, 'authorization'));
    if (token === null || token === state.bearerToken) return state;
    const authentication = await authenticate(services, token);
    watchSession(state, authentication);
    return { bearerToken: token, authentication };
  }

  async function prepare(
    context: SocketContext,
    payload: SubscribePayload,
    identity: { requestId: string; log: Logger },
  ) {
    if (Object.keys(context.subscriptions).length > MAX_OPERATIONS_PER_SOCKET) {
      const message = `a socket has ${MAX_OPERATIONS_PER_SOCKET} operations under way at most: end some, or open another`;
      throw new RateLimitedError(message, BUSY_RETRY_MS);
    }
    const { ip, userAgent } = context.extra;
    const { bearerToken, authentication } = await authenticationOf(context.extra, payload);
    const origin: ServerContext = { ...identity, ip, userAgent, transport: 'websocket', bearerToken, authentication };
    const { schema, parse, validate, contextFactory, execute, subscribe } = yoga.getEnveloped({
      ...origin,
      params: payload,
    });
    const document = parse(payload.query);
    const errors = validate(schema, document);
    if (errors.length > 0) return presentErrors(errors, identity, { hasData: true });
    const contextValue = await contextFactory();
    identities.set(contextValue, identity);
    const { operationName, variables: variableValues } = payload;
    return { schema, document, operationName, variableValues, contextValue, rootValue: { execute, subscribe } };
  }

  return {
    async onConnect(context) {
      const state = context.extra;
      state.bearerToken = bearerTokenOf(valueUnder(context.connectionParams, 'authorization'));
      state.authentication = await authenticate(services, state.bearerToken);
      const { authenticationError } = state.authentication;
      if (authenticationError) {
        const refused = authenticationError instanceof TokenRefusedError;
        if (!refused) log.warn({ err: authenticationError }, 'could not authenticate a socket');
        state.socket.close(refused ? FORBIDDEN : TRY_AGAIN_LATER, refused ? authenticationError.reason : 'UNAVAILABLE');
        return false;
      }
      watchSession(state, state.authentication);
      return true;
    },

    async onSubscribe(context, _id, payload) {
      const requestId = newId();
      const identity = { requestId, log: log.child({ requestId }) };
      try {
        return await prepare(context, payload, identity);
      } catch (error) {
        return presentErrors([error], identity, { hasData: true });
      }
    },
    execute: (args) => (args as PreparedArgs).rootValue.execute(args),
    subscribe: (args) => (args as PreparedArgs).rootValue.subscribe(args),

    onOperation(context, id, _payload, args, settled): OperationResult | undefined {
      const operation = getOperationAST(args.document, args.operationName)?.operation;
      if (operation !== 'subscription') return undefined;
      const identity = identities.get(args.contextValue as object)!;
      const result = settled as ExecutionResult | AsyncIterable<ExecutionResult>;
      // One that may not start ends like one that may not go on: with an error message, never with `complete`.
      if (!(Symbol.asyncIterator in result))
        return failing(presentErrors(result.errors ?? [], identity, { hasData: true }));
      // Results that many are told go out past graphql-ws: it only sees the end.
      const shared = sharedExecution.resultsOf(args.contextValue);
      shared?.pushTo(context.extra.outlet.sinkOf(id, (each: SharedResult) => frameFor(each, identity)));
      return endingWithErrors(result, (error) => presentErrors([error], identity, { hasData: true }));
    },
    onNext(_context, _id, _payload, args, result): FormattedExecutionResult | undefined {
      if (!result.errors?.length) return undefined;
      const identity = identities.get(args.contextValue as object)!;
      return { ...result, errors: presentErrors(result.errors, identity, { hasData: true }).map(formatError) };
    },
    onError(_context, _id, _payload, errors) {
      return errors
        .flatMap((error) => (error.originalError instanceof EndedSubscription ? error.originalError.errors : [error]))
        .map(formatError);
    },
  };
}

/** Errors name the operation that they are told to. */
function frameFor(result: SharedResult, identity: RequestIdentity): SharedFrame {
  if (!result.errors?.length) return result.frame;
  const errors = presentErrors(result.errors, identity, { hasData: true }).map(formatError);
  return new SharedFrame(Buffer.from(JSON.stringify({ ...result, errors })));
}

/** What a subscription ends with, presented already. */
class EndedSubscription extends Error {
  override readonly name = 'EndedSubscription';
  readonly errors: readonly GraphQLError[];
  constructor(errors: readonly GraphQLError[]) {
    super('the subscription ended');
    this.errors = errors;
  }
}

function failing(errors: readonly GraphQLError[]): AsyncIterable<never> {
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new EndedSubscription(errors)) }) };
}

function endingWithErrors<T>(source: AsyncIterable<T>, present: (error: unknown) => GraphQLError[]): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const done = { done: true as const, value: undefined };
  return {
    next: () =>
      iterator.next().catch((error: unknown) => {
        throw new EndedSubscription(present(error));
      }),
    return: async (value) => (await iterator.return?.(value)) ?? done,
    throw: async (error) => (await iterator.throw?.(error)) ?? done,
    [Symbol.asyncIterator]() {
      return this;
    },
    [Symbol.asyncDispose]: async () => void (await iterator.return?.()),
  };
}

/** The value under a name in any case. */
function valueUnder(holder: unknown, name: string): unknown {
  if (typeof holder !== 'object' || holder === null) return undefined;
  return Object.entries(holder).find(([key]) => key.toLowerCase() === name)?.[1];
}
