import type { JWK } from 'jose';
import type { Session, User } from '../../db/generated/prisma/client.ts';
import {
  InvalidCredentialsError,
  NotFoundError,
  TokenRefusedError,
  UnauthenticatedError,
} from '../../shared/errors.ts';
import { findPage } from '../../shared/keyset.ts';
import { type Connection, orderBy, type Page } from '../../shared/pagination.ts';
import type { Caller, ServiceDependencies } from '../services.ts';
import { ACCESS_TOKEN_SECONDS, createAccessTokens } from './access-tokens.ts';
import { isPossibleLogin, keyOf, type LoginInput, type RegistrationInput } from './inputs.ts';
import { createLiveSessions, type LiveSessions } from './live-sessions.ts';
import { createPasswordHasher, type PasswordHasher } from './passwords.ts';
import { createRegistration, type RegistrationPolicy } from './registration.ts';
import { type Client, createSessions, type OpenSession } from './sessions.ts';
import { createSigningKeys } from './signing-keys.ts';
import { createLoginThrottle } from './throttle.ts';
import { emailReaders, visibleUsers } from './visibility.ts';

export type { Client } from './sessions.ts';

export type IdentityOptions = RegistrationPolicy & {
  /** Another hasher for tests that count its work. */
  passwords?: PasswordHasher;
};

/** What a client gets at registration, login and refresh. */
export type AuthSession = {
  accessToken: string;
  refreshToken: string;
  expiresInSeconds: number;
  refreshExpiresAt: Date;
  user: User;
};

export type IdentityService = {
  register(input: RegistrationInput, client: Client): Promise<AuthSession>;
  /** Throws InvalidCredentialsError or RateLimitedError, for unknown users as for known ones. */
  login(input: LoginInput, client: Client): Promise<AuthSession>;
  /** Throws InvalidCredentialsError for every token that is not good now. */
  refresh(refreshToken: string, client: Client): Promise<AuthSession>;
  /** Ends the session of an access token (also of one that has expired), or all of its user's. How many it ended: 0 without a good token. */
  logout(accessToken: string | null, everywhere: boolean): Promise<number>;
  /** Ends one of the caller's sessions. */
  revokeSession(caller: Caller | null, sessionId: string | null): Promise<void>;
  /** Who presents this access token. Throws TokenRefusedError with a reason. */
  authenticate(accessToken: string): Promise<Caller>;
  /** For whoever keeps a connection open as long as its session. */
  liveSessions: LiveSessions;
  findViewer(caller: Caller): Promise<User>;
  /** The caller's live sessions, the newest first. */
  sessionPage(caller: Caller | null, page: Page): Promise<Connection<Session>>;
  findSessions(caller: Caller | null, ids: string[]): Promise<Session[]>;
  /** Those of the users that the caller may see: oneself, members of shared organizations; for a superadmin all. */
  findUsers(caller: Caller | null, ids: string[]): Promise<User[]>;
  /** Who did what a caller was told of, former members of their organizations too. */
  findActors(userIds: string[]): Promise<User[]>;
  /** Those of the users whose e-mail the caller may read. */
  readableEmails(caller: Caller | null, userIds: string[]): Promise<Set<string>>;
  /** The JSON Web Key Set that access tokens are verified with. */
  jwks(): Promise<{ keys: JWK[] }>;
  /** The token that the first user needs, or null: for the first output at start. */
  ensureSetupToken(): Promise<string | null>;
  /** Deletes sessions and throttle counters that ended a week ago. Returns how many sessions. */
  prune(): Promise<number>;
};

const NEWEST_SESSION = orderBy('newest', { field: 'createdAt', direction: 'desc', type: 'date' });
const ENDED_SESSION_DAYS = 7;

