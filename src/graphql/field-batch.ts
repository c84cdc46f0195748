import { createContextCache } from '@pothos/core';
import type { FieldNode, GraphQLResolveInfo } from 'graphql';
import type { GraphQLContext } from './context.ts';

type Batch = { keys: Map<string, unknown>; answers: Promise<ReadonlyMap<string, unknown>> };

const pending = createContextCache((_context: GraphQLContext) => new Map<FieldNode, Batch>());

/**
 * One load for all objects of a page whose field is resolved in the same tick: `load` gets their keys at once and answers by key.
 * The arguments are those of the field in the document, so they are the same for all.
 */
export async function batchedField<Key, Value>(
  context: GraphQLContext,
  info: GraphQLResolveInfo,
  id: string,
  key: Key,
  load: (keys: Key[]) => Promise<ReadonlyMap<string, Value>>,
): Promise<Value | null> {
  const batches = pending(context);
  const field = info.fieldNodes[0]!;
  let batch = batches.get(field);
  if (!batch) {
    const keys = new Map<string, unknown>();
    const answers = nextTick().then(() => {
      batches.delete(field);
      return load([...keys.values()] as Key[]);
    });
    batch = { keys, answers };
    batches.set(field, batch);
  }
  batch.keys.set(id, key);
  return ((await batch.answers).get(id) as Value | undefined) ?? null;
}

/** After what the present tick's promises still resolve: siblings join until then. */
function nextTick(): Promise<void> {
  return new Promise((resolve) => void Promise.resolve().then(() => process.nextTick(resolve)));
}

/** Rows as a batch, or a node loader, answers with them. */
export function byId<Row extends { id: string }>(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [row.id, row]));
}
