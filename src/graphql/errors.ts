import { GraphQLError } from 'graphql';
import { isUnreachable } from '../db/outage.ts';
import { ExpectedError, ValidationError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';

/** When a client may try again while the database is away. */
const OUTAGE_RETRY_MS = 1_000;

export type RequestIdentity = { requestId: string; log: Logger };

/** The HTTP status of an answer that has no data at all; with `application/json` it is 200. */
const STATUS_BY_CODE: Record<string, number> = {
  BAD_REQUEST: 400,
  QUERY_TOO_COMPLEX: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  RATE_LIMITED: 429,
  INTERNAL: 500,
  UNAVAILABLE: 503,
};

/** An error as a client may see it: a code of the public API, no internal text. `cause` stays here, for the log. */
export class PublicError extends GraphQLError {
  override readonly name = 'PublicError';
}

/** What is wrong with a document, or with the request that brings it, before it runs. */
export function documentError(
  code: 'BAD_REQUEST' | 'QUERY_TOO_COMPLEX',
  message: string,
  status?: number,
): GraphQLError {
  return new GraphQLError(message, { extensions: { code, ...(status && { http: { status } }) } });
}

/** The public form of whatever was thrown. Expected errors keep their message; surprises become INTERNAL. */
export function toPublicError(error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  const place = error instanceof GraphQLError ? error : null;
  const origin = place?.originalError ?? error;
  if (origin instanceof PublicError) return derive(origin.message, origin.extensions, place, origin.cause);
  if (origin instanceof ExpectedError) return derive(origin.message, extensionsOf(origin), place, undefined);
  if (isUnreachable(origin)) {
    const extensions = { code: 'UNAVAILABLE', retryAfterMs: OUTAGE_RETRY_MS };
    return derive('the database does not answer now: try again in a moment', extensions, place, origin);
  }
  if (place && origin instanceof GraphQLError && isClientMistake(place)) {
    const code = place.extensions.code === 'QUERY_TOO_COMPLEX' ? 'QUERY_TOO_COMPLEX' : 'BAD_REQUEST';
    return derive(place.message, { code, http: place.extensions.http }, place, undefined);
  }
  return derive(
    'a fault of the server: its log has the details under the requestId',
    { code: 'INTERNAL' },
    place,
    origin,
  );
}

/** The errors of an answer with their requestId; causes are logged. For an answer without data each says its HTTP status. */
export function presentErrors(
  errors: readonly unknown[],
  { requestId, log }: RequestIdentity,
  options: { hasData: boolean },
): PublicError[] {
  return errors.map((error) => {
    const known = toPublicError(error);
    const { code, http } = known.extensions as { code: string; http?: object };
    if (code === 'INTERNAL') log.error({ err: known.cause, path: known.path }, 'an operation failed');
    else if (code === 'UNAVAILABLE') log.warn({ err: known.cause, path: known.path }, 'the database does not answer');
    const status = options.hasData ? undefined : (http ?? { spec: true, status: STATUS_BY_CODE[code] ?? 400 });
    return derive(known.message, { ...known.extensions, requestId, http: status }, known, known.cause);
  });
}

/** An error as it stands in a message: without what only HTTP needs. */
export function formatError(error: GraphQLError): ReturnType<GraphQLError['toJSON']> {
  const { extensions, ...formatted } = error.toJSON();
  const { http: _http, ...visible } = extensions ?? {};
  return { ...formatted, extensions: visible };
}

function derive(message: string, extensions: object, place: GraphQLError | null, cause: unknown): PublicError {
  const given = Object.entries(extensions).filter(([, value]) => value !== undefined);
  const error = new PublicError(message, {
    nodes: place?.nodes,
    source: place?.source,
    positions: place?.positions,
    path: place?.path,
    extensions: Object.fromEntries(given),
  });
  // Not `originalError`: whoever serializes errors must not find it.
  Object.defineProperty(error, 'cause', { value: cause, enumerable: false });
  return error;
}

function extensionsOf(error: ExpectedError): object {
  const { retryAfterMs, reason } = error as { retryAfterMs?: number; reason?: string };
  if (error instanceof ValidationError) return { code: 'BAD_REQUEST', fields: error.fields };
  return { code: error.code, retryAfterMs, reason };
}

/** GraphQL's own errors about documents, variables and arguments, not those about what our resolvers returned. */
function isClientMistake(error: GraphQLError): boolean {
  return (
    error.path === undefined || error.message.startsWith('Argument "') || error.extensions.code === 'QUERY_TOO_COMPLEX'
  );
}
