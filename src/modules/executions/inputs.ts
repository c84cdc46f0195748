import { z } from 'zod';
import { descriptionText, idempotencyKey, type Nullish } from '../input.ts';

const step = z.string().min(1, 'names a step').max(200, 'is longer than the name of any step');

export const executionApproveInput = z.object({ step, approved: z.boolean(), comment: descriptionText.nullish() });
export const executionRetryInput = z.object({ fromStep: step.nullish(), idempotencyKey });

export type ExecutionApproveInput = Nullish<z.input<typeof executionApproveInput>> & { executionId: string | null };
export type ExecutionRetryInput = Nullish<z.input<typeof executionRetryInput>> & { executionId: string | null };
