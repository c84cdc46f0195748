import { z } from 'zod';
import type { FieldProblem } from '../../shared/errors.ts';
import { ValidationError } from '../../shared/errors.ts';
import { idempotencyKey, isStorableJson, type Nullish, nameText } from '../input.ts';
import { checkDefinition, scheduleProblem } from './check.ts';
import { inputFaults, type WorkflowDefinition } from './definition.ts';

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

/** A run of the workflow's own schedule is given nothing. @throws {ValidationError} where it could not begin; `path`: what is told of */
export function requireScheduled({ inputs }: Pick<WorkflowDefinition, 'inputs'>, path: string[]): void {
  const missing = inputFaults(inputs, {}).map(({ path: [each] }) => JSON.stringify(each));
  if (missing.length === 0) return;
  const message = `the workflow's own schedule gives a run no input, and it has to be given ${missing.join(', ')}: set defaults, or take a trigger of the definition, which has an input`;
  throw ValidationError.field(path, message);
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
  else for (const { path, message } of inputFaults(inputs, values as Record<string, unknown>)) fault(path, message);
  if (fields.length > 0) throw new ValidationError('the input is not what the workflow takes', { fields });
  const defaults = Object.entries(inputs).flatMap(([each, { default: value }]) =>
    value === undefined ? [] : [[each, value] as const],
  );
  return { ...Object.fromEntries(defaults), ...(values as Record<string, unknown>) };
}
