import type { z } from 'zod';
import { type FieldProblem, ValidationError } from './errors.ts';

type Issue = {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
};

/** A ValidationError from the issues of zod, or of any Standard Schema; paths begin inside `input`. */
export function validationErrorFrom(issues: readonly Issue[]): ValidationError {
  const fields = issues.map(
    (issue): FieldProblem => ({
      path: (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)),
      message: issue.message,
    }),
  );
  return new ValidationError(fields.map(sentence).join('; '), { fields });
}

/** The checked value, or a ValidationError that names every wrong field. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input);
  if (!result.success) throw validationErrorFrom(result.error.issues);
  return result.data;
}

function sentence({ path, message }: FieldProblem): string {
  return path.length > 0 ? `${path.join('.')}: ${message}` : message;
}
