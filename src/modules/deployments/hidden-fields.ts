import { type FieldChange, splitWords, WordsError } from '../../compose/index.ts';
import { createMasker, type Masker } from '../../realtime/masking.ts';
import type { ServiceChange } from './plan.ts';

const SECRET = '(secret)';
const CHANGED_SECRET = '(secret, changed)';
/** Of one side of a field, in characters: what is longer is cut. */
export const MAX_SHOWN_LENGTH = 2_000;
/** Of all fields of a plan together; what goes beyond it is counted only. */
export const MAX_SHOWN_TOTAL = 1024 * 1024;
/** What is looked at of one side of a field: longer than any secret. */
const MAX_SEARCHED_LENGTH = 256 * 1024;
/** A word of a command that is shorter is hidden only where it stands alone. */
const MIN_PART_LENGTH = 3;

type Hidden = { values: string[]; maskers: Masker[]; longest: number };

/**
 * Takes secrets out of what a plan shows, and cuts what is too long. `secrets`: the values of each release that runs, and those of today;
 * sets of their own, since each of them alone may be as large as can be masked.
 */
export function hideSecrets(
  changes: readonly ServiceChange[],
  secrets: readonly (readonly string[])[],
): ServiceChange[] {
  const values = [...new Set(secrets.flat())].filter(Boolean).sort((a, b) => b.length - a.length);
  const hidden = { values, maskers: secrets.map(createMasker), longest: values[0]?.length ?? 0 };
  let left = MAX_SHOWN_TOTAL;
  return changes.map(({ fields, ...change }) => {
    const shown: FieldChange[] = [];
    for (const field of fields) {
      if (left <= 0) break;
      const hiddenField = hideField(field, hidden);
      left -= lengthOf(hiddenField);
      shown.push(hiddenField);
    }
    const more = fields.length - shown.length;
    if (more > 0) shown.push({ path: '…', before: null, after: `${more.toLocaleString('en')} more fields` });
    return { ...change, fields: shown };
  });
}

/** Whether a secret stands in a text, which may be JSON. */
export function holdsSecret(text: string, value: string): boolean {
  return formsOf(value).some((form) => text.includes(form));
}

/** The same for a command, which may have been split into words since: then all words of the secret count. */
export function commandHoldsSecret(text: string, value: string): boolean {
  const parts = partsOf(value);
  return holdsSecret(text, value) || (parts.length > 0 && parts.every((part) => text.includes(part)));
}

function hideField({ path, before, after }: FieldChange, hidden: Hidden): FieldChange {
  const isCommand = /^command\b/.test(path);
  const holds = isCommand ? commandHoldsSecret : holdsSecret;
  const known = before === null ? [] : hidden.values.filter((value) => holds(before, value));
  const wordFor = (value: string) => (known.length > 0 && !known.includes(value) ? CHANGED_SECRET : SECRET);
  return {
    path: hide(path, hidden, () => SECRET, false),
    before: before === null ? null : hide(before, hidden, () => SECRET, isCommand),
    after: after === null ? null : hide(after, hidden, wordFor, isCommand),
  };
}

function hide(text: string, hidden: Hidden, wordFor: (value: string) => string, isCommand: boolean): string {
  // What was cut off may have begun in the last piece.
  let shown = text.length > MAX_SEARCHED_LENGTH ? text.slice(0, MAX_SEARCHED_LENGTH - hidden.longest) : text;
  for (const value of hidden.values) {
    const forms = formsOf(value).filter((form) => shown.includes(form));
    const parts = isCommand ? partsOf(value).filter((part) => shown.includes(part)) : [];
    if (forms.length + parts.length === 0) continue;
    const word = wordFor(value);
    for (const form of forms) shown = shown.replaceAll(form, () => word);
    for (const part of parts) shown = hidePart(shown, part, word);
  }
  for (const masker of hidden.maskers) shown = masker.maskText(shown);
  return cut(shown, text.length);
}

function hidePart(text: string, part: string, word: string): string {
  if (part.length >= MIN_PART_LENGTH) return text.replaceAll(part, () => word);
  return text === part ? word : text.replaceAll(JSON.stringify(part), () => JSON.stringify(word));
}

function formsOf(value: string): string[] {
  const escaped = JSON.stringify(value).slice(1, -1);
  return escaped === value ? [value] : [value, escaped];
}

/** What is left of a value after a command that it stood in was split into words; none where it stays whole. */
function partsOf(value: string): string[] {
  const parts = new Set([...wordsOf(value), ...value.replace(/["'\\]/g, '').split(/\s+/)]);
  parts.delete('');
  parts.delete(value);
  return [...parts].sort((a, b) => b.length - a.length);
}

function wordsOf(value: string): string[] {
  try {
    return splitWords(value);
  } catch (error) {
    if (error instanceof WordsError) return [];
    throw error;
  }
}

function cut(text: string, length: number): string {
  if (text.length <= MAX_SHOWN_LENGTH) return text;
  return `${text.slice(0, MAX_SHOWN_LENGTH).toWellFormed()}… (${length.toLocaleString('en')} characters)`;
}

const lengthOf = ({ path, before, after }: FieldChange): number =>
  path.length + (before?.length ?? 0) + (after?.length ?? 0);
