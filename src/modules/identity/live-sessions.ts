import type { PrismaClient } from '../../db/client.ts';
import type { Bus } from '../../realtime/bus.ts';
import type { Caller } from '../services.ts';
import { sessionTopic } from './sessions.ts';

/** How long a session is taken as live without asking: with one read after it, under the 5 s that a revocation may take. */
export const LIVENESS_CACHE_MS = 3_000;
const MAX_CACHED_SESSIONS = 20_000;

type Entry = { caller: Promise<Caller | null>; until: number; forget: () => void };

export type LiveSessions = {
  /** Whose session it is, or null when it ended. From the cache within 3 s, unless its end was announced. */
  callerOf(sessionId: string): Promise<Caller | null>;
  /** Those of the sessions that have ended, in one query. */
  ended(sessionIds: readonly string[]): Promise<Set<string>>;
  /** Calls back when the session's end is announced; returns what stops that. An announcement may be lost: ask `ended` too. */
  watch(sessionId: string, onEnd: () => void): () => void;
};

/** Which sessions live, asked of the database by all requests of an instance together. */
export function createLiveSessions({ prisma, bus }: { prisma: PrismaClient; bus: Bus }): LiveSessions {
  // Oldest first: a Map keeps the order in which entries were made, and all live equally long.
  const cache = new Map<string, Entry>();

  function forgetOutdated(now: number): void {
    for (const [, entry] of cache) {
      if (entry.until > now && cache.size < MAX_CACHED_SESSIONS) return;
      entry.forget();
    }
  }

  function remember(sessionId: string, caller: Promise<Caller | null>, now: number): void {
    const unsubscribe = bus.subscribe(sessionTopic(sessionId), () => entry.forget());
    const entry: Entry = {
      caller,
      until: now + LIVENESS_CACHE_MS,
      forget() {
        unsubscribe();
        if (cache.get(sessionId) === entry) cache.delete(sessionId);
      },
    };
    cache.set(sessionId, entry);
    caller.then(
      (found) => found ?? entry.forget(),
      () => entry.forget(),
    );
  }

  return {
    callerOf(sessionId) {
      const now = performance.now();
      forgetOutdated(now);
      const known = cache.get(sessionId);
      if (known) return known.caller;
      const caller = findCaller(prisma, sessionId);
      remember(sessionId, caller, now);
      return caller;
    },
    async ended(sessionIds) {
      if (sessionIds.length === 0) return new Set();
      const live = await prisma.$queryRaw<{ id: string }[]>`
        select id from sessions where id = any(${[...sessionIds]}::uuid[]) and revoked_at is null and expires_at > now()`;
      return new Set(sessionIds).difference(new Set(live.map(({ id }) => id)));
    },
    watch: (sessionId, onEnd) => bus.subscribe(sessionTopic(sessionId), onEnd),
  };
}

async function findCaller(prisma: PrismaClient, sessionId: string): Promise<Caller | null> {
  const [found] = await prisma.$queryRaw<Caller[]>`
    select s.user_id as "userId", s.id as "sessionId", u.is_superadmin as "isSuperadmin"
    from sessions s join users u on u.id = s.user_id
    where s.id = ${sessionId}::uuid and s.revoked_at is null and s.expires_at > now()`;
  return found ?? null;
}
