import { timingSafeEqual } from 'node:crypto';
import type { Prisma, Transaction } from '../../db/client.ts';
import type { User } from '../../db/generated/prisma/client.ts';
import { sha256 } from '../../shared/crypto.ts';
import { ConflictError, NotFoundError, QuotaExceededError, RegistrationClosedError } from '../../shared/errors.ts';
import { newId } from '../../shared/ids.ts';
import { parseInput } from '../../shared/validation.ts';
import { change } from '../change.ts';
import { joinByInvitation } from '../organizations/invitations.ts';
import type { ServiceDependencies } from '../services.ts';
import { keyOf, type RegistrationInput, registrationInput } from './inputs.ts';
import type { PasswordHasher } from './passwords.ts';
import type { Client, OpenSession, Sessions } from './sessions.ts';

export type RegistrationPolicy = {
  /** `first`: whoever is not the installation's first user needs an invitation. */
  registration: 'first' | 'open';
  /** Whether the first user needs the token of `ensureSetupToken`: the server listens beyond this machine. */
  requiresSetupToken: boolean;
};

export type Registration = {
  /** Throws ValidationError, ConflictError, RegistrationClosedError or, for the invitation, NotFoundError. */
  register(input: RegistrationInput, client: Client): Promise<{ user: User; session: OpenSession }>;
  /** The token that the first user needs, the same at every call; null when none is needed. */
  ensureSetupToken(): Promise<string | null>;
};

type Parts = ServiceDependencies & { policy: RegistrationPolicy; passwords: PasswordHasher; sessions: Sessions };

export function createRegistration({ prisma, keyring, clock, policy, passwords, sessions }: Parts): Registration {
  /** Whether this user will be the first; throws where the policy refuses. */
  async function admit(db: Transaction, input: RegistrationInput): Promise<boolean> {
    const isFirst = (await db.user.findFirst({ select: { id: true } })) === null;
    if (isFirst) {
      if (policy.requiresSetupToken) await requireSetupToken(db, input.setupToken);
      return true;
    }
    if (input.invitationToken) {
      const invited = { tokenHash: sha256(input.invitationToken), emailKey: keyOf(input.email) };
      const found = await db.invitation.count({ where: { ...invited, expiresAt: { gt: clock.now() } } });
      if (found === 0) throw new NotFoundError('invitation');
    } else if (policy.registration === 'first') {
      throw new RegistrationClosedError('this installation takes new users by invitation: ask an admin for one');
    }
    return false;
  }

  return {
    async register(given, client) {
      const input = parseInput(registrationInput, given);
      // Before the costly hash, and again in the transaction that decides.
      await admit(prisma, input);
      const passwordHash = await passwords.hash(input.password);
      const id = newId();
      return change(prisma, { userId: id, sessionId: id, isSuperadmin: false }, async (tx, record) => {
        await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('windflow:registration', 0))`;
        const isFirst = await admit(tx, input);
        const user = await createUser(tx, {
          id,
          username: input.username,
          usernameKey: keyOf(input.username),
          email: input.email,
          emailKey: keyOf(input.email),
          passwordHash,
          isSuperadmin: isFirst,
          lastLoginAt: clock.now(),
        });
        if (isFirst) await tx.key.deleteMany({ where: { kind: 'setup' } });
        if (input.invitationToken) {
          const joining = { token: input.invitationToken, userId: id, emailKey: user.emailKey, now: clock.now() };
          await joinByInvitation(tx, record, joining).catch(asConflict);
        }
        return { user, session: await sessions.open(tx, id, client, false) };
      });
    },

    async ensureSetupToken() {
      if (!policy.requiresSetupToken || (await prisma.user.findFirst({ select: { id: true } }))) return null;
      return prisma.$transaction(async (tx) => {
        await tx.$executeRaw`select pg_advisory_xact_lock(hashtextextended('windflow:setup-token', 0))`;
        const known = await tx.key.findFirst({ where: { kind: 'setup' } });
        const id = known?.id ?? newId();
        // Derived, so that every instance and every start prints the same one though only its hash is stored.
        const token = keyring.mac('setup-token', id);
        if (!known) await tx.key.create({ data: { id, kind: 'setup', material: sha256(token) } });
        return token;
      });
    },
  };
}

async function requireSetupToken(db: Transaction, token: string | null | undefined): Promise<void> {
  const known = await db.key.findFirst({ where: { kind: 'setup' } });
  const matches = known && token && timingSafeEqual(Buffer.from(sha256(token)), Buffer.from(known.material));
  if (!matches) {
    throw new RegistrationClosedError(
      "the first user of this installation needs its setupToken: the server's first output shows it",
    );
  }
}

async function createUser(tx: Transaction, data: Prisma.UserCreateInput): Promise<User> {
  const { usernameKey, emailKey } = data;
  // Asked first: a unique violation would end the transaction, and the lock keeps other registrations away.
  const taken = await tx.user.findFirst({ where: { OR: [{ usernameKey }, { emailKey }] }, select: { id: true } });
  if (taken) throw new ConflictError('a user with this name or e-mail exists: log in, or choose another');
  return tx.user.create({ data });
}

/** A full organization is no field of a registration's result: the client can only tell its admin. */
function asConflict(error: unknown): never {
  if (error instanceof QuotaExceededError)
    throw new ConflictError(`the organization takes no more members: ${error.message}`);
  throw error;
}
