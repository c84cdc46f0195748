/**
 * Expected failures, by the codes of the public API. The first group are members of result unions (something the client
 * can act on in its flow), the second end as top-level GraphQL errors. Anything else that is thrown is a fault of ours and is masked.
 */

export type FieldProblem = { path: string[]; message: string };

/** A remark on a compose file; line and column count from 1. */
export type FindingDetail = {
  rule: string;
  severity: 'ERROR' | 'WARNING' | 'INFO';
  message: string;
  path: string | null;
  line: number | null;
  column: number | null;
  suggestion: string | null;
};

export abstract class ExpectedError extends Error {
  abstract readonly code: string;
}

export class ValidationError extends ExpectedError {
  override readonly name = 'ValidationError';
  readonly code = 'VALIDATION_ERROR';
  readonly fields: FieldProblem[];
  readonly findings: FindingDetail[];
  constructor(message: string, details: { fields?: FieldProblem[]; findings?: FindingDetail[] } = {}) {
    super(message);
    this.fields = details.fields ?? [];
    this.findings = details.findings ?? [];
  }
  /** One wrong field; the path begins inside `input`. */
  static field(path: string | string[], message: string): ValidationError {
    return new ValidationError(message, { fields: [{ path: [path].flat(), message }] });
  }
}

/** What is wrong in one line, with what is wrong with each field, said once. */
export function reasonOf(error: ExpectedError): string {
  if (!(error instanceof ValidationError)) return error.message;
  const named = error.fields.filter(({ path }) => path.length > 0);
  const told = named.map(({ path, message }) => `${path.join('.')}: ${message}`);
  const isOfField = named.some(({ message }) => message === error.message);
  const more = told.filter((each) => !error.message.includes(each));
  return (isOfField ? more : [error.message, ...more]).join('; ');
}

export class NotFoundError extends ExpectedError {
  override readonly name = 'NotFoundError';
  readonly code = 'NOT_FOUND';
  /** `what` in words: "stack", "deployment". Absent, foreign and malformed ids all say the same. */
  constructor(what: string) {
    super(`no such ${what}, or it is not yours to see`);
  }
}

export class ConflictError extends ExpectedError {
  override readonly name = 'ConflictError';
  readonly code = 'CONFLICT';
}

export class QuotaExceededError extends ExpectedError {
  override readonly name = 'QuotaExceededError';
  readonly code = 'QUOTA_EXCEEDED';
  readonly quota: string;
  readonly limit: number;
  readonly used: number;
  /** `advice`: what to do about it, where it is not to delete some. */
  constructor(quota: string, limit: number, used: number, advice?: string) {
    super(`the limit of ${limit} for ${quota} is reached${advice ? `: ${advice}` : ''}`);
    this.quota = quota;
    this.limit = limit;
    this.used = used;
  }
}

export class InvalidCredentialsError extends ExpectedError {
  override readonly name = 'InvalidCredentialsError';
  readonly code = 'INVALID_CREDENTIALS';
}

export class RegistrationClosedError extends ExpectedError {
  override readonly name = 'RegistrationClosedError';
  readonly code = 'REGISTRATION_CLOSED';
}

export class UnauthenticatedError extends ExpectedError {
  override readonly name = 'UnauthenticatedError';
  readonly code = 'UNAUTHENTICATED';
  constructor(message = 'log in first: send an access token as "Authorization: Bearer …"') {
    super(message);
  }
}

/** Why an access token is not taken: `extensions.reason` of the error, and the reason of a socket's close frame. */
export type RefusalReason = 'TOKEN_INVALID' | 'TOKEN_EXPIRED' | 'SESSION_REVOKED';

const REFUSALS: Record<RefusalReason, string> = {
  TOKEN_INVALID: 'the access token is not one of this server: log in again',
  TOKEN_EXPIRED: 'the access token has expired: get a new one with authRefresh',
  SESSION_REVOKED: 'the session has ended: log in again',
};

export class TokenRefusedError extends UnauthenticatedError {
  readonly reason: RefusalReason;
  constructor(reason: RefusalReason) {
    super(REFUSALS[reason]);
    this.reason = reason;
  }
}

export class PermissionDeniedError extends ExpectedError {
  override readonly name = 'PermissionDeniedError';
  readonly code = 'PERMISSION_DENIED';
}

export class BadRequestError extends ExpectedError {
  override readonly name = 'BadRequestError';
  readonly code = 'BAD_REQUEST';
}

export class QueryTooComplexError extends ExpectedError {
  override readonly name = 'QueryTooComplexError';
  readonly code = 'QUERY_TOO_COMPLEX';
}

export class RateLimitedError extends ExpectedError {
  override readonly name = 'RateLimitedError';
  readonly code = 'RATE_LIMITED';
  readonly retryAfterMs: number;
  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

export class UnavailableError extends ExpectedError {
  override readonly name = 'UnavailableError';
  readonly code = 'UNAVAILABLE';
  readonly retryAfterMs: number;
  constructor(message: string, retryAfterMs: number, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}
