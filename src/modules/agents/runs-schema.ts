import { builder } from '../../graphql/builder.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf, optionalId } from '../../shared/global-id.ts';
import { addExecutions, ExecutionRef } from '../executions/schema.ts';
import { AgentRef } from './schema.ts';

builder.prismaObjectField(ExecutionRef, 'agent', (t) =>
  t.relation('agent', { nullable: true, description: 'The agent; null where it was deleted, or it is no agent’s.' }),
);

addExecutions(AgentRef, 'agent');

const AgentExecuteInput = builder.inputType('AgentExecuteInput', {
  description: 'A question to an agent.',
  fields: (t) => ({
    agentId: t.id({ required: true, description: 'The agent.' }),
    input: t.string({ required: true, description: 'What it is told, up to 256 KiB of UTF-8.' }),
    continueFrom: t.id({
      description: 'A completed execution of the same agent: it knows what was said there, up to 50 executions back.',
    }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});

builder.mutationField('agentExecute', (t) =>
  t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'Begins an execution of an agent, as it is now: follow it with executionStatus and executionOutput. For developers. QuotaExceededError: the organization has used up its monthlyTokenBudget.',
    errors: { types: [ValidationError, NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: AgentExecuteInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.agentRuns.execute(caller, {
        ...input,
        agentId: decodeIdOf('Agent', input.agentId),
        continueFrom: optionalId('Execution', input.continueFrom),
      }),
  }),
);
