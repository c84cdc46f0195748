import { builder } from '../../graphql/builder.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { BadRequestError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import type { RevisionNews } from '../revision-feed.ts';
import type { DeploymentLogBatch as Batch } from './logs.ts';
import { LogFilterInput, LogLineRef, logFilterOf } from './logs-schema.ts';
import { DeploymentRef } from './schema.ts';

/** How many lines `last` may ask for. */
export const MAX_LAST = 10_000;

const DeploymentLogBatch = builder.objectRef<Batch>('DeploymentLogBatch').implement({
  description: 'A piece of a deployment’s log, in order.',
  fields: (t) => ({
    lines: t.field({
      ...viewerIndependent,
      type: [LogLineRef],
      description:
        '0–500 lines, at most 128 KiB of JSON (one longer line comes alone). None: the cursor moved past filtered lines, or live begins.',
      complexity: { field: 1, multiplier: 1 },
      resolve: ({ lines }) => lines,
    }),
    endCursor: t.exposeString('endCursor', { ...viewerIndependent, description: 'Where to go on with `after`.' }),
    live: t.exposeBoolean('live', {
      ...viewerIndependent,
      description: 'False while what was stored before is replayed.',
    }),
    missedLines: t.field({
      ...viewerIndependent,
      type: 'SafeInt',
      description: 'Lines that retention or a limit took just before this batch; 0 otherwise.',
      resolve: ({ missedLines }) => missedLines,
    }),
  }),
});

builder.subscriptionFields((t) => ({
  deploymentLogs: t.field({
    ...viewerIndependent,
    type: DeploymentLogBatch,
    description:
      'Every line of a deployment: from the first, after `after`, or the `last` n matching ones, then live. Completes when the status is final and all is sent, or after `until`; a live deployment’s stays open. A reader slower than the log is fed from storage at its own pace.',
    args: {
      deploymentId: t.arg.id({ required: true, description: 'Whose log.' }),
      after: t.arg.string({ description: 'Only what comes after this cursor.' }),
      last: t.arg.int({
        description: `Only the newest so many matching lines, 0–${MAX_LAST}, then live; not together with \`after\`.`,
      }),
      filter: t.arg({ type: LogFilterInput, description: 'Which lines.' }),
    },
    subscribe: (_root, args, { services, caller, lifetime }) => {
      const { last, after } = args;
      if (last != null && after != null)
        throw new BadRequestError('"after" and "last" contradict each other: give one of them');
      if (last != null && (last < 0 || last > MAX_LAST))
        throw new BadRequestError(`"last" must be between 0 and ${MAX_LAST}`);
      const deploymentId = decodeIdOf('Deployment', args.deploymentId);
      const request = { deploymentId, after, last, filter: logFilterOf(args.filter) };
      return services.deployments.followLog(caller, request, lifetime.signal) as never;
    },
    resolve: (batch: unknown) => batch as Batch,
  }),
  deploymentStatus: t.prismaField({
    ...viewerIndependent,
    type: DeploymentRef,
    description:
      'The deployment now, then its newest state whenever it changed: at most 10 a second, states between may be skipped, `revision` never falls, the last state always comes. Completes when final.',
    args: { deploymentId: t.arg.id({ required: true, description: 'Which.' }) },
    subscribe: (_root, args, { services, caller, lifetime }) =>
      services.deployments.follow(caller, decodeIdOf('Deployment', args.deploymentId), lifetime.signal) as never,
    resolve: (query, changed: unknown, _args, { services }) =>
      services.deployments.readNews(changed as RevisionNews, query),
  }),
}));
