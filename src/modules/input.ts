import { z } from 'zod';
import { BadRequestError } from '../shared/errors.ts';

export const MAX_DESCRIPTION_LENGTH = 2_000;
export const MAX_SLUG_LENGTH = 50;
export const MAX_IDEMPOTENCY_KEY_LENGTH = 128;
export const MAX_SEARCH_LENGTH = 200;
const MAX_JSON_DEPTH = 32;
const NOT_NULL = 'may not be null: leave it out to keep what it is';
const UNSTORABLE = 'has a NUL character or broken Unicode: take it out';

/** What GraphQL hands over: each optional field may be null too. */
export type Nullish<Input> = {
  [Field in keyof Input]: undefined extends Input[Field] ? Input[Field] | null : Input[Field];
};

/** Whether PostgreSQL can store the text as it is: no NUL, no half of a surrogate pair. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

const storable = z.string({ error: NOT_NULL }).refine(isStorable, { error: UNSTORABLE, abort: true });

/** One line that a person reads, trimmed; lengths count characters. */
export function nameText(minimum: number, maximum: number) {
  return storable
    .transform((text) => text.trim())
    .refine((text) => !/\p{Cc}/u.test(text), 'has a control character: a name is one line of text')
    .refine((text) => inRange([...text].length, minimum, maximum), `must have ${minimum} to ${maximum} characters`);
}

export const descriptionText = storable.refine(
  (text) => [...text].length <= MAX_DESCRIPTION_LENGTH,
  `must have at most ${MAX_DESCRIPTION_LENGTH} characters`,
);

export const slugText = z
  .string({ error: NOT_NULL })
  .regex(/^[a-z0-9-]{2,50}$/, 'must have 2 to 50 characters out of a–z, 0–9 and "-", like "my-project"');

/** A text of any kind, up to a number of bytes of UTF-8. */
export function storedText(maxBytes: number) {
  return storable.refine(
    (text) => Buffer.byteLength(text) <= maxBytes,
    `is longer than ${maxBytes.toLocaleString('en')} bytes of UTF-8`,
  );
}

export const idempotencyKey = storable
  .refine(
    (text) => inRange(text.length, 1, MAX_IDEMPOTENCY_KEY_LENGTH),
    `must have 1 to ${MAX_IDEMPOTENCY_KEY_LENGTH} characters`,
  )
  .nullish();

/** A JSON object, up to a number of bytes as text. */
export function jsonObject(maxBytes: number) {
  return z
    .unknown()
    .superRefine((value, context) => {
      const problem = jsonProblem(value, maxBytes);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    })
    .transform((value) => value as Record<string, unknown>);
}

/**
 * A search as a pattern of SQL's `like`; undefined without one, null where nothing can contain it. Throws a BadRequestError where it is
 * too long.
 */
export function searchPattern(search: string | null | undefined): string | null | undefined {
  if (!search) return undefined;
  if (search.length > MAX_SEARCH_LENGTH) {
    throw new BadRequestError(`"search" must have at most ${MAX_SEARCH_LENGTH} characters`);
  }
  return isStorable(search) ? search.replace(/[\\%_]/g, '\\$&') : null;
}

function jsonProblem(value: unknown, maxBytes: number): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'must be a JSON object, like {}';
  if (depthExceeds(value, MAX_JSON_DEPTH)) return `is nested deeper than ${MAX_JSON_DEPTH} levels`;
  const text = JSON.stringify(value);
  if (Buffer.byteLength(text) > maxBytes) return `is longer than ${maxBytes.toLocaleString('en')} bytes as JSON text`;
  return isStorableJson(text) ? null : UNSTORABLE;
}

/** Whether PostgreSQL's jsonb takes what JSON.stringify wrote: it escapes NUL and lone surrogates, which jsonb refuses. */
export function isStorableJson(text: string): boolean {
  return !/(?<!\\)(\\\\)*\\u(0000|d[89a-f])/.test(text);
}

function depthExceeds(value: unknown, limit: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limit) return true;
    level = level.flatMap((entry) => (typeof entry === 'object' && entry !== null ? Object.values(entry) : []));
  }
  return false;
}

function inRange(value: number, minimum: number, maximum: number): boolean {
  return value >= minimum && value <= maximum;
}

/** The fields that an update gives: absent ones stay. */
export function givenFields(values: object): string[] {
  return Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [name]));
}