export function createIdentityService(dependencies: ServiceDependencies, options: IdentityOptions): IdentityService {
  const { prisma, clock } = dependencies;
  const passwords = options.passwords ?? createPasswordHasher();
  const sessions = createSessions(dependencies);
  const liveSessions = createLiveSessions(dependencies);
  const throttle = createLoginThrottle(dependencies);
  const keys = createSigningKeys(dependencies);
  const tokens = createAccessTokens({ keys, clock });
  const registration = createRegistration({ ...dependencies, policy: options, passwords, sessions });

  async function grant(user: User, session: OpenSession): Promise<AuthSession> {
    return {
      accessToken: await tokens.issue(session),
      refreshToken: session.refreshToken,
      expiresInSeconds: ACCESS_TOKEN_SECONDS,
      refreshExpiresAt: session.expiresAt,
      user,
    };
  }

  /** Of a caller's sessions those that live. */
  const ownLive = (caller: Caller | null) => ({
    userId: requireCaller(caller).userId,
    revokedAt: null,
    expiresAt: { gt: clock.now() },
  });

  return {
    liveSessions,
    jwks: keys.published,
    ensureSetupToken: registration.ensureSetupToken,

    async register(input, client) {
      const { user, session } = await registration.register(input, client);
      return grant(user, session);
    },

    async login(input, client) {
      const refused = new InvalidCredentialsError('wrong user name or password');
      if (!isPossibleLogin(input)) throw refused;
      const account = keyOf(input.username);
      const attempt = { account, address: client.ip };
      await throttle.begin(attempt);
      const where = account.includes('@') ? { emailKey: account } : { usernameKey: account };
      const user = await prisma.user.findUnique({ where });
      const isRight = await passwords.verify(input.password, user?.passwordHash ?? null);
      if (!user || !isRight) throw refused;
      await throttle.succeed(attempt);
      const session = await prisma.$transaction(async (tx) => {
        await tx.user.update({ where: { id: user.id }, data: { lastLoginAt: clock.now() } });
        return sessions.open(tx, user.id, client, input.rememberMe ?? false);
      });
      return grant(user, session);
    },

    async refresh(refreshToken, client) {
      const session = await sessions.rotate(refreshToken, client);
      if (!session) throw new InvalidCredentialsError('this refresh token is not valid any more: log in again');
      return grant(await prisma.user.findUniqueOrThrow({ where: { id: session.userId } }), session);
    },

    async logout(accessToken, everywhere) {
      if (!accessToken) return 0;
      const claims = await tokens.verify(accessToken, { allowExpired: true }).catch((error: unknown) => {
        if (error instanceof TokenRefusedError) return null;
        throw error;
      });
      if (!claims || (await liveSessions.ended([claims.sessionId])).size > 0) return 0;
      return (await sessions.end(claims.userId, everywhere ? undefined : claims.sessionId)).length;
    },

    async revokeSession(caller, sessionId) {
      const { userId } = requireCaller(caller);
      const ended = sessionId ? await sessions.end(userId, sessionId) : [];
      if (ended.length === 0) throw new NotFoundError('session');
    },

    async authenticate(accessToken) {
      const { sessionId, userId } = await tokens.verify(accessToken);
      const caller = await liveSessions.callerOf(sessionId);
      if (caller?.userId !== userId) throw new TokenRefusedError('SESSION_REVOKED');
      return caller;
    },

    findViewer: (caller) => prisma.user.findUniqueOrThrow({ where: { id: caller.userId } }),

    sessionPage: (caller, page) =>
      findPage<Session>(prisma.session, { page, order: NEWEST_SESSION, where: ownLive(caller) }),

    findSessions: async (caller, ids) => prisma.session.findMany({ where: { ...ownLive(caller), id: { in: ids } } }),

    findUsers: async (caller, ids) => visibleUsers(prisma, requireCaller(caller), ids),

    findActors: (ids) => prisma.user.findMany({ where: { id: { in: ids } } }),

    readableEmails: async (caller, userIds) => emailReaders(prisma, requireCaller(caller), userIds),

    async prune() {
      await prisma.$executeRaw`delete from login_throttles where window_ends_at < now()`;
      return prisma.$executeRaw`
        delete from sessions
        where least(revoked_at, expires_at) < now() - make_interval(days => ${ENDED_SESSION_DAYS}::int)`;
    },
  };
}

function requireCaller(caller: Caller | null): Caller {
  if (!caller) throw new UnauthenticatedError();
  return caller;
}
