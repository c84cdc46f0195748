import { GraphQLError, Kind, type ValueNode } from 'graphql';
import { MAX_JSON_DEPTH } from './limits.ts';

const ISO_DATE_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** A Date from ISO 8601 with a zone; throws a GraphQLError for anything else. */
export function parseDateTime(value: unknown): Date {
  const date = typeof value === 'string' && ISO_DATE_TIME.test(value) ? new Date(value) : null;
  if (!date || Number.isNaN(date.getTime())) {
    throw new GraphQLError('a DateTime is ISO 8601 with a zone, like "2026-11-22T10:00:00.000Z"');
  }
  return date;
}

export function serializeDateTime(value: unknown): string {
  return (value instanceof Date ? value : parseDateTime(value)).toISOString();
}

export function parseSafeInt(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new GraphQLError('a SafeInt is an integer between -(2^53 - 1) and 2^53 - 1');
  }
  return value;
}

/** Takes bigint too: what PostgreSQL's bigint comes as. */
export function serializeSafeInt(value: unknown): number {
  return parseSafeInt(typeof value === 'bigint' ? Number(value) : value);
}

/** The JSON value as it is; throws a GraphQLError where it nests too deeply. */
export function parseJson(value: unknown): unknown {
  checkDepth(value, 0);
  return value;
}

function checkDepth(value: unknown, depth: number): void {
  if (depth > MAX_JSON_DEPTH) throw new GraphQLError(`a JSON value nests ${MAX_JSON_DEPTH} levels at most`);
  if (typeof value !== 'object' || value === null) return;
  for (const item of Object.values(value)) checkDepth(item, depth + 1);
}

/** The JSON value of a literal in a document, variables inside it included. */
export function parseJsonLiteral(
  node: ValueNode,
  variables: Record<string, unknown> | null | undefined,
  depth = 0,
): unknown {
  if (depth > MAX_JSON_DEPTH) throw new GraphQLError(`a JSON value nests ${MAX_JSON_DEPTH} levels at most`);
  switch (node.kind) {
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.STRING:
    case Kind.BOOLEAN:
    case Kind.ENUM:
      return node.value;
    case Kind.VARIABLE:
      return parseJson(variables?.[node.name.value] ?? null);
    case Kind.LIST:
      return node.values.map((item) => parseJsonLiteral(item, variables, depth + 1));
    case Kind.OBJECT:
      return Object.fromEntries(
        node.fields.map((field) => [field.name.value, parseJsonLiteral(field.value, variables, depth + 1)]),
      );
  }
}
