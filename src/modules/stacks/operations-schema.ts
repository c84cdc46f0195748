import { builder } from '../../graphql/builder.ts';
import { DeletedRef, FindingRef } from '../../graphql/error-types.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf, optionalId } from '../../shared/global-id.ts';
import { RuntimeKindRef } from '../organizations/schema.ts';
import { StackRef } from './schema.ts';
import type { StackValidation } from './service.ts';

const StackValidationRef = builder.objectRef<StackValidation>('StackValidation').implement({
  description: 'What a check of a compose file found.',
  fields: (t) => ({
    valid: t.exposeBoolean('valid', { description: 'Whether no finding is an ERROR.' }),
    score: t.exposeInt('score', { description: '0–100; 100: nothing was found.' }),
    findings: t.field({
      type: [FindingRef],
      description: 'In the order of the file.',
      resolve: ({ findings }) => findings,
    }),
  }),
});

const StackValidateInput = builder.inputType('StackValidateInput', {
  description: 'A compose file, or a stored stack, and for what it is checked.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose stack and environment.' }),
    compose: t.string({ description: 'A compose file, up to 1 MiB; this or stackId.' }),
    stackId: t.id({ description: 'A stored stack, in its current version; this or compose.' }),
    environmentId: t.id({ description: 'Whose runtime and variables are taken.' }),
    runtime: t.field({ type: RuntimeKindRef, description: "Instead of the environment's." }),
  }),
});

builder.queryField('stackValidate', (t) =>
  t.field({
    type: StackValidationRef,
    nullable: true,
    description:
      'Checks a compose file, or a stored stack, for a runtime and an environment’s variables when they are named; changes nothing.',
    errors: { types: [ValidationError, NotFoundError] },
    args: { input: t.arg({ type: StackValidateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.stacks.validate(caller, {
        organizationId: decodeIdOf('Organization', input.organizationId),
        compose: input.compose,
        stackId: optionalId('Stack', input.stackId),
        environmentId: optionalId('Environment', input.environmentId),
        runtime: input.runtime,
      }),
  }),
);

const StackCreateInput = builder.inputType('StackCreateInput', {
  description: 'A new stack.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    name: t.string({ required: true, description: '1–100 characters.' }),
    slug: t.string({
      description: '2–50 of a–z, 0–9 and "-", unique in the organization; absent: made from the name.',
    }),
    description: t.string({ description: 'Up to 2,000 characters.' }),
    compose: t.string({ required: true, description: 'A compose file, up to 1 MiB.' }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const StackUpdateInput = builder.inputType('StackUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    stackId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '1–100 characters.' }),
    description: t.string({ description: 'Up to 2,000 characters; null clears it.' }),
    compose: t.string({ description: 'A compose file, up to 1 MiB; one that differs becomes a new version.' }),
    expectedVersion: t.int({
      description: 'The version that the change is based on; another current one: ConflictError.',
    }),
  }),
});
const StackDeleteInput = builder.inputType('StackDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ stackId: t.id({ required: true, description: 'Its global ID.' }) }),
});

builder.mutationFields((t) => ({
  stackCreate: t.field({
    type: StackRef,
    nullable: true,
    description:
      'Stores a compose file under a name. For developers. What no runtime and no variable could mend is a ValidationError, with lines.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: StackCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => {
      const organizationId = decodeIdOf('Organization', input.organizationId);
      return services.stacks.create(caller, { ...input, organizationId });
    },
  }),
  stackUpdate: t.field({
    type: StackRef,
    nullable: true,
    description:
      'Changes a stack; another compose file makes another version. For developers. What runs stays as it is.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: StackUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.stacks.update(caller, { ...input, stackId: decodeIdOf('Stack', input.stackId) }),
  }),
  stackDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description:
      'Deletes a stack with its versions, deployments and logs. For developers. ConflictError: a deployment of it is not over.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: StackDeleteInput, required: true }) },
    resolve: async (_root, { input: { stackId: id } }, { services, caller }) => {
      await services.stacks.remove(caller, decodeIdOf('Stack', id));
      return { id };
    },
  }),
}));
