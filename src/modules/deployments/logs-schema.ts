import { builder } from '../../graphql/builder.ts';
import { connectionFor, pageArgs, pageComplexity } from '../../graphql/pagination.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { encodeLogCursor } from '../../realtime/cursor.ts';
import type { LogFilter } from '../../realtime/log-filter.ts';
import { LOG_LEVELS, LOG_STREAMS, type LogLine } from '../../realtime/log-line.ts';
import { BadRequestError } from '../../shared/errors.ts';
import { parsePage } from '../../shared/pagination.ts';
import { DeploymentRef } from './schema.ts';

export const MAX_SEARCH_LENGTH = 500;
export const MAX_SERVICES_IN_FILTER = 100;

const LogStreamRef = builder.enumType('LogStream', {
  description: 'Where a line comes from.',
  values: {
    STDOUT: { value: LOG_STREAMS[0], description: 'Standard output.' },
    STDERR: { value: LOG_STREAMS[1], description: 'Standard error.' },
    SYSTEM: { value: LOG_STREAMS[2], description: 'What the control plane itself reports.' },
  },
});
const LogLevelRef = builder.enumType('LogLevel', {
  description: 'As the line itself says, else INFO for STDOUT and WARN for STDERR.',
  values: {
    DEBUG: { value: LOG_LEVELS[0] },
    INFO: { value: LOG_LEVELS[1] },
    WARN: { value: LOG_LEVELS[2] },
    ERROR: { value: LOG_LEVELS[3] },
  },
});

export const LogLineRef = builder.objectRef<LogLine>('LogLine').implement({
  description: 'A line of a deployment’s log.',
  fields: (t) => ({
    sequence: t.field({
      ...viewerIndependent,
      type: 'SafeInt',
      description:
        '1, 2, 3 … within the deployment, without gaps from the first retained line; it, not the timestamp, is the order.',
      resolve: ({ sequence }) => sequence,
    }),
    cursor: t.string({
      ...viewerIndependent,
      description: 'The position after this line.',
      resolve: ({ deploymentId, sequence }) => encodeLogCursor(deploymentId, sequence),
    }),
    timestamp: t.expose('timestamp', {
      ...viewerIndependent,
      type: 'DateTime',
      description: 'When the runtime took it.',
    }),
    service: t.exposeString('service', {
      ...viewerIndependent,
      nullable: true,
      description: 'Whose it is; null: the whole deployment.',
    }),
    replica: t.exposeInt('replica', { ...viewerIndependent, nullable: true, description: 'Which replica wrote it.' }),
    stream: t.expose('stream', { ...viewerIndependent, type: LogStreamRef, description: 'Where it comes from.' }),
    level: t.expose('level', { ...viewerIndependent, type: LogLevelRef, description: 'How grave it is.' }),
    message: t.exposeString('message', {
      ...viewerIndependent,
      description:
        'Without its newline; valid UTF-8, NUL and invalid bytes as U+FFFD; at most 16 KiB. Secrets are ***.',
    }),
    isPartial: t.exposeBoolean('isPartial', {
      ...viewerIndependent,
      description: 'The next line of the same service, replica and stream continues this one.',
    }),
  }),
});

export const LogFilterInput = builder.inputType('LogFilter', {
  description: 'Which lines; what is absent does not narrow.',
  fields: (t) => ({
    services: t.stringList({ description: `Of these services, ${MAX_SERVICES_IN_FILTER} at most.` }),
    streams: t.field({ type: [LogStreamRef], description: 'From these streams.' }),
    minLevel: t.field({ type: LogLevelRef, description: 'Of this level and graver.' }),
    search: t.string({
      description: `With this literal text in it, without regard to case; up to ${MAX_SEARCH_LENGTH} characters.`,
    }),
    since: t.field({ type: 'DateTime', description: 'Not earlier, by the line’s timestamp.' }),
    until: t.field({ type: 'DateTime', description: 'Not later, by the line’s timestamp.' }),
  }),
});

/** Checks the bounds of a filter; throws a BadRequestError. */
export function logFilterOf(input: typeof LogFilterInput.$inferInput | null | undefined): LogFilter {
  const { search, services } = input ?? {};
  if (search && search.length > MAX_SEARCH_LENGTH)
    throw new BadRequestError(`"search" must have at most ${MAX_SEARCH_LENGTH} characters`);
  if (services && services.length > MAX_SERVICES_IN_FILTER)
    throw new BadRequestError(`"services" must have at most ${MAX_SERVICES_IN_FILTER} entries`);
  return input ?? {};
}

builder.objectField(DeploymentRef, 'logs', (t) =>
  t.field({
    type: connectionFor<LogLine>(LogLineRef, { totalCount: false }),
    nullable: true,
    description: 'Its log, the oldest lines first. Its cursors and those of deploymentLogs are the same.',
    args: { filter: t.arg({ type: LogFilterInput, description: 'Which lines.' }), ...pageArgs() },
    complexity: pageComplexity,
    resolve: ({ id }, { filter, ...args }, { services }) =>
      services.deployments.logPage(id, parsePage(args), logFilterOf(filter)),
  }),
);
