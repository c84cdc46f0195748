import { brandWithType } from '@pothos/core';
import { BadRequestError, NotFoundError } from '../shared/errors.ts';
import { decodeGlobalId } from '../shared/global-id.ts';
import { DEFAULT_PAGE_SIZE } from '../shared/pagination.ts';
import { builder } from './builder.ts';
import type { GraphQLContext } from './context.ts';

export const MAX_NODES = 100;

/** Rows by UUID, as far as the caller may see them: under the permission of the type's own root field. */
export type NodeLoader = (context: GraphQLContext, ids: string[]) => Promise<ReadonlyMap<string, object>>;

const loaders = new Map<string, NodeLoader>();

/** Says how `node` and `nodes` find this type. Every type that implements Node has one. */
export function registerNode(typeName: string, loader: NodeLoader): void {
  loaders.set(typeName, loader);
}

/** A loader from a function that finds one row; null and NotFoundError alike mean that there is none. */
export function oneByOne(find: (context: GraphQLContext, id: string) => Promise<object | null>): NodeLoader {
  return async (context, ids) => {
    const found = new Map<string, object>();
    await Promise.all(
      ids.map(async (id) => {
        const row = await find(context, id).catch((error: unknown) => {
          if (error instanceof NotFoundError) return null;
          throw error;
        });
        if (row) found.set(id, row);
      }),
    );
    return found;
  };
}

/** Objects by their global IDs, one load a type; null for each that there is none of for the caller. */
export async function loadNodes(context: GraphQLContext, globalIds: readonly string[]): Promise<(object | null)[]> {
  const decoded = globalIds.map(decodeGlobalId);
  const idsByType = Map.groupBy(
    decoded.filter((item) => item !== null && loaders.has(item.type)),
    (item) => item!.type,
  );
  const found = new Map<string, object>();
  await Promise.all(
    [...idsByType].map(async ([type, items]) => {
      const rows = await loaders.get(type)!(context, [...new Set(items.map((item) => item!.id))]);
      for (const [id, row] of rows) {
        brandWithType(row, type as never);
        found.set(`${type}:${id}`, row);
      }
    }),
  );
  return decoded.map((item) => (item ? (found.get(`${item.type}:${item.id}`) ?? null) : null));
}

/** The same by their global IDs, for `batchedField`. */
export async function nodesById(context: GraphQLContext, globalIds: readonly string[]): Promise<Map<string, object>> {
  const nodes = await loadNodes(context, globalIds);
  return new Map(globalIds.flatMap((id, index) => (nodes[index] ? [[id, nodes[index]] as const] : [])));
}

builder.queryFields((t) => ({
  node: t.field({
    type: builder.nodeInterfaceRef(),
    nullable: true,
    description: 'Any object by its global ID; null where there is none, or none that the caller may see.',
    args: { id: t.arg.id({ required: true, description: 'A global ID.' }) },
    resolve: async (_root, { id }, context) => (await loadNodes(context, [id]))[0] ?? null,
  }),
  nodes: t.field({
    type: [builder.nodeInterfaceRef()],
    nullable: { list: true, items: true },
    description: `Up to ${MAX_NODES} objects by their global IDs, in the same order; null for each that there is none of.`,
    args: { ids: t.arg.idList({ required: true, description: 'Global IDs.' }) },
    complexity: ({ ids }) => ({ field: 1, multiplier: Math.max(ids?.length ?? DEFAULT_PAGE_SIZE, 1) }),
    resolve: (_root, { ids }, context) => {
      if (ids.length > MAX_NODES) throw new BadRequestError(`"ids" has ${MAX_NODES} entries at most`);
      return loadNodes(context, ids);
    },
  }),
}));
