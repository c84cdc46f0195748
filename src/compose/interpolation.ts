import type { ComposeNode, MapNode, ScalarNode } from './document.ts';
import type { Path, Report } from './finding.ts';
import { EXTENSION } from './inline-files.ts';

/** All interpolated values of a file together may have this many characters: variables are long, and may stand often. */
export const MAX_INTERPOLATED_LENGTH = 8 * 1024 * 1024;
const MAX_NESTING = 32;

export type Variables = Readonly<Record<string, string>>;
/** A variable's value; null: not set. */
export type Lookup = (name: string) => string | null;

type Operator = ':-' | '-' | ':?' | '?' | ':+' | '+';
type Part = string | { name: string; operator: Operator | null; operand: Part[] };

/** A template that is not one: `message` says why, as a clause. */
export class TemplateError extends Error {
  override name = 'TemplateError';
}

/** A template that its variables make longer than it may be. */
export class TemplateLengthError extends TemplateError {
  override name = 'TemplateLengthError';
}

/** The outcome of one template. `unset`: read without a value or a default; `missing`: `${NAME:?message}` without a value. */
export type Interpolation = {
  text: string;
  /** False when a variable was needed and variables are not known. */
  resolved: boolean;
  unset: string[];
  missing: { name: string; message: string }[];
};

/** Whether the text has anything to interpolate. */
export function isTemplate(text: string): boolean {
  return text.includes('$');
}

/**
 * Replaces variables as the Compose Specification says: `$NAME`, `${NAME}`, `:-`, `-`, `:?`, `?`, `:+`, `+`, nested, `$$`.
 * Variables null: not known yet; defaults are used, and what needs a value leaves `resolved` false. Throws TemplateError, beyond
 * `limit` characters TemplateLengthError.
 */
export function interpolate(
  template: string,
  variables: Variables | Lookup | null,
  limit = MAX_INTERPOLATED_LENGTH,
): Interpolation {
  const { parts } = parseTemplate(template, 0, 0);
  const outcome: Interpolation = { text: '', resolved: true, unset: [], missing: [] };
  const lookup = typeof variables === 'object' ? variables && lookupIn(variables) : variables;
  outcome.text = evaluate(parts, { lookup, limit, outcome });
  return outcome;
}

function lookupIn(variables: Variables): Lookup {
  return (name) => (Object.hasOwn(variables, name) ? variables[name]! : null);
}

function parseTemplate(text: string, start: number, depth: number): { parts: Part[]; end: number } {
  if (depth > MAX_NESTING) throw new TemplateError(`variables are nested more than ${MAX_NESTING} deep`);
  const parts: Part[] = [];
  let braces = 0;
  let at = start;
  let literal = start;
  while (at < text.length) {
    const character = text[at]!;
    if (depth > 0 && character === '}' && braces-- === 0) break;
    if (depth > 0 && character === '{') braces++;
    if (character !== '$') {
      at++;
      continue;
    }
    if (text[at + 1] === '$') {
      parts.push(text.slice(literal, at + 1));
      at += 2;
      literal = at;
      continue;
    }
    // A dollar sign before what begins no variable stands for itself.
    if (text[at + 1] !== '{' && nameAt(text, at + 1) === null) {
      at++;
      continue;
    }
    parts.push(text.slice(literal, at));
    const variable = text[at + 1] === '{' ? parseBraced(text, at, depth) : parseBare(text, at);
    parts.push(variable.part);
    at = variable.end;
    literal = at;
  }
  if (depth > 0 && at >= text.length) throw new TemplateError('a "${" is not closed by "}"');
  parts.push(text.slice(literal, at));
  return { parts, end: at };
}

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;

function nameAt(text: string, at: number): string | null {
  NAME.lastIndex = at;
  return NAME.exec(text)?.[0] ?? null;
}

function parseBare(text: string, at: number): { part: Part; end: number } {
  const name = nameAt(text, at + 1)!;
  return { part: { name, operator: null, operand: [] }, end: at + 1 + name.length };
}

function parseBraced(text: string, at: number, depth: number): { part: Part; end: number } {
  const name = nameAt(text, at + 2);
  if (!name) throw new TemplateError('a "${" is not followed by the name of a variable');
  const after = at + 2 + name.length;
  if (text[after] === '}') return { part: { name, operator: null, operand: [] }, end: after + 1 };
  const operator = /^:?[-?+]/.exec(text.slice(after, after + 2))?.[0] as Operator | undefined;
  if (!operator) {
    if (after >= text.length) throw new TemplateError('a "${" is not closed by "}"');
    throw new TemplateError(`"\${${name}" is followed by neither "}" nor one of :- - :? ? :+ +`);
  }
  const operand = parseTemplate(text, after + operator.length, depth + 1);
  return { part: { name, operator, operand: operand.parts }, end: operand.end + 1 };
}

type Scope = { lookup: Lookup | null; limit: number; outcome: Interpolation };

