import type { PrismaClient } from '../db/client.ts';
import type { GraphQLContext, Services } from '../graphql/context.ts';
import type { Caller } from '../modules/services.ts';
import type { Logger } from '../shared/logger.ts';

/** What a transport knows of an operation before it is parsed. */
export type OperationOrigin = {
  requestId: string;
  log: Logger;
  ip: string;
  userAgent: string | null;
  transport: GraphQLContext['transport'];
  /** The token that came with it, or null. */
  bearerToken: string | null;
};

export type Authentication = { caller: Caller | null; authenticationError: Error | null };

/** Who presents a token. A refusal is no failure here: fields that need a caller end with it, public ones do not care. */
export async function authenticate(
  services: Pick<Services, 'identity'>,
  bearerToken: string | null,
): Promise<Authentication> {
  if (bearerToken === null) return { caller: null, authenticationError: null };
  try {
    return { caller: await services.identity.authenticate(bearerToken), authenticationError: null };
  } catch (error) {
    return { caller: null, authenticationError: error as Error };
  }
}

export type ContextParts = { prisma: PrismaClient; services: Services };

/** The context of one operation: an origin, who it is, and everything that resolvers use. */
export async function createContext(
  { prisma, services }: ContextParts,
  origin: OperationOrigin,
  known?: Authentication,
): Promise<GraphQLContext> {
  return {
    ...origin,
    ...(known ?? (await authenticate(services, origin.bearerToken))),
    prisma,
    services,
    lifetime: new AbortController(),
  };
}

/** The token of an Authorization header, "Bearer" in any case; null without one. A header of another scheme is a bad token. */
export function bearerTokenOf(authorization: unknown): string | null {
  if (typeof authorization !== 'string' || authorization.trim() === '') return null;
  const match = /^bearer +(\S+)$/i.exec(authorization.trim());
  return match?.[1] ?? authorization;
}
