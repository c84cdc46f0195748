import type { Pool } from 'pg';
import { Prisma, type PrismaClient } from '../db/client.ts';
import { preparedStatement } from '../db/prepared-statement.ts';
import { columnOf, type Model, planRows, type RowPlan, type Selection, tableOf } from '../db/row-plan.ts';
import { toConnection } from '../shared/keyset.ts';
import {
  type Connection,
  decodeCursor,
  type Order,
  type Page,
  type Position,
  type SortKey,
} from '../shared/pagination.ts';

export type RelatedPagesQuery = {
  /** A query for the `id` of each parent that the caller may read the list of; the others get no page. */
  parents: Prisma.Sql;
  /** What lies under them, as `x`, and, where the list is a part of it, a condition. */
  model: Model;
  parentColumn: Prisma.Sql;
  condition?: Prisma.Sql;
  order: Order;
  page: Page;
  /** Prisma's `select` or `include`, as the operation's selection wants it. */
  query?: Selection;
};

type Databases = { prisma: PrismaClient; pool: Pool };
/** A parent's id, and a row under it; null: it has none. */
type Listed<Row> = { parentId: string; row: Row | null };

const SQL_TYPES = { text: 'text', date: 'timestamptz', number: 'int', id: 'uuid' } as const;

/**
 * The same page of a list under each of many parents, by parent id: one statement whatever their number where rows and what they point to
 * are asked for; more where Prisma has to load the rows, or for `totalCount`.
 */
export async function findRelatedPages<Row extends { id: string }>(
  databases: Databases,
  query: RelatedPagesQuery,
): Promise<Map<string, Connection<Row>>> {
  const { order, page, parents, model, parentColumn } = query;
  const condition = query.condition ?? Prisma.sql`true`;
  const selection = withKeys(query.query ?? {}, order);
  const plan = planRows(model, selection);
  const listed = (
    plan ? await readRows(databases, query, plan) : await loadRows(databases, query, selection)
  ) as Listed<Row>[];

  let counts: Promise<Map<string, number>> | undefined;
  const count = async () => {
    const counted = await databases.prisma.$queryRaw<{ id: string; total: number }[]>`
      with parent as (${parents})
      select parent.id, (select count(*)::int from ${tableSql(model)} x where x.${parentColumn} = parent.id and ${condition}) as total
      from parent`;
    return new Map(counted.map(({ id, total }) => [id, total]));
  };

  const byParent = Map.groupBy(listed, ({ parentId }) => parentId);
  return new Map(
    [...byParent].map(([parentId, entries]) => {
      const rows = entries.flatMap(({ row }) => row ?? []);
      const total = async () => {
        counts ??= count();
        return (await counts).get(parentId) ?? 0;
      };
      return [parentId, toConnection(rows, order, page, total)];
    }),
  );
}

/** Rows and what they point to, read by the plain driver. */
async function readRows({ pool }: Databases, query: RelatedPagesQuery, plan: RowPlan): Promise<Listed<object>[]> {
  const statement = pagesSql(query, plan.columns, plan.joins);
  const { rows } = await pool.query<[string, ...unknown[]]>(preparedStatement(statement));
  return rows.map((values) => ({ parentId: values[0], row: plan.build(values, 1) }));
}

/** Which rows, then what Prisma makes of them. */
async function loadRows(
  { pool, prisma }: Databases,
  query: RelatedPagesQuery,
  selection: Selection,
): Promise<Listed<object>[]> {
  const { rows } = await pool.query<[string, string | null]>(preparedStatement(pagesSql(query, 'x.id', '')));
  const ids = rows.flatMap(([, id]) => id ?? []);
  const delegate = prisma[`${query.model[0]!.toLowerCase()}${query.model.slice(1)}` as 'deployment'];
  const found = ids.length > 0 ? await delegate.findMany({ ...selection, where: { id: { in: ids } } }) : [];
  const byId = new Map(found.map((row) => [row.id, row]));
  return rows.map(([parentId, id]) => ({ parentId, row: (id && byId.get(id)) || null }));
}

function pagesSql(query: RelatedPagesQuery, columns: string, joins: string): Prisma.Sql {
  const { order, page, parents, model, parentColumn } = query;
  const sorted = orderSql(order, page.backward);
  return Prisma.sql`
    with parent as (${parents})
    select parent.id, ${Prisma.raw(columns)}
    from parent left join lateral (
      select * from ${tableSql(model)} x
      where x.${parentColumn} = parent.id and ${query.condition ?? Prisma.sql`true`} and ${betweenSql(order, page)}
      order by ${sorted} limit ${page.size + 1}
    ) x on true ${Prisma.raw(joins)}
    order by parent.id, ${sorted}`;
}

/** Cursors need the keys' values, also where the operation does not select them. */
function withKeys(selection: Selection, order: Order): Selection {
  if (!selection.select) return selection;
  return {
    ...selection,
    select: { ...selection.select, ...Object.fromEntries(order.keys.map(({ field }) => [field, true])) },
  };
}

function tableSql(model: Model): Prisma.Sql {
  return Prisma.raw(tableOf(model));
}

function orderSql(order: Order, backward: boolean): Prisma.Sql {
  return Prisma.join(
    order.keys.map(({ field, direction, nullable }) => {
      const sort = (direction === 'asc') === backward ? 'desc' : 'asc';
      const nulls = nullable ? ` nulls ${backward ? 'first' : 'last'}` : '';
      return Prisma.sql`${column(field)} ${Prisma.raw(sort + nulls)}`;
    }),
  );
}

function betweenSql(order: Order, page: Page): Prisma.Sql {
  const after = page.after === null ? null : decodeCursor(order, page.after, 'after');
  const before = page.before === null ? null : decodeCursor(order, page.before, 'before');
  return Prisma.sql`${after ? beyondSql(order, after, 'after') : Prisma.sql`true`}
    and ${before ? beyondSql(order, before, 'before') : Prisma.sql`true`}`;
}

/** The rows on one side of a position: equal in the first keys, further in the next one. */
function beyondSql(order: Order, position: Position, side: 'after' | 'before'): Prisma.Sql {
  const alternatives = order.keys.map((key, index) => {
    const equal = order.keys
      .slice(0, index)
      .map(
        (earlier, at) => Prisma.sql`${column(earlier.field)} is not distinct from ${literal(earlier, position[at])}`,
      );
    return Prisma.sql`(${Prisma.join([...equal, furtherSql(key, position[index], side)], ' and ')})`;
  });
  return Prisma.sql`(${Prisma.join(alternatives, ' or ')})`;
}

function furtherSql(key: SortKey, value: Position[number] | undefined, side: 'after' | 'before'): Prisma.Sql {
  const name = column(key.field);
  if (value == null) return side === 'after' ? Prisma.sql`false` : Prisma.sql`${name} is not null`;
  const operator = Prisma.raw((key.direction === 'asc') === (side === 'after') ? '>' : '<');
  const comparison = Prisma.sql`${name} ${operator} ${literal(key, value)}`;
  return key.nullable && side === 'after' ? Prisma.sql`(${comparison} or ${name} is null)` : comparison;
}

function literal(key: SortKey, value: Position[number] | undefined): Prisma.Sql {
  const given = value instanceof Date ? value.toISOString() : (value ?? null);
  return Prisma.sql`${given}::${Prisma.raw(SQL_TYPES[key.type])}`;
}

function column(field: string): Prisma.Sql {
  return Prisma.raw(`x.${columnOf(field)}`);
}
