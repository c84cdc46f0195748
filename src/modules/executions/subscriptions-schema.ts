import { builder } from '../../graphql/builder.ts';
import { viewerIndependent } from '../../graphql/viewer-independence.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import type { RevisionNews } from '../revision-feed.ts';
import type { OutputBatch, OutputChunk } from './output-feed.ts';
import { ExecutionRef } from './schema.ts';

const ExecutionOutputChunk = builder.objectRef<OutputChunk>('ExecutionOutputChunk').implement({
  description: 'A piece of what an execution writes.',
  fields: (t) => ({
    sequence: t.field({
      ...viewerIndependent,
      type: 'SafeInt',
      description: '1, 2, 3 … within the execution, without gaps.',
      resolve: ({ sequence }) => sequence,
    }),
    step: t.exposeString('step', {
      ...viewerIndependent,
      nullable: true,
      description: 'The key of the step that wrote it.',
    }),
    attempt: t.exposeInt('attempt', {
      ...viewerIndependent,
      description: 'Which attempt at that step: what an earlier one wrote does not count once a later one writes.',
    }),
    text: t.exposeString('text', {
      ...viewerIndependent,
      description: 'Up to 16,384 characters; pieces follow each other as they are.',
    }),
  }),
});

const ExecutionOutputBatch = builder.objectRef<OutputBatch>('ExecutionOutputBatch').implement({
  description: 'A piece of an execution’s output, in order.',
  fields: (t) => ({
    chunks: t.field({
      ...viewerIndependent,
      type: [ExecutionOutputChunk],
      description: '0–500 chunks. None: live begins.',
      complexity: { field: 1, multiplier: 1 },
      resolve: ({ chunks }) => chunks,
    }),
    endCursor: t.exposeString('endCursor', { ...viewerIndependent, description: 'Where to go on with `after`.' }),
    live: t.exposeBoolean('live', {
      ...viewerIndependent,
      description: 'False while what was stored before is replayed.',
    }),
  }),
});

builder.subscriptionFields((t) => ({
  executionStatus: t.prismaField({
    ...viewerIndependent,
    type: ExecutionRef,
    description:
      'The execution now, then its newest state whenever it changed: at most 10 a second, states between may be skipped, `revision` never falls, the last state always comes. Completes when final.',
    args: { executionId: t.arg.id({ required: true, description: 'Which.' }) },
    subscribe: (_root, args, { services, caller, lifetime }) =>
      services.executions.follow(caller, decodeIdOf('Execution', args.executionId), lifetime.signal) as never,
    resolve: (query, changed: unknown, _args, { services }) =>
      services.executions.readNews(changed as RevisionNews, query),
  }),
  executionOutput: t.field({
    ...viewerIndependent,
    type: ExecutionOutputBatch,
    description:
      'What an execution writes, as it is written: from the start or after `after`, then live, in at most 30 batches a second. Completes when the execution has ended and all is sent.',
    args: {
      executionId: t.arg.id({ required: true, description: 'Whose output.' }),
      after: t.arg.string({ description: 'Only what comes after this cursor.' }),
    },
    subscribe: (_root, { executionId, after }, { services, caller, lifetime }) => {
      const request = { executionId: decodeIdOf('Execution', executionId), after };
      return services.executions.followOutput(caller, request, lifetime.signal) as never;
    },
    resolve: (batch: unknown) => batch as OutputBatch,
  }),
}));
