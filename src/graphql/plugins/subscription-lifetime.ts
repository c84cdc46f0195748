import type { Plugin } from 'graphql-yoga';
import type { GraphQLContext } from '../context.ts';
import { endable } from '../result-stream.ts';

export type SubscriptionEvents = {
  started(transport: GraphQLContext['transport']): void;
  ended(transport: GraphQLContext['transport']): void;
};

export type SubscriptionLifetimes = {
  plugin: Plugin;
  /** Ends every subscription with this error. */
  endAll(reason: Error): void;
};

/** Calls `onEnd` with the reason when the session is over; returns what stops watching. */
export type WatchSession = (sessionId: string, onEnd: (reason: Error) => void) => () => void;

/**
 * Ends subscriptions with their client, with the server and, over HTTP, with their session: a WebSocket is closed as a whole.
 */
export function createSubscriptionLifetimes(
  watchSession: WatchSession,
  events: SubscriptionEvents,
): SubscriptionLifetimes {
  const open = new Set<AbortController>();
  const plugin: Plugin = {
    onSubscribe({ args }) {
      const { caller, lifetime, transport } = args.contextValue as unknown as GraphQLContext;
      return {
        onSubscribeResult({ result, setResult }) {
          if (!(Symbol.asyncIterator in result)) return;
          const stopWatching =
            caller && transport === 'http' ? watchSession(caller.sessionId, (reason) => lifetime.abort(reason)) : null;
          open.add(lifetime);
          events.started(transport);
          const onEnd = () => {
            stopWatching?.();
            open.delete(lifetime);
            events.ended(transport);
          };
          setResult(endable(result, { lifetime, onEnd }));
        },
      };
    },
  };
  return {
    plugin,
    endAll(reason) {
      for (const lifetime of open) lifetime.abort(reason);
    },
  };
}
