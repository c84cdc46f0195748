import { builder } from '../../graphql/builder.ts';
import { DeletedRef } from '../../graphql/error-types.ts';
import { ConflictError, NotFoundError, QuotaExceededError, ValidationError } from '../../shared/errors.ts';
import { decodeIdOf } from '../../shared/global-id.ts';
import { ACTING_TOOLS, TOOL_NAMES } from './configuration.ts';
import { AgentRef, AgentTemplateRef } from './schema.ts';

const listed = (names: readonly string[]) => names.map((name) => `"${name}"`).join(', ');
const CONFIGURATION = `Up to 64 KiB, all of it optional: { temperature: 0–2, maxTokens: 1–1,000,000, tools: out of ${listed(TOOL_NAMES)}, withoutApproval: those of its tools ${listed(ACTING_TOOLS)} that act before a person has approved, maxTurns: 1–50 (10), timeoutSeconds: 1–86,400 (600), outputSchema: a JSON Schema (draft-07), retry: { attempts: 1–10 (3), delaySeconds: 0–3,600 (1), factor: 1–10 (2) } }.`;
const DEFINITION =
  '{ model, systemPrompt, configuration } as of agentCreate, each optional: what agents get that give nothing else. Up to 256 KiB.';
const IDEMPOTENCY_KEY = 'Up to 128 characters: the same key and input create once in 24 hours.';

const AgentTemplateCreateInput = builder.inputType('AgentTemplateCreateInput', {
  description: 'A new template.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    slug: t.string({ required: true, description: '2–50 of a–z, 0–9 and "-", unique in the organization.' }),
    name: t.string({ required: true, description: '1–100 characters.' }),
    description: t.string({ description: 'Up to 2,000 characters.' }),
    type: t.string({ required: true, description: 'What kind of agent it makes: 1–50 of a–z, 0–9 and "-".' }),
    definition: t.field({ type: 'JSON', required: true, description: DEFINITION }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});
const AgentTemplateUpdateInput = builder.inputType('AgentTemplateUpdateInput', {
  description: 'What the next version has; absent fields are as in the newest one.',
  fields: (t) => ({
    agentTemplateId: t.id({ required: true, description: 'The global ID of any of its versions.' }),
    name: t.string({ description: '1–100 characters.' }),
    description: t.string({ description: 'Up to 2,000 characters; null clears it.' }),
    definition: t.field({ type: 'JSON', description: 'In place of the former one, as a whole.' }),
  }),
});
const AgentCreateInput = builder.inputType('AgentCreateInput', {
  description: 'A new agent. What is not given is the template’s, where one is named.',
  fields: (t) => ({
    organizationId: t.id({ required: true, description: 'Whose it will be.' }),
    name: t.string({ required: true, description: '1–100 characters, unique in the organization.' }),
    description: t.string({ description: 'Up to 2,000 characters.' }),
    model: t.string({
      description:
        '1–200 characters, as its provider has it: "openai/gpt-4o"; absent: the installation’s, or "builtin/echo", which needs no provider.',
    }),
    systemPrompt: t.string({ description: 'What the model is told before anything else; up to 64 KiB of UTF-8.' }),
    configuration: t.field({ type: 'JSON', description: CONFIGURATION }),
    credential: t.string({
      description: 'A key for the provider, never readable again: 1–4,096 characters; absent: the installation’s.',
    }),
    templateSlug: t.string({ description: 'The template that it is made from, in its newest version.' }),
    idempotencyKey: t.string({ description: IDEMPOTENCY_KEY }),
  }),
});
const AgentUpdateInput = builder.inputType('AgentUpdateInput', {
  description: 'What changes; absent fields stay.',
  fields: (t) => ({
    agentId: t.id({ required: true, description: 'Its global ID.' }),
    name: t.string({ description: '1–100 characters, unique in the organization.' }),
    description: t.string({ description: 'Up to 2,000 characters; null clears it.' }),
    model: t.string({ description: '1–200 characters, as its provider has it.' }),
    systemPrompt: t.string({ description: 'Up to 64 KiB of UTF-8; null clears it.' }),
    configuration: t.field({ type: 'JSON', description: 'In place of the former one, as a whole.' }),
    credential: t.string({ description: 'A key for the provider: 1–4,096 characters; null clears it.' }),
  }),
});
const AgentDeleteInput = builder.inputType('AgentDeleteInput', {
  description: 'What is deleted.',
  fields: (t) => ({ agentId: t.id({ required: true, description: 'Its global ID.' }) }),
});

const organizationIdOf = (globalId: string) => decodeIdOf('Organization', globalId);
const agentIdOf = (globalId: string) => decodeIdOf('Agent', globalId);

builder.mutationFields((t) => ({
  agentTemplateCreate: t.field({
    type: AgentTemplateRef,
    nullable: true,
    description:
      'Stores a template for agents under a slug, 500 at most. For developers. ConflictError: the slug is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: AgentTemplateCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.agents.createTemplate(caller, {
        ...input,
        organizationId: organizationIdOf(input.organizationId),
        definition: input.definition,
      }),
  }),
  agentTemplateUpdate: t.field({
    type: AgentTemplateRef,
    nullable: true,
    description:
      'Adds a version to a template and answers with it; where nothing differs, with the newest one. For developers. Agents that were made before stay as they are.',
    errors: { types: [ValidationError, NotFoundError] },
    args: { input: t.arg({ type: AgentTemplateUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) => {
      const agentTemplateId = decodeIdOf('AgentTemplate', input.agentTemplateId);
      return services.agents.updateTemplate(caller, { ...input, agentTemplateId });
    },
  }),
  agentCreate: t.field({
    type: AgentRef,
    nullable: true,
    description: 'Makes an agent, one of 1,000 at most. For developers. ConflictError: the name is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError, QuotaExceededError] },
    args: { input: t.arg({ type: AgentCreateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.agents.create(caller, { ...input, organizationId: organizationIdOf(input.organizationId) }),
  }),
  agentUpdate: t.field({
    type: AgentRef,
    nullable: true,
    description: 'Changes an agent; what runs stays as it began. For developers. ConflictError: the name is taken.',
    errors: { types: [ValidationError, ConflictError, NotFoundError] },
    args: { input: t.arg({ type: AgentUpdateInput, required: true }) },
    resolve: (_root, { input }, { services, caller }) =>
      services.agents.update(caller, { ...input, agentId: agentIdOf(input.agentId) }),
  }),
  agentDelete: t.field({
    type: DeletedRef,
    nullable: true,
    description: 'Deletes an agent; its executions stay. For developers. ConflictError: one of them is not over.',
    errors: { types: [ConflictError, NotFoundError] },
    args: { input: t.arg({ type: AgentDeleteInput, required: true }) },
    resolve: async (_root, { input: { agentId: id } }, { services, caller }) => {
      await services.agents.remove(caller, agentIdOf(id));
      return { id };
    },
  }),
}));
