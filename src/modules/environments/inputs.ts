import { z } from 'zod';
import { PRIVILEGES, type Privilege } from '../../compose/index.ts';
import { idempotencyKey, jsonObject, type Nullish, nameText, slugText, storedText } from '../input.ts';

export const MAX_RUNTIME_CONFIG_BYTES = 64 * 1024;
export const MAX_VALUE_BYTES = 64 * 1024;
export const MIN_SECRET_BYTES = 8;
const MAX_VARIABLE_NAME_LENGTH = 255;

const name = nameText(1, 100);
const runtimeConfig = jsonObject(MAX_RUNTIME_CONFIG_BYTES).nullish();

export const environmentCreateInput = z.object({
  name,
  slug: slugText.nullish(),
  type: z.enum(['DEVELOPMENT', 'STAGING', 'PRODUCTION']).nullish(),
  runtime: z.enum(['PROCESS', 'DOCKER', 'SWARM', 'KUBERNETES']).nullish(),
  runtimeConfig,
  idempotencyKey,
});

export const environmentUpdateInput = z.object({
  name: name.optional(),
  runtimeConfig,
  privileges: z
    .array(z.enum(Object.keys(PRIVILEGES) as Privilege[]))
    .transform((given) => [...new Set(given)].sort())
    .optional(),
});

export const variableSetInput = z.object({
  name: z
    .string()
    .max(MAX_VARIABLE_NAME_LENGTH, `must have at most ${MAX_VARIABLE_NAME_LENGTH} characters`)
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a letter or "_", then letters, digits and "_", like "DATABASE_URL"'),
  value: storedText(MAX_VALUE_BYTES),
  isSecret: z.boolean().nullish(),
});

export type EnvironmentCreateInput = Nullish<z.input<typeof environmentCreateInput>> & {
  organizationId: string | null;
};
export type EnvironmentUpdateInput = Nullish<z.input<typeof environmentUpdateInput>> & { environmentId: string | null };
export type VariableSetInput = Nullish<z.input<typeof variableSetInput>> & { environmentId: string | null };
export type VariableDeleteInput = { environmentId: string | null; name: string };
