import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import { MAX_ALIASES, MAX_DEPTH, MAX_INTROSPECTION_DEPTH, MAX_ROOT_FIELDS } from './limits.ts';

type Measure = { depth: number; introspectionDepth: number; aliases: number };

const NOTHING: Measure = { depth: 0, introspectionDepth: 0, aliases: 0 };

/** What about a document exceeds a limit, in words, or null. Fragments are followed; each is measured once, cycles included. */
export function exceededLimit(document: DocumentNode): string | null {
  const measure = measurer(document);
  for (const definition of document.definitions) {
    if (definition.kind !== Kind.OPERATION_DEFINITION) continue;
    const { depth, introspectionDepth, aliases } = measure(definition.selectionSet);
    if (depth > MAX_DEPTH) return `selections nest ${depth} deep: the limit is ${MAX_DEPTH}`;
    if (introspectionDepth > MAX_INTROSPECTION_DEPTH) {
      return `introspection nests ${introspectionDepth} deep: the limit is ${MAX_INTROSPECTION_DEPTH}`;
    }
    if (aliases > MAX_ALIASES) return `an operation has ${aliases} aliases: the limit is ${MAX_ALIASES}`;
    const roots = rootFieldNames(document, definition).length;
    if (roots > MAX_ROOT_FIELDS) return `an operation has ${roots} root fields: the limit is ${MAX_ROOT_FIELDS}`;
  }
  return null;
}

/** The names of an operation's root fields, one entry for each time that one is selected, up to one more than the limit. */
export function rootFieldNames(document: DocumentNode, operation: OperationDefinitionNode): string[] {
  const fragments = fragmentsOf(document);
  const known = new Map<string, string[]>();

  function ofFragment(name: string): string[] {
    const found = known.get(name);
    if (found) return found;
    known.set(name, []);
    const fragment = fragments.get(name);
    const names = fragment ? ofSelections(fragment.selectionSet) : [];
    known.set(name, names);
    return names;
  }

  function ofSelections({ selections }: SelectionSetNode): string[] {
    const names: string[] = [];
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) names.push(selection.name.value);
      else if (selection.kind === Kind.INLINE_FRAGMENT) names.push(...ofSelections(selection.selectionSet));
      else names.push(...ofFragment(selection.name.value));
      if (names.length > MAX_ROOT_FIELDS) return names.slice(0, MAX_ROOT_FIELDS + 1);
    }
    return names;
  }

  return ofSelections(operation.selectionSet);
}

function measurer(document: DocumentNode): (selectionSet: SelectionSetNode) => Measure {
  const fragments = fragmentsOf(document);
  const known = new Map<string, Measure>();

  function ofFragment(name: string): Measure {
    const measured = known.get(name);
    if (measured) return measured;
    // A cycle counts as nothing here: the validation refuses it by a rule of its own.
    known.set(name, NOTHING);
    const fragment = fragments.get(name);
    const result = fragment ? ofSelections(fragment.selectionSet) : NOTHING;
    known.set(name, result);
    return result;
  }

  function ofSelections(selectionSet: SelectionSetNode): Measure {
    const total = { ...NOTHING };
    for (const selection of selectionSet.selections) {
      let part: Measure;
      if (selection.kind === Kind.FRAGMENT_SPREAD) part = ofFragment(selection.name.value);
      else if (selection.kind === Kind.INLINE_FRAGMENT) part = ofSelections(selection.selectionSet);
      else {
        const below = selection.selectionSet ? ofSelections(selection.selectionSet) : NOTHING;
        const meta = selection.name.value.startsWith('__');
        part = {
          depth: meta ? 0 : below.depth + 1,
          introspectionDepth: meta ? Math.max(below.depth, below.introspectionDepth) + 1 : below.introspectionDepth,
          aliases: below.aliases + (selection.alias ? 1 : 0),
        };
      }
      total.depth = Math.max(total.depth, part.depth);
      total.introspectionDepth = Math.max(total.introspectionDepth, part.introspectionDepth);
      total.aliases += part.aliases;
    }
    return total;
  }

  return ofSelections;
}

function fragmentsOf(document: DocumentNode): Map<string, FragmentDefinitionNode> {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  return fragments;
}
