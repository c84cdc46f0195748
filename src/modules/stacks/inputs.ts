import { z } from 'zod';
import { descriptionText, idempotencyKey, type Nullish, nameText, slugText } from '../input.ts';

const name = nameText(1, 100);
/** What is wrong with it is told by the check of the compose file, with lines. */
const compose = z.string({ error: 'may not be null: leave it out to keep what it is' });

export const stackCreateInput = z.object({
  name,
  slug: slugText.nullish(),
  description: descriptionText.nullish(),
  compose,
  idempotencyKey,
});

export const stackUpdateInput = z.object({
  name: name.optional(),
  description: descriptionText.nullish(),
  compose: compose.optional(),
  expectedVersion: z.int().min(1, 'is the number of a version: 1, 2, 3 …').nullish(),
});

export type StackCreateInput = Nullish<z.input<typeof stackCreateInput>> & { organizationId: string | null };
export type StackUpdateInput = Nullish<z.input<typeof stackUpdateInput>> & { stackId: string | null };
