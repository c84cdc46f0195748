import type { PrismaClient, Transaction } from '../../db/client.ts';
import { notifyTopics } from '../../realtime/bus.ts';
import { type Keyring, randomToken, sha256 } from '../../shared/crypto.ts';
import { newId } from '../../shared/ids.ts';

/** A session lives so long after its last use. */
export const SESSION_HOURS = 24;
export const REMEMBERED_SESSION_HOURS = 30 * 24;
/** A refresh token used again within this time gets the same successor: its first answer may have been lost. */
export const REFRESH_GRACE_SECONDS = 10;
/** Live sessions of a user; a further login ends the one that was used longest ago. */
export const MAX_SESSIONS_PER_USER = 100;
const MAX_REFRESH_TOKEN_LENGTH = 256;
const MAX_USER_AGENT_LENGTH = 500;

/** From where a session is used, as far as it is known. */
export type Client = { ip: string; userAgent: string | null };

/** A session with the one refresh token that continues it. */
export type OpenSession = { userId: string; sessionId: string; refreshToken: string; expiresAt: Date };

/** The topic that is announced when a session ends. */
export const sessionTopic = (sessionId: string): string => `session:${sessionId}`;

export type Sessions = {
  /** Opens a session in the caller's transaction. */
  open(tx: Transaction, userId: string, client: Client, rememberMe: boolean): Promise<OpenSession>;
  /** Exchanges a refresh token. Null for one that is unknown, spent or of an ended session; a spent one ends its session. */
  rotate(refreshToken: string, client: Client): Promise<OpenSession | null>;
  /** Ends live sessions of a user (all, or the one); returns the ids of those that it ended. */
  end(userId: string, sessionId?: string): Promise<string[]>;
};

export function createSessions({ prisma, keyring }: { prisma: PrismaClient; keyring: Keyring }): Sessions {
  async function exchange(tx: Transaction, refreshToken: string, client: Client): Promise<OpenSession | null> {
    const tokenHash = sha256(refreshToken);
    const [found] = await tx.$queryRaw<FoundToken[]>`
      select s.id as "sessionId", s.user_id as "userId", s.expires_at as "expiresAt", s.remember_me as "rememberMe",
             t.used_at is not null as "isUsed",
             coalesce(t.used_at > now() - make_interval(secs => ${REFRESH_GRACE_SECONDS}), true) as "inGrace"
      from refresh_tokens t join sessions s on s.id = t.session_id
      where t.token_hash = ${tokenHash} and s.revoked_at is null and s.expires_at > now()
      for update of s, t`;
    if (!found) return null;
    const { sessionId, userId, expiresAt } = found;
    // Derived from its predecessor: a replay in time gets the same one though neither is stored.
    const successor = keyring.mac('refresh', refreshToken);
    if (found.isUsed) {
      if (found.inGrace) return { userId, sessionId, refreshToken: successor, expiresAt };
      await endSessions(tx, userId, sessionId);
      return null;
    }
    await tx.$executeRaw`update refresh_tokens set used_at = now() where token_hash = ${tokenHash}`;
    await tx.refreshToken.create({ data: { tokenHash: sha256(successor), sessionId } });
    const [renewed] = await tx.$queryRaw<{ expiresAt: Date }[]>`
      update sessions
      set last_used_at = now(), expires_at = now() + make_interval(hours => ${lifeHours(found.rememberMe)}::int),
          ip_address = ${client.ip}, user_agent = ${trimAgent(client)}
      where id = ${sessionId}::uuid
      returning expires_at as "expiresAt"`;
    return { userId, sessionId, refreshToken: successor, expiresAt: renewed!.expiresAt };
  }

  return {
    async open(tx, userId, client, rememberMe) {
      const sessionId = newId();
      const [created] = await tx.$queryRaw<{ expiresAt: Date }[]>`
        insert into sessions (id, user_id, user_agent, ip_address, remember_me, expires_at)
        values (${sessionId}::uuid, ${userId}::uuid, ${trimAgent(client)}, ${client.ip}, ${rememberMe},
                now() + make_interval(hours => ${lifeHours(rememberMe)}::int))
        returning expires_at as "expiresAt"`;
      const refreshToken = randomToken();
      await tx.refreshToken.create({ data: { tokenHash: sha256(refreshToken), sessionId } });
      await endOldest(tx, userId);
      return { userId, sessionId, refreshToken, expiresAt: created!.expiresAt };
    },
    async rotate(refreshToken, client) {
      if (refreshToken.length > MAX_REFRESH_TOKEN_LENGTH) return null;
      return prisma.$transaction((tx) => exchange(tx, refreshToken, client));
    },
    end: (userId, sessionId) => prisma.$transaction((tx) => endSessions(tx, userId, sessionId)),
  };
}

type FoundToken = {
  sessionId: string;
  userId: string;
  expiresAt: Date;
  rememberMe: boolean;
  isUsed: boolean;
  inGrace: boolean;
};

async function endSessions(tx: Transaction, userId: string, sessionId?: string): Promise<string[]> {
  const ended = await tx.$queryRaw<{ id: string }[]>`
    update sessions set revoked_at = now()
    where user_id = ${userId}::uuid and (${sessionId ?? null}::uuid is null or id = ${sessionId ?? null}::uuid)
      and revoked_at is null and expires_at > now()
    returning id`;
  return announceEnd(tx, ended);
}

async function endOldest(tx: Transaction, userId: string): Promise<void> {
  const ended = await tx.$queryRaw<{ id: string }[]>`
    update sessions set revoked_at = now()
    where id in (
      select id from sessions
      where user_id = ${userId}::uuid and revoked_at is null and expires_at > now()
      order by last_used_at desc, id desc offset ${MAX_SESSIONS_PER_USER}
    )
    returning id`;
  await announceEnd(tx, ended);
}

async function announceEnd(tx: Transaction, ended: { id: string }[]): Promise<string[]> {
  const ids = ended.map(({ id }) => id);
  await notifyTopics(tx, ids.map(sessionTopic));
  return ids;
}

const lifeHours = (rememberMe: boolean): number => (rememberMe ? REMEMBERED_SESSION_HOURS : SESSION_HOURS);

/** What clients call themselves is unbounded, and may be anything but NUL. */
function trimAgent({ userAgent }: Client): string | null {
  return userAgent?.slice(0, MAX_USER_AGENT_LENGTH).replaceAll('\0', '').toWellFormed() || null;
}
