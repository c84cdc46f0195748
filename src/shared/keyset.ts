import {
  type Connection,
  decodeCursor,
  encodeCursor,
  type Order,
  type Page,
  type Position,
  type SortKey,
} from './pagination.ts';

type Row = Record<string, unknown>;
type Condition = Record<string, unknown>;

/** What a page needs of a Prisma model: `prisma.stack`, also in a transaction. */
export type PageDelegate = {
  findMany(args: never): PromiseLike<unknown[]>;
  count(args: never): PromiseLike<unknown>;
};

export type PageQuery = {
  page: Page;
  order: Order;
  /** Which rows the list has, in Prisma's terms. */
  where: Condition;
  /** Prisma's `select` or `include`, as the operation's selection wants it. */
  query?: { select?: Condition; include?: Condition } | Condition;
};

/** A page in one query, by the position of its cursors: its cost does not grow with what lies before it. */
export async function findPage<Node extends object>(
  delegate: PageDelegate,
  options: PageQuery,
): Promise<Connection<Node>> {
  const { order, page, where } = options;
  const rows = await delegate.findMany({
    ...selectKeys(options.query ?? {}, order),
    where: { AND: [where, ...between(order, page)] },
    orderBy: prismaOrder(order, page.backward),
    take: page.size + 1,
  } as never);
  let total: Promise<number> | undefined;
  const count = async () => (await delegate.count({ where } as never)) as number;
  return toConnection(rows as Node[], order, page, () => (total ??= count()));
}

/** Shapes the rows of a page, one more than its size where there are more, in the order in which they were read. */
export function toConnection<Node extends object>(
  rows: Node[],
  order: Order,
  page: Page,
  totalCount: () => Promise<number>,
): Connection<Node> {
  const nodes = rows.slice(0, page.size);
  if (page.backward) nodes.reverse();
  // Encoded where it is asked for: most pages need one cursor of all.
  const edges = nodes.map((node) => ({
    get cursor() {
      return encodeCursor(order, node as Row);
    },
    node,
  }));
  const more = rows.length > page.size;
  return {
    edges,
    pageInfo: {
      hasNextPage: page.backward ? page.before !== null : more,
      hasPreviousPage: page.backward ? more : page.after !== null,
      get startCursor() {
        return edges.at(0)?.cursor ?? null;
      },
      get endCursor() {
        return edges.at(-1)?.cursor ?? null;
      },
    },
    totalCount,
  };
}

function between(order: Order, page: Page): Condition[] {
  const conditions: Condition[] = [];
  if (page.after !== null) conditions.push(beyond(order, decodeCursor(order, page.after, 'after'), 'after'));
  if (page.before !== null) conditions.push(beyond(order, decodeCursor(order, page.before, 'before'), 'before'));
  return conditions;
}

/** The rows on one side of a position: equal in the first keys, further in the next one. */
export function beyond(order: Order, position: Position, side: 'after' | 'before'): Condition {
  const alternatives = order.keys.flatMap((key, index) => {
    const further = furtherThan(key, position[index] ?? null, side);
    if (!further) return [];
    const equal = order.keys.slice(0, index).map(({ field }, earlier) => ({ [field]: position[earlier] ?? null }));
    return [{ AND: [...equal, further] }];
  });
  return { OR: alternatives };
}

function furtherThan(
  { field, direction, nullable }: SortKey,
  value: Position[number],
  side: 'after' | 'before',
): Condition | null {
  if (value === null) return side === 'after' ? null : { [field]: { not: null } };
  const comparison = { [field]: { [(direction === 'asc') === (side === 'after') ? 'gt' : 'lt']: value } };
  return nullable && side === 'after' ? { OR: [comparison, { [field]: null }] } : comparison;
}

function prismaOrder(order: Order, backward: boolean): Condition[] {
  return order.keys.map(({ field, direction, nullable }) => {
    const sort = backward === (direction === 'asc') ? 'desc' : 'asc';
    return { [field]: nullable ? { sort, nulls: backward ? 'first' : 'last' } : sort };
  });
}

/** Cursors need the keys' values, also where the operation does not select them. */
function selectKeys(query: Condition, order: Order): Condition {
  if (!query.select) return query;
  return {
    ...query,
    select: { ...(query.select as Condition), ...Object.fromEntries(order.keys.map(({ field }) => [field, true])) },
  };
}
