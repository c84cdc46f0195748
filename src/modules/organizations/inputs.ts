import { z } from 'zod';
import { descriptionText, idempotencyKey, jsonObject, type Nullish, nameText, slugText } from '../input.ts';
import { LOG_RETENTION_SETTING, logRetentionProblem } from '../log-removal.ts';
import { TOKEN_BUDGET_SETTING, tokenBudgetProblem } from '../token-budget.ts';
import { ROLES } from './access.ts';

export const MAX_SETTINGS_BYTES = 64 * 1024;
export const MAX_EMAIL_LENGTH = 254;
const RUNTIMES = ['PROCESS', 'DOCKER', 'SWARM', 'KUBERNETES'] as const;

const name = nameText(2, 100);
const settings = jsonObject(MAX_SETTINGS_BYTES).superRefine((value, context) => {
  const retention = logRetentionProblem(value);
  if (retention) context.addIssue({ code: 'custom', path: [LOG_RETENTION_SETTING], message: retention });
  const budget = tokenBudgetProblem(value);
  if (budget) context.addIssue({ code: 'custom', path: [TOKEN_BUDGET_SETTING], message: budget });
});

export const organizationCreateInput = z.object({
  name,
  slug: slugText.nullish(),
  description: descriptionText.nullish(),
  settings: settings.nullish(),
  idempotencyKey,
});

export const organizationUpdateInput = z.object({
  name: name.optional(),
  description: descriptionText.nullish(),
  settings: settings.optional(),
  isActive: z.boolean({ error: 'may not be null: leave it out to keep what it is' }).optional(),
});

export const organizationRuntimesInput = z.object({
  allowedRuntimes: z
    .array(z.enum(RUNTIMES))
    .transform((runtimes) => RUNTIMES.filter((kind) => runtimes.includes(kind))),
});

export const organizationInviteInput = z.object({
  email: z
    .string()
    .trim()
    .max(MAX_EMAIL_LENGTH, `must have at most ${MAX_EMAIL_LENGTH} characters`)
    .pipe(z.email('must be an e-mail address, like "ada@example.org"')),
  role: z.enum(ROLES).nullish(),
});

export type OrganizationCreateInput = Nullish<z.input<typeof organizationCreateInput>>;
export type OrganizationUpdateInput = Nullish<z.input<typeof organizationUpdateInput>> & {
  organizationId: string | null;
};
export type OrganizationRuntimesInput = { organizationId: string | null; allowedRuntimes: readonly string[] };
export type OrganizationInviteInput = { organizationId: string | null; email: string; role?: string | null };
