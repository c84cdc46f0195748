import { ExpressionError } from './expression.ts';

const OPEN = '${{';
const ESCAPED = '$${{';

/** A piece of a text: as it stands, or an expression whose value comes in its place. */
export type TemplatePart = { text: string } | { source: string };
/** An expression in a JSON value, and where. */
export type Placed = {
  path: string[];
  source: string /** Whether it is all there is, so that its value stays what it is. */;
  isWhole: boolean;
};

/** Cuts a text with `${{ expressions }}` into pieces; `$${{` stands for `${{`. @throws {ExpressionError} where one is not closed */
export function parseTemplate(text: string): TemplatePart[] {
  const parts: TemplatePart[] = [];
  let literal = '';
  for (let at = 0; at < text.length; ) {
    if (text.startsWith(ESCAPED, at)) {
      literal += OPEN;
      at += ESCAPED.length;
    } else if (text.startsWith(OPEN, at)) {
      const end = closeOf(text, at + OPEN.length);
      if (end === null) throw new ExpressionError(`"${OPEN}" is not closed by "}}": "$${OPEN}" stands for itself`);
      if (literal !== '') parts.push({ text: literal });
      literal = '';
      parts.push({ source: text.slice(at + OPEN.length, end).trim() });
      at = end + 2;
    } else {
      literal += text[at];
      at += 1;
    }
  }
  if (literal !== '') parts.push({ text: literal });
  return parts;
}

/** Every expression in the texts of a JSON value. Calls back for texts that cannot be cut. */
export function expressionsIn(
  value: unknown,
  path: string[],
  onProblem: (path: string[], error: ExpressionError) => void,
): Placed[] {
  if (typeof value === 'string') {
    try {
      const parts = parseTemplate(value);
      const isWhole = parts.length === 1;
      return parts.flatMap((part) => ('source' in part ? [{ path, source: part.source, isWhole }] : []));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      onProblem(path, error);
      return [];
    }
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, entry]) => expressionsIn(entry, [...path, name], onProblem));
}

/** The value with every expression's value in its place: as it is where the expression is all of a text, else as text. */
export function fillIn(value: unknown, evaluate: (source: string) => unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => fillIn(entry, evaluate));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, fillIn(entry, evaluate)]));
  if (typeof value !== 'string') return value;
  const parts = parseTemplate(value);
  const [first] = parts;
  if (parts.length === 1 && first && 'source' in first) return evaluate(first.source);
  return parts.map((part) => ('text' in part ? part.text : asText(evaluate(part.source)))).join('');
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Where the "}}" stands that closes an expression: neither in a text of it nor after an open bracket. */
function closeOf(text: string, from: number): number | null {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"' || character === "'") {
      at = endOfText(text, at);
    } else if (character === '{') depth += 1;
    else if (character === '}') {
      if (depth === 0) return text[at + 1] === '}' ? at : null;
      depth -= 1;
    }
  }
  return null;
}

function endOfText(text: string, from: number): number {
  const quote = text[from];
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === quote) return at;
  }
  return text.length;
}
