import type { Services } from '../graphql/context.ts';
import { delay } from '../shared/clock.ts';
import { TokenRefusedError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';

/** An announcement that was lost is made good for by looking so often: with the query, under the 5 s that an end may take. */
export const SESSION_POLL_MS = 3_000;

type OnEnd = (reason: TokenRefusedError) => void;
type Watched = { listeners: Set<OnEnd>; unsubscribe: () => void };

export type SessionWatch = AsyncDisposable & {
  /** Calls back once, when the session has ended. Returns what stops watching. */
  add(sessionId: string, onEnd: OnEnd): () => void;
};

/** Tells whoever keeps something open for a session that it is over: by announcement, and by one query for all of them now and then. */
export function createSessionWatch(
  { liveSessions }: Pick<Services['identity'], 'liveSessions'>,
  log: Logger,
): SessionWatch {
  const watched = new Map<string, Watched>();
  const stop = new AbortController();

  async function check(sessionIds: string[]): Promise<void> {
    try {
      for (const sessionId of await liveSessions.ended(sessionIds)) {
        const entry = watched.get(sessionId);
        watched.delete(sessionId);
        entry?.unsubscribe();
        for (const onEnd of entry?.listeners ?? []) onEnd(new TokenRefusedError('SESSION_REVOKED'));
      }
    } catch (error) {
      log.warn({ err: error }, 'could not look whether sessions still live');
    }
  }

  async function poll(): Promise<void> {
    while (!stop.signal.aborted) {
      await delay(SESSION_POLL_MS, stop.signal);
      if (watched.size > 0 && !stop.signal.aborted) await check([...watched.keys()]);
    }
  }
  const polling = poll();

  return {
    add(sessionId, onEnd) {
      let entry = watched.get(sessionId);
      if (!entry) {
        const unsubscribe = liveSessions.watch(sessionId, () => void check([sessionId]));
        entry = { listeners: new Set(), unsubscribe };
        watched.set(sessionId, entry);
      }
      const { listeners, unsubscribe } = entry;
      listeners.add(onEnd);
      return () => {
        listeners.delete(onEnd);
        if (listeners.size > 0 || watched.get(sessionId)?.listeners !== listeners) return;
        watched.delete(sessionId);
        unsubscribe();
      };
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await polling;
      for (const { unsubscribe } of watched.values()) unsubscribe();
      watched.clear();
    },
  };
}
