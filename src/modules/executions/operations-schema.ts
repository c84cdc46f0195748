import { builder } from '../../graphql/builder.ts';
import { ConflictError, NotFoundError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { ExecutionRef } from './schema.ts';

const ExecutionCancelInput = builder.inputType('ExecutionCancelInput', {
  description: 'What is cancelled.',
  fields: (t) => ({ executionId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const ExecutionRetryInput = builder.inputType('ExecutionRetryInput', {
  description: 'What is repeated.',
  fields: (t) => ({
    executionId: t.id({ required: true, description: 'An execution that is over.' }),
    fromStep: t.string({
      description: 'The key of the step to begin with; absent: the first one that did not succeed.',
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const ExecutionApproveInput = builder.inputType('ExecutionApproveInput', {
  description: 'A decision about a step that waits for one.',
  fields: (t) => ({
    executionId: t.id({ required: true, description: 'Its global ID.' }),
    step: t.string({ required: true, description: 'The key of the step.' }),
    approved: t.boolean({ required: true, description: 'Whether it may be done.' }),
    comment: t.string({ description: 'Why, up to 2,000 characters; an agent is told of it.' }),
  }),
});

builder.mutationFields((t) => ({
  executionCancel: t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'Takes an execution back: what is under way is stopped, and nothing more begins. For developers. ConflictError: it is over.',
    errors: { types: [NotFoundError, ConflictError] },
    args: { input: t.arg({ type: ExecutionCancelInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.executions.cancel(caller, decodeIdOf('Execution', input.executionId)),
  }),
  executionRetry: t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'Repeats an execution from one of its steps on, as another execution: the outputs of the steps before it are taken over. For developers.',
    errors: { types: [ValidationError, NotFoundError, ConflictError] },
    args: { input: t.arg({ type: ExecutionRetryInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.executions.retry(caller, { ...input, executionId: decodeIdOf('Execution', input.executionId) }),
  }),
  executionApprove: t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'Decides about a step that waits for an approval; each is decided about once. For the role that the step names. ConflictError: it does not wait for one.',
    errors: { types: [NotFoundError, ConflictError] },
    args: { input: t.arg({ type: ExecutionApproveInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.executions.approve(caller, { ...input, executionId: decodeIdOf('Execution', input.executionId) }),
  }),
}));
