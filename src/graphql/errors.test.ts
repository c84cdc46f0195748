import { GraphQLError } from 'graphql';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { isUnreachable } from '../db/outage.ts';
import {
  ConflictError,
  PermissionDeniedError,
  RateLimitedError,
  TokenRefusedError,
  ValidationError,
} from '../shared/errors.ts';
import { formatError, presentErrors, toPublicError } from './errors.ts';

const SECRET = 'select * from users where password = 1';
const located = (originalError: Error) => new GraphQLError(originalError.message, { originalError, path: ['a', 0] });

function present(error: unknown, hasData = true) {
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });
  const [presented] = presentErrors([error], { requestId: 'r1', log }, { hasData });
  return {
    answer: formatError(presented!),
    http: presented!.extensions.http,
    lines: lines.map((line) => JSON.parse(line)),
  };
}

describe('the errors of an answer', () => {
  it.each([
    [new ConflictError('taken'), { code: 'CONFLICT' }],
    [new PermissionDeniedError('no'), { code: 'PERMISSION_DENIED' }],
    [new RateLimitedError('slow down', 1_234), { code: 'RATE_LIMITED', retryAfterMs: 1_234 }],
    [new TokenRefusedError('TOKEN_EXPIRED'), { code: 'UNAUTHENTICATED', reason: 'TOKEN_EXPIRED' }],
    [
      ValidationError.field('name', 'too long'),
      { code: 'BAD_REQUEST', fields: [{ path: ['name'], message: 'too long' }] },
    ],
  ])('should carry the code of what was expected: %s', (error, extensions) => {
    const { answer, lines } = present(located(error));
    expect(answer).toMatchObject({ path: ['a', 0], extensions: { ...extensions, requestId: 'r1' } });
    expect(lines).toEqual([]);
  });

  it("should tell GraphQL's own complaints about a document, its variables and arguments, and no others", () => {
    const inner = new GraphQLError('a DateTime is ISO 8601');
    const outer = new GraphQLError('Variable "$at" got invalid value; a DateTime is ISO 8601', {
      originalError: inner,
    });
    expect(present(outer).answer).toMatchObject({ message: outer.message, extensions: { code: 'BAD_REQUEST' } });
    const argument = new GraphQLError('Argument "id" has invalid value', { path: ['a'] });
    expect(present(argument).answer.extensions?.code).toBe('BAD_REQUEST');
    const result = new GraphQLError(`Int cannot represent ${SECRET}`, { path: ['a'] });
    expect(present(result).answer.extensions?.code).toBe('INTERNAL');
    expect(present(located(result)).answer.message).not.toContain(SECRET);
  });

  it('should say nothing of a surprise, and the log all of it', () => {
    const { answer, lines } = present(located(new TypeError(SECRET)));
    expect(answer).toMatchObject({ path: ['a', 0], extensions: { code: 'INTERNAL', requestId: 'r1' } });
    expect(JSON.stringify(answer)).not.toContain(SECRET);
    expect(lines[0].err).toMatchObject({ type: 'TypeError', message: SECRET, stack: expect.any(String) });
  });

  it('should say nothing of what was thrown and is no error at all', () => {
    for (const thrown of [SECRET, null, undefined, { message: SECRET }]) {
      expect(JSON.stringify(present(thrown).answer)).not.toContain(SECRET);
      expect(toPublicError(thrown).extensions.code).toBe('INTERNAL');
    }
  });

  it('should keep causes out of whatever serializes them', () => {
    const error = toPublicError(located(new TypeError(SECRET)));
    expect(error.originalError).toBeUndefined();
    expect(JSON.stringify({ ...error })).not.toContain(SECRET);
  });

  it('should have an HTTP status where there is no data', () => {
    expect(present(new ConflictError('x'), false).http).toEqual({ spec: true, status: 409 });
    expect(present(new TypeError('x'), false).http).toEqual({ spec: true, status: 500 });
    expect(present(new GraphQLError('x', { extensions: { http: { status: 413 } } }), false).http).toEqual({
      status: 413,
    });
    expect(present(new ConflictError('x'), true).http).toBeUndefined();
  });
});

describe('an outage', () => {
  it.each([
    Object.assign(new Error('x'), { code: 'P1001' }),
    Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
    Object.assign(new Error('connect ENOENT /run/.s.PGSQL.5432'), { code: 'ENOENT', syscall: 'connect' }),
    Object.assign(new Error('Invalid `user.findFirst()`:\n\nconnect ENOENT /run/.s.PGSQL.5432'), { code: 'ENOENT' }),
    Object.assign(new Error('x'), { code: '57P03' }),
    new Error('Connection terminated unexpectedly'),
    new Error('query failed', { cause: Object.assign(new Error('x'), { code: '08006' }) }),
    Object.assign(new Error('x'), { meta: { driverAdapterError: { cause: { kind: 'DatabaseNotReachable' } } } }),
  ])('should be known: %o', (error) => {
    expect(isUnreachable(error)).toBe(true);
    expect(present(error).answer.extensions).toMatchObject({ code: 'UNAVAILABLE', retryAfterMs: 1_000 });
  });

  it.each([
    new Error('x'),
    Object.assign(new Error('x'), { code: 'P2002' }),
    Object.assign(new Error('open failed'), { code: 'ENOENT', syscall: 'open' }),
    Object.assign(new Error('x'), { code: '23505' }),
    null,
    'ECONNREFUSED',
  ])('should not be seen in %o', (error) => expect(isUnreachable(error)).toBe(false));
});
