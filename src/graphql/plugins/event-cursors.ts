import { BREAK, type DocumentNode, visit } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { GraphQLContext } from '../context.ts';

const FIELD = 'eventCursor';

/**
 * Notes where the caller's feeds stand before anything of the operation is read: fields are resolved side by side, and a position that
 * is newer than a list in the same answer would leave out what happened between.
 */
export function useEventCursors(): Plugin {
  const asks = new WeakMap<DocumentNode, boolean>();
  const asksFor = (document: DocumentNode) => {
    const known = asks.get(document) ?? hasField(document);
    asks.set(document, known);
    return known;
  };
  return {
    async onExecute({ args }) {
      const context = args.contextValue as unknown as GraphQLContext;
      if (!context.caller || !asksFor(args.document)) return;
      context.eventCursors = await context.services.events.cursorsOf(context.caller);
    },
  };
}

function hasField(document: DocumentNode): boolean {
  let found = false;
  visit(document, {
    Field({ name }) {
      if (name.value !== FIELD) return undefined;
      found = true;
      return BREAK;
    },
  });
  return found;
}