function evaluate(parts: Part[], scope: Scope): string {
  const texts: string[] = [];
  let length = 0;
  for (const part of parts) {
    const text = typeof part === 'string' ? part : substitute(part, scope);
    length += text.length;
    if (length > scope.limit) {
      const limit = scope.limit.toLocaleString('en-US');
      throw new TemplateLengthError(`variables make it longer than ${limit} characters, the limit`);
    }
    texts.push(text);
  }
  return texts.join('');
}

function substitute(part: Exclude<Part, string>, scope: Scope): string {
  const { lookup, outcome } = scope;
  const { name, operator, operand } = part;
  const value = lookup?.(name) ?? null;
  const present = operator?.startsWith(':') ? value !== null && value !== '' : value !== null;
  const kind = operator?.at(-1);
  if (kind === '-') return present ? value! : evaluate(operand, scope);
  if (lookup === null) {
    outcome.resolved = false;
    // `+` is content with a variable that is not set.
    if (kind !== '+') outcome.unset.push(name);
    return '';
  }
  if (kind === '+') return present ? evaluate(operand, scope) : '';
  if (present) return value!;
  if (kind === '?') outcome.missing.push({ name, message: describe(operand) });
  else outcome.unset.push(name);
  return value ?? '';
}

/** The operand as it was written: a message never holds a variable's value. */
function describe(parts: Part[]): string {
  return parts.map((part) => (typeof part === 'string' ? part : `\${${part.name}}`)).join('');
}

/** Values that the schema wants as a number or boolean where interpolation left text, by path; `*` is any key. */
const TYPED: Record<string, 'boolean' | 'number'> = {
  'services.*.depends_on.*.required': 'boolean',
  'services.*.use_api_socket': 'boolean',
  'services.*.networks.*.priority': 'number',
  'services.*.networks.*.gw_priority': 'number',
  'models.*.context_size': 'number',
};
const BOOLEANS = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['y', true],
  ['false', false],
  ['no', false],
  ['off', false],
  ['n', false],
]);

/** A tree with its values, not its keys, interpolated. Each unset variable is reported once, each missing one everywhere. */
export function interpolateTree(root: MapNode, variables: Variables | null, report: Report): MapNode {
  const told = new Set<string>();
  let length = 0;

  function scalar(node: ScalarNode, path: Path): ScalarNode {
    if (typeof node.value !== 'string' || !isTemplate(node.value) || length > MAX_INTERPOLATED_LENGTH) return node;
    const place = { path, position: node.position };
    let outcome: Interpolation;
    try {
      outcome = interpolate(node.value, variables);
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error;
      const suggestion = 'Write "$$" for a dollar sign that is meant literally.';
      report.add('ERROR', 'interpolation-syntax', `In this value, ${error.message}.`, { ...place, suggestion });
      return { ...node, unresolved: true };
    }
    length += outcome.text.length;
    if (length > MAX_INTERPOLATED_LENGTH) {
      const limit = MAX_INTERPOLATED_LENGTH.toLocaleString('en-US');
      const message = `The file's values have more than ${limit} characters once their variables are filled in, the limit.`;
      report.add('ERROR', 'file-too-large', message, place);
    }
    for (const { name, message } of outcome.missing) {
      const said = message ? `: ${message}` : '';
      const suggestion = `Set the variable ${name} in the environment.`;
      report.add('ERROR', 'variable-missing', `The variable ${name} must be set${said}.`, { ...place, suggestion });
    }
    for (const name of outcome.unset) {
      if (told.has(name)) continue;
      told.add(name);
      if (variables) {
        const message = `The variable ${name} is not set: an empty text takes its place.`;
        const suggestion = `Set it in the environment, write \${${name}:-default}, or $$${name} for the text itself.`;
        report.add('WARNING', 'variable-unset', message, { ...place, suggestion });
      } else {
        const message = `The variable ${name} has no default: each environment that this is deployed to has to set it.`;
        report.add('INFO', 'variable-needed', message, place);
      }
    }
    if (!outcome.resolved || outcome.missing.length > 0) return { ...node, unresolved: true };
    return { ...node, value: typed(outcome.text, path), plain: false };
  }

  function visit(node: ComposeNode, path: Path): ComposeNode {
    // The files that a stack brings along are what they would be on a disk.
    if (path.length === 2 && path[0] === EXTENSION && path[1] === 'files') return node;
    if (node.kind === 'scalar') return scalar(node, path);
    if (node.kind === 'list') return { ...node, items: node.items.map((item, index) => visit(item, [...path, index])) };
    const entries = [...node.entries].map(
      ([key, entry]) => [key, { key: entry.key, value: visit(entry.value, [...path, key]) }] as const,
    );
    return { ...node, entries: new Map(entries) };
  }

  return visit(root, []) as MapNode;
}

function typed(text: string, path: Path): string | number | boolean {
  const wanted = Object.entries(TYPED).find(([pattern]) => {
    const keys = pattern.split('.');
    return keys.length === path.length && keys.every((key, index) => key === '*' || key === path[index]);
  })?.[1];
  if (wanted === 'boolean') return BOOLEANS.get(text.toLowerCase()) ?? text;
  return wanted === 'number' && /^-?\d+$/.test(text) ? Number(text) : text;
}
