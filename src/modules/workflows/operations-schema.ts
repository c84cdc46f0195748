import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { ExecutionRef } from '../executions/schema.ts';
import { WorkflowRef } from './schema.ts';
import type { WebhookSecret } from './webhooks.ts';

const DEFINITION = 'What it does, up to 256 KiB: an object as /schemas/workflow.json says, or a text of YAML with one.';
const SCHEDULE = 'When it begins by itself: five fields of cron, in UTC, like "30 3 * * 1-5"';

const WorkflowCreateInput = builder.inputType('WorkflowCreateInput', {
  description: 'A new workflow.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    name: t.string({ required: true, description: '1–100 characters, unique in the organization.' }),
    definition: t.field({ type: 'JSON', required: true, description: DEFINITION }),
    schedule: t.string({ description: `${SCHEDULE}.` }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});
const WorkflowUpdateInput = builder.inputType('WorkflowUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    workflowId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '1–100 characters.' }),
    definition: t.field({ type: 'JSON', description: `${DEFINITION} One that differs becomes a new version.` }),
    schedule: t.string({ description: `${SCHEDULE}; null: not any more.` }),
  }),
});
const WorkflowDeleteInput = builder.inputType('WorkflowDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ workflowId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const WorkflowRunInput = builder.inputType('WorkflowRunInput', {
  description: 'What runs.',
  fields: (t) => ({
    workflowId: t.id({ required: true, description: 'Its global ID.' }),
    input: t.field({ type: 'JSON', description: 'What it is given, by the names of its inputs; up to 256 KiB.' }),
    idempotencyKey: t.string({ description: 'Up to 128 characters: the same key and input create once in 24 hours.' }),
  }),
});

const WorkflowWebhookSecretRotateInput = builder.inputType('WorkflowWebhookSecretRotateInput', {
  description: 'Whose secret is made anew.',
  fields: (t) => ({ workflowId: t.id({ required: true, description: 'Its global ID.' }) }),
});
const WorkflowWebhookSecretRef = builder.objectRef<WebhookSecret>('WorkflowWebhookSecret').implement({
  description: 'What requests that begin runs of a workflow are signed with.',
  fields: (t) => ({
    workflow: t.field({ type: WorkflowRef, description: 'The workflow.', resolve: ({ workflow }) => workflow }),
    secret: t.exposeString('secret', { description: '"whsec_" and 32 bytes in base64: shown this once.' }),
  }),
});

builder.mutationFields((t) => ({
  workflowWebhookSecretRotate: t.field({
    type: WorkflowWebhookSecretRef,
    nullable: true,
    description:
      'Makes a new secret for requests that begin runs of a workflow, signed as https://www.standardwebhooks.com says; the former one is not taken any more. For developers. ConflictError: its definition has no trigger of the kind webhook.',
    errors: { types: [NotFoundError, ConflictError] },
    args: { input: t.arg({ type: WorkflowWebhookSecretRotateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.workflows.rotateSecret(caller, decodeIdOf('Workflow', input.workflowId)),
  }),
  workflowCreate: t.field({
    type: WorkflowRef,
    nullable: true,
    description:
      'Stores a workflow. For developers. ValidationError: every fault of the definition, with its path. Its steps have no more rights than whoever made its current version, and whoever begins a run.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: WorkflowCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => {
      const organizationId = decodeIdOf('Organization', input.organizationId);
      return services.workflows.create(caller, { ...input, organizationId });
    },
  }),
  workflowUpdate: t.field({
    type: WorkflowRef,
    nullable: true,
    description: 'Changes a workflow; what runs goes on as it began. For developers.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: WorkflowUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.workflows.update(caller, { ...input, workflowId: decodeIdOf('Workflow', input.workflowId) }),
  }),
  workflowDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description:
      'Deletes a workflow with its versions; its executions stay. For developers. ConflictError: one of them is not over.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: WorkflowDeleteInput, required: true }) },
    resolve: async (_root, { input: { workflowId: id } }, { services, caller }) => {
      await services.workflows.remove(caller, decodeIdOf('Workflow', id));
      return { id };
    },
  }),
  workflowRun: t.field({
    type: ExecutionRef,
    nullable: true,
    description:
      'Begins a run of a workflow: follow it with executionStatus. For developers. ConflictError: its concurrency policy leaves it out.',
    errors: { types: [ValidationError, NotFoundError, ConflictError, QuotaExceededError] },
    args: { input: t.arg({ type: WorkflowRunInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.workflows.run(caller, { ...input, workflowId: decodeIdOf('Workflow', input.workflowId) }),
  }),
}));
