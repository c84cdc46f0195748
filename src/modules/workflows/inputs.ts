import { z } from 'zod';
import type { FieldProblem } from '../../shared/errors.ts';
import { ValidationError } from '../../shared/errors.ts';
import { idempotencyKey, isStorableJson, type Nullish, nameText } from '../input.ts';
import { checkDefinition, isOfType, scheduleProblem } from './check.ts';
import type { WorkflowDefinition } from './definition.ts';

export const MAX_RUN_INPUT_BYTES = 256 * 1024;

const name = nameText(1, 100);
const schedule = z.string().superRefine((text, context) => {
  const problem = scheduleProblem(text);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});
/** Its faults are found by the check of definitions. */
const definition = z.unknown().optional();

export const workflowCreateInput = z.object({ name, definition, schedule: schedule.nullish(), idempotencyKey });
export const workflowUpdateInput = z.object({
  name: name.optional(),
  definition,
  schedule: schedule.nullish(),
});
export const workflowRunInput = z.object({ input: z.unknown().optional(), idempotencyKey });

export type WorkflowCreateInput = Nullish<z.input<typeof workflowCreateInput>> & { organizationId: string | null };
export type WorkflowUpdateInput = Nullish<z.input<typeof workflowUpdateInput>> & { workflowId: string | null };
export type WorkflowRunInput = Nullish<z.input<typeof workflowRunInput>> & { workflowId: string | null };

/** @throws {ValidationError} with every fault, at its place in "definition" */
export function requireDefinition(given: unknown): WorkflowDefinition {
  const { definition: checked, faults } = checkDefinition(given);
  if (checked && isStorableJson(JSON.stringify(checked))) return checked;
  const found: FieldProblem[] = checked
    ? [{ path: [], message: 'has a NUL character or broken Unicode: take it out' }]
    : faults;
  const fields = found.map(({ path, message }) => ({ path: ['definition', ...path], message }));
  throw new ValidationError(`the definition has ${fields.length === 1 ? 'a fault' : `${fields.length} faults`}`, {
    fields,
  });
}

/** What a run is given, with the defaults of what is not. @throws {ValidationError} with every fault, at its place in "input" */
export function requireInputs({ inputs }: Pick<WorkflowDefinition, 'inputs'>, given: unknown): Record<string, unknown> {
  const fields: FieldProblem[] = [];
  const fault = (path: string[], message: string) => fields.push({ path: ['input', ...path], message });
  const values = given ?? {};
  const text = JSON.stringify(values);
  if (typeof values !== 'object' || Array.isArray(values)) fault([], 'must be a JSON object, like {}');
  else if (Buffer.byteLength(text) > MAX_RUN_INPUT_BYTES)
    fault([], `is longer than ${MAX_RUN_INPUT_BYTES.toLocaleString('en')} bytes as JSON text`);
  else if (!isStorableJson(text)) fault([], 'has a NUL character or broken Unicode: take it out');
  else
    for (const each of Object.keys(values))
      if (!Object.hasOwn(inputs, each)) fault([each], 'the workflow has no such input');
  if (fields.length === 0) {
    for (const [each, { type, default: otherwise }] of Object.entries(inputs)) {
      const value = (values as Record<string, unknown>)[each];
      if (value === undefined && otherwise === undefined) fault([each], `has to be given: ${type}`);
      else if (value !== undefined && !isOfType(value, type)) fault([each], `must be of the type ${type}`);
    }
  }
  if (fields.length > 0) throw new ValidationError('the input is not what the workflow takes', { fields });
  const defaults = Object.entries(inputs).flatMap(([each, { default: value }]) =>
    value === undefined ? [] : [[each, value] as const],
  );
  return { ...Object.fromEntries(defaults), ...(values as Record<string, unknown>) };
}
