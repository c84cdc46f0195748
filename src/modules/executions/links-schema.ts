import { builder } from '../../graphql/builder.ts';
import { batchedField } from '../../graphql/field-batch.ts';
import { nodesById } from '../../graphql/nodes.ts';
import { encodeGlobalId } from '../../shared/global-id.ts';
import { DeploymentRef } from '../deployments/schema.ts';
import type { StepKey } from './lists.ts';
import { ExecutionRef } from './schema.ts';
import { ExecutionStepRef } from './steps-schema.ts';

builder.prismaObjectFields(DeploymentRef, (t) => ({
  execution: t.field({
    type: ExecutionRef,
    nullable: true,
    description: 'The execution of an agent or a workflow that asked for it; null: a person did, or it is gone.',
    select: { executionId: true },
    resolve: ({ executionId }, _args, context, info) => {
      if (executionId === null) return null;
      const id = encodeGlobalId('Execution', executionId);
      return batchedField(context, info, id, id, (ids: string[]) => nodesById(context, ids)) as never;
    },
  }),
}));

builder.prismaObjectFields(ExecutionStepRef, (t) => ({
  execution: t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'What a step of the kind agent or workflow began, the newest of its attempts: follow it like any other; null: nothing yet, or it is gone.',
    select: { executionId: true, key: true },
    resolve: ({ executionId, key }, _args, context, info) =>
      batchedField(context, info, `${executionId} ${key}`, { executionId, key }, (keys: StepKey[]) =>
        context.services.executions.begunBy(keys),
      ),
  }),
}));
