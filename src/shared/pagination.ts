import { BadRequestError } from './errors.ts';
import { isId } from './ids.ts';

export const DEFAULT_PAGE_SIZE = 20;
export const MAX_PAGE_SIZE = 100;
const MAX_CURSOR_LENGTH = 2_048;

export type PageArguments = {
  first?: number | null;
  after?: string | null;
  last?: number | null;
  before?: string | null;
};

/** A checked request for a page: `size` nodes from the start (or, `backward`, from the end) of what lies between the cursors. */
export type Page = { size: number; backward: boolean; after: string | null; before: string | null };

/** One key of an order. Nulls of a nullable key come last. */
export type SortKey = {
  field: string;
  direction: 'asc' | 'desc';
  type: 'text' | 'date' | 'number' | 'id';
  nullable?: boolean;
};

/** A total order: the last key is unique. The name is part of its cursors: one of another order is refused. */
export type Order = { name: string; keys: readonly SortKey[] };

export type PageInfo = {
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  startCursor: string | null;
  endCursor: string | null;
};
export type Edge<Node> = { cursor: string; node: Node };
/** What a connection type is resolved from; `totalCount` runs only where it is selected. */
export type Connection<Node> = { edges: Edge<Node>[]; pageInfo: PageInfo; totalCount: () => Promise<number> };

type KeyValue = string | number | Date | null;
/** Values of an order's keys at one row. */
export type Position = readonly KeyValue[];

/** Checks the arguments of a connection: 1–100 nodes, 20 by default. Throws BadRequestError. */
export function parsePage(args: PageArguments): Page {
  const { first, last } = args;
  if (first != null && last != null)
    throw new BadRequestError('"first" and "last" contradict each other: give one of them');
  const [name, size] = last != null ? ['last', last] : ['first', first ?? DEFAULT_PAGE_SIZE];
  if (!Number.isInteger(size) || size < 1 || size > MAX_PAGE_SIZE) {
    throw new BadRequestError(`"${name}" must be between 1 and ${MAX_PAGE_SIZE}`);
  }
  return { size, backward: last != null, after: args.after ?? null, before: args.before ?? null };
}

/** An order by these keys, made total by the id. */
export function orderBy(name: string, ...keys: SortKey[]): Order {
  const direction = keys.at(-1)?.direction ?? 'asc';
  return { name, keys: [...keys, { field: 'id', direction, type: 'id' }] };
}

export function encodeCursor(order: Order, row: Record<string, unknown>): string {
  const values = order.keys.map(({ field }) => row[field] ?? null);
  return Buffer.from(JSON.stringify([order.name, ...values])).toString('base64url');
}

/** Where a cursor of this order stands; `argument` names it in the BadRequestError for any other text. */
export function decodeCursor(order: Order, cursor: string, argument: 'after' | 'before'): Position {
  const values = cursor.length <= MAX_CURSOR_LENGTH && /^[\w-]+$/.test(cursor) ? parseValues(cursor) : null;
  if (values?.[0] === order.name && values.length === order.keys.length + 1) {
    const position = order.keys.map((key, index) => parseValue(key, values[index + 1]));
    if (!position.includes(undefined)) return position as Position;
  }
  throw new BadRequestError(`"${argument}" is not a cursor of this list in this order: give one that it returned`);
}

function parseValues(cursor: string): unknown[] | null {
  try {
    const values: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    return Array.isArray(values) ? values : null;
  } catch {
    return null;
  }
}

function parseValue(key: SortKey, value: unknown): KeyValue | undefined {
  if (value === null) return key.nullable ? null : undefined;
  if (key.type === 'number') return typeof value === 'number' ? value : undefined;
  if (typeof value !== 'string' || value.includes('\0')) return undefined;
  if (key.type === 'id') return isId(value) ? value : undefined;
  if (key.type === 'text') return value;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
