import {
  ConflictError,
  type ExpectedError,
  type FieldProblem,
  type FindingDetail,
  InvalidCredentialsError,
  NotFoundError,
  QuotaExceededError,
  RegistrationClosedError,
  ValidationError,
} from '../shared/errors.ts';
import { builder } from './builder.ts';

const RESULT_CODES = {
  VALIDATION_ERROR: 'The input is wrong: `fields` and `findings` say where.',
  NOT_FOUND: 'No such object, or none that the caller may see.',
  CONFLICT: 'The present state does not allow it.',
  QUOTA_EXCEEDED: 'A limit of the organization is reached.',
  INVALID_CREDENTIALS: 'Wrong user name, password or refresh token.',
  REGISTRATION_CLOSED: 'This installation takes new users by invitation.',
};
const TOP_LEVEL_CODES = {
  UNAUTHENTICATED: 'No token, or one that is not valid now.',
  PERMISSION_DENIED: "The caller's role does not allow it.",
  RATE_LIMITED: 'Too often: try again after `extensions.retryAfterMs`.',
  QUERY_TOO_COMPLEX: 'The operation exceeds a limit on depth, aliases, tokens or cost.',
  BAD_REQUEST: 'The document, its variables or an argument are malformed.',
  UNAVAILABLE: 'Something the server needs is away: try again after `extensions.retryAfterMs`.',
  INTERNAL: "A fault of the server's: its log has the details under `extensions.requestId`.",
};

export const ErrorCodeRef = builder.enumType('ErrorCode', {
  description:
    'What went wrong. The first six are members of result unions; the others come as top-level errors, in `extensions.code`.',
  values: Object.fromEntries(
    Object.entries({ ...RESULT_CODES, ...TOP_LEVEL_CODES }).map(([code, description]) => [code, { description }]),
  ),
});

export const ErrorRef = builder.interfaceRef<ExpectedError>('Error').implement({
  description: 'What every error of a result union has.',
  fields: (t) => ({
    code: t.field({ type: ErrorCodeRef, description: 'For programs.', resolve: (error) => error.code }),
    message: t.exposeString('message', { description: 'For people: what is wrong and how to mend it.' }),
  }),
});

const FindingSeverityRef = builder.enumType('FindingSeverity', {
  description: 'How much a finding matters.',
  values: {
    ERROR: { description: 'It cannot be deployed like this.' },
    WARNING: { description: 'It can be deployed; something behaves otherwise than written.' },
    INFO: { description: 'Good to know.' },
  },
});

export const FindingRef = builder.objectRef<FindingDetail>('Finding').implement({
  description: 'A remark on a compose file.',
  fields: (t) => ({
    rule: t.exposeString('rule', { description: 'The name of the rule, stable.' }),
    severity: t.field({
      type: FindingSeverityRef,
      description: 'ERROR stops a deployment.',
      resolve: (finding) => finding.severity,
    }),
    message: t.exposeString('message', { description: 'One sentence.' }),
    path: t.exposeString('path', {
      nullable: true,
      description: 'Where in the document, like "services.web.ports[0]".',
    }),
    line: t.exposeInt('line', { nullable: true, description: 'From 1.' }),
    column: t.exposeInt('column', { nullable: true, description: 'From 1.' }),
    suggestion: t.exposeString('suggestion', { nullable: true, description: 'What to write instead.' }),
  }),
});

const FieldErrorRef = builder.objectRef<FieldProblem>('FieldError').implement({
  description: 'One wrong field of an input.',
  fields: (t) => ({
    path: t.exposeStringList('path', { description: 'Begins inside `input`: ["name"], ["variables", "0", "name"].' }),
    message: t.exposeString('message', { description: 'What to write instead.' }),
  }),
});

builder.objectType(ValidationError, {
  name: 'ValidationError',
  description: 'The input is wrong.',
  interfaces: [ErrorRef],
  fields: (t) => ({
    fields: t.field({ type: [FieldErrorRef], description: 'Every wrong field.', resolve: (error) => error.fields }),
    findings: t.field({
      type: [FindingRef],
      description: 'Every remark on the compose file, with lines, where the input has one.',
      resolve: (error) => error.findings,
    }),
  }),
});
builder.objectType(NotFoundError, {
  name: 'NotFoundError',
  description:
    "No such object. One that the caller may not see, another tenant's and a malformed ID all look like this.",
  interfaces: [ErrorRef],
});
builder.objectType(ConflictError, {
  name: 'ConflictError',
  description: 'The present state does not allow it, or a name is taken.',
  interfaces: [ErrorRef],
});
builder.objectType(QuotaExceededError, {
  name: 'QuotaExceededError',
  description: 'A limit of the organization is reached.',
  interfaces: [ErrorRef],
  fields: (t) => ({
    quota: t.exposeString('quota', { description: 'The name of the limit.' }),
    limit: t.exposeInt('limit', { description: 'How much is allowed.' }),
    used: t.exposeInt('used', { description: 'How much there is.' }),
  }),
});
builder.objectType(InvalidCredentialsError, {
  name: 'InvalidCredentialsError',
  description: 'Wrong user name, password or refresh token: which one is not told.',
  interfaces: [ErrorRef],
});
builder.objectType(RegistrationClosedError, {
  name: 'RegistrationClosedError',
  description: 'This installation takes new users by invitation.',
  interfaces: [ErrorRef],
});

export const DeletedRef = builder.objectRef<{ id: string }>('Deleted').implement({
  description: 'What was deleted.',
  fields: (t) => ({ id: t.exposeID('id', { description: 'The global ID that it had.' }) }),
});
