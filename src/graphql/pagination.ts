import type { ImplementableObjectRef, ObjectRef } from '@pothos/core';
import { queryFromInfo } from '@pothos/plugin-prisma';
import type { GraphQLResolveInfo } from 'graphql';
import {
  type Connection,
  DEFAULT_PAGE_SIZE,
  type Edge,
  MAX_PAGE_SIZE,
  type PageArguments,
} from '../shared/pagination.ts';
import { builder, type SchemaTypes } from './builder.ts';
import type { GraphQLContext } from './context.ts';
import { selectColumns } from './selected-columns.ts';
import { viewerIndependent } from './viewer-independence.ts';

const connections = new Map<string, unknown>();

type NodeRef<Node> = { name: string; $inferType: Node };
type ConnectionRef<Node> = ImplementableObjectRef<SchemaTypes, Connection<Node>>;

/**
 * The one connection type of a node type, made at the first call: `StackConnection` with `StackEdge`.
 * Whether a page depends on the viewer is the matter of the field that reads it: its own fields only tell what was read.
 * `totalCount: false` leaves that field out, where counting would be a full scan.
 */
export function connectionFor<Node extends object>(
  node: NodeRef<Node>,
  options: { totalCount?: boolean } = {},
): ConnectionRef<Node> {
  const known = connections.get(node.name);
  if (known) return known as ConnectionRef<Node>;
  const type = node as unknown as ObjectRef<SchemaTypes, Node>;

  const edge = builder.objectRef<Edge<Node>>(`${node.name}Edge`).implement({
    description: `A ${node.name} and its place in the list.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', {
        ...viewerIndependent,
        description: 'For `after` and `before`, in the same order of the same list.',
      }),
      node: t.field({
        ...viewerIndependent,
        type,
        description: 'What stands there.',
        resolve: (parent) => parent.node as never,
      }),
    }),
  });
  const connection: ConnectionRef<Node> = builder.objectRef<Connection<Node>>(`${node.name}Connection`);
  connections.set(node.name, connection);
  connection.implement({
    description: `A page of a list: ${node.name}.`,
    fields: (t) => ({
      edges: t.field({
        ...viewerIndependent,
        type: [edge],
        description: 'The nodes with their cursors.',
        complexity: { field: 0, multiplier: 1 },
        resolve: (parent) => parent.edges,
      }),
      nodes: t.field({
        ...viewerIndependent,
        type: [type],
        description: 'The nodes alone.',
        complexity: { field: 0, multiplier: 1 },
        resolve: (parent) => parent.edges.map((item) => item.node) as never,
      }),
      pageInfo: t.field({
        ...viewerIndependent,
        type: builder.pageInfoRef(),
        description: 'Where the page lies.',
        resolve: (parent) => parent.pageInfo,
      }),
    }),
  });
  if (options.totalCount !== false) {
    builder.objectField(connection, 'totalCount', (t) =>
      t.int({
        ...viewerIndependent,
        description: 'How many there are, all pages together.',
        resolve: (parent) => parent.totalCount(),
      }),
    );
  }
  return connection;
}

/** From a connection to its nodes. */
const NODE_PATHS: [string[], string[]] = [['nodes'], ['edges', 'node']];
const PAGE_SIZE_TEXT = `1–${MAX_PAGE_SIZE}, ${DEFAULT_PAGE_SIZE} by default.`;

/** The arguments of every connection field: `args: { ...pageArgs() }`. */
export const pageArgs = () =>
  builder.args((t) => ({
    first: t.int({ description: `So many from the start: ${PAGE_SIZE_TEXT}` }),
    after: t.string({ description: 'Only what comes after this cursor.' }),
    last: t.int({ description: `So many from the end: ${PAGE_SIZE_TEXT}` }),
    before: t.string({ description: 'Only what comes before this cursor.' }),
  }));

/** The `complexity` of every connection field: what is selected beneath counts once for each node asked for. */
export function pageComplexity(args: PageArguments): { field: number; multiplier: number } {
  const size = args.last ?? args.first ?? DEFAULT_PAGE_SIZE;
  return { field: 1, multiplier: Math.min(Math.max(size, 1), MAX_PAGE_SIZE) };
}

/** Prisma's `select`/`include` for what the operation selects of a connection's nodes: hand it to `findPage`. */
export function pageQuery(context: GraphQLContext, info: GraphQLResolveInfo): Record<string, unknown> {
  return selectColumns(queryFromInfo({ context, info, paths: NODE_PATHS }), info, NODE_PATHS) as Record<
    string,
    unknown
  >;
}

/** The same for a field of one object. */
export function rowQuery(context: GraphQLContext, info: GraphQLResolveInfo): Record<string, unknown> {
  return queryFromInfo({ context, info }) as Record<string, unknown>;
}
