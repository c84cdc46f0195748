import { z } from 'zod';
import { descriptionText, idempotencyKey, jsonObject, type Nullish, nameText, slugText, storedText } from '../input.ts';
import { agentConfiguration } from './configuration.ts';

export const MAX_CONFIGURATION_BYTES = 64 * 1024;
export const MAX_SYSTEM_PROMPT_BYTES = 64 * 1024;
export const MAX_DEFINITION_BYTES = 256 * 1024;
/** Of what an execution is given. */
const MAX_RUN_INPUT_BYTES = 256 * 1024;

const name = nameText(1, 100);
const model = nameText(1, 200);
const systemPrompt = storedText(MAX_SYSTEM_PROMPT_BYTES);
const configuration = jsonObject(MAX_CONFIGURATION_BYTES).pipe(agentConfiguration);
/** As it can stand in an HTTP header. */
const credential = z
  .string()
  .regex(/^[\x20-\x7e]{1,4096}$/, 'must have 1 to 4,096 printable ASCII characters, as the provider gave it');

export const agentCreateInput = z.object({
  name,
  description: descriptionText.nullish(),
  model: model.nullish(),
  systemPrompt: systemPrompt.nullish(),
  configuration: configuration.nullish(),
  credential: credential.nullish(),
  templateSlug: slugText.nullish(),
  idempotencyKey,
});

export const agentUpdateInput = z.object({
  name: name.optional(),
  description: descriptionText.nullish(),
  model: model.optional(),
  systemPrompt: systemPrompt.nullish(),
  configuration: configuration.optional(),
  credential: credential.nullish(),
});

export const agentExecuteInput = z.object({
  input: storedText(MAX_RUN_INPUT_BYTES).refine((text) => text.trim() !== '', 'is empty: say what the agent is to do'),
  idempotencyKey,
});

/** What a template gives the agents that are made from it. */
export const agentDefinition = z.strictObject({
  model: model.optional(),
  systemPrompt: systemPrompt.optional(),
  configuration: configuration.optional(),
});
/** Stays as it was given: defaults are those of the time at which an agent is made. */
const definition = jsonObject(MAX_DEFINITION_BYTES).superRefine((given, context) => {
  const { error } = agentDefinition.safeParse(given);
  for (const { path, message } of error?.issues ?? []) context.addIssue({ code: 'custom', path, message });
});

export const agentTemplateCreateInput = z.object({
  slug: slugText,
  name,
  description: descriptionText.nullish(),
  type: z.string().regex(/^[a-z0-9-]{1,50}$/, 'must have 1 to 50 characters out of a–z, 0–9 and "-", like "reviewer"'),
  definition,
  idempotencyKey,
});

export const agentTemplateUpdateInput = z.object({
  name: name.optional(),
  description: descriptionText.nullish(),
  definition: definition.optional(),
});

export type AgentCreateInput = Nullish<z.input<typeof agentCreateInput>> & { organizationId: string | null };
export type AgentUpdateInput = Nullish<z.input<typeof agentUpdateInput>> & { agentId: string | null };
export type AgentExecuteInput = Nullish<z.input<typeof agentExecuteInput>> & {
  agentId: string | null;
  /** Absent: a conversation of its own; null: an id that cannot be one. */
  continueFrom?: string | null;
};
export type AgentTemplateCreateInput = Nullish<z.input<typeof agentTemplateCreateInput>> & {
  organizationId: string | null;
};
export type AgentTemplateUpdateInput = Nullish<z.input<typeof agentTemplateUpdateInput>> & {
  agentTemplateId: string | null;
};
