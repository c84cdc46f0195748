import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  Kind,
  type SelectionSetNode,
} from 'graphql';
import type { Selection } from '../db/row-plan.ts';

/** The columns that fields of a document read, and those of what they point to. Null: nobody can say, so all of them. */
type Columns = { own: Set<string>; related: Map<string, Columns | null> } | null;
type Source = { schema: GraphQLSchema; fragments: Record<string, FragmentDefinitionNode> };

/** By the field whose selections they are: documents are kept parsed. */
const known = new WeakMap<FieldNode, Columns>();

/**
 * Leaves out of an `include` the columns that no selected field reads. Fields say what they read: an exposed column, or `select`;
 * a resolver that says nothing may read all of its row. `paths` lead from the field to its rows.
 */
export function selectColumns(query: Selection, info: GraphQLResolveInfo, paths: string[][]): Selection {
  const [field] = info.fieldNodes;
  if (info.fieldNodes.length !== 1 || !field?.selectionSet) return query;
  let columns = known.get(field);
  if (columns === undefined) {
    columns = columnsAt(info, field.selectionSet, getNamedType(info.returnType), paths);
    known.set(field, columns);
  }
  return narrow(query, columns) as Selection;
}

function narrow(query: Selection | true, columns: Columns): Selection | true {
  if (columns === null) return query;
  const { select, include, ...rest } = query === true ? ({} as Selection) : query;
  const relations = Object.entries(select ?? include ?? {}).map(([name, value]) => {
    const nested = columns.related.get(name);
    return [name, nested && value ? narrow(value as Selection | true, nested) : value];
  });
  const own = select ? [] : ['id', ...columns.own].map((name) => [name, true]);
  return { ...rest, select: Object.fromEntries([...own, ...relations]) };
}

/** What is read of the rows at the ends of the paths, together. */
function columnsAt(source: Source, set: SelectionSetNode, type: GraphQLNamedType, paths: string[][]): Columns {
  let all: Columns = emptyColumns();
  for (const [name, ...path] of paths) {
    for (const { field, type: parent } of fieldsIn(source, set, type)) {
      if (field.name.value !== name || !field.selectionSet || !isObjectType(parent)) continue;
      const below = getNamedType(parent.getFields()[name]!.type);
      const isEnd = path.length === 0;
      all = merge(
        all,
        isEnd ? columnsOf(source, field.selectionSet, below) : columnsAt(source, field.selectionSet, below, [path]),
      );
    }
  }
  return all;
}

function columnsOf(source: Source, set: SelectionSetNode, type: GraphQLNamedType): Columns {
  const columns = emptyColumns();
  for (const { field, type: parent } of fieldsIn(source, set, type)) {
    const name = field.name.value;
    if (name === '__typename' || name === 'id') continue;
    const definition = isObjectType(parent) ? parent.getFields()[name] : undefined;
    if (!definition) return null;
    const { pothosExposedField: exposed, pothosPrismaSelect: select } = definition.extensions;
    if (typeof exposed === 'string') columns.own.add(exposed);
    else if (!select || (typeof select !== 'object' && !field.selectionSet)) return null;
    else {
      for (const read of typeof select === 'object' ? Object.keys(select) : []) {
        // A column, or a relation, which is in the query already: that takes a column's place, and is read as the field says.
        columns.own.add(read);
        if (read !== name) columns.related.set(read, null);
      }
      if (!field.selectionSet) continue;
      // The relation is in the query already, under the field's name where the names agree.
      const type = getNamedType(definition.type);
      // What is selected of one member of a union is no column of another.
      const below = isObjectType(type) ? columnsOf(source, field.selectionSet, type) : null;
      const before = columns.related.get(name);
      columns.related.set(name, before === undefined ? below : merge(before, below));
    }
  }
  return columns;
}

/** The fields of a selection with the types that they are of, fragments followed. What a directive leaves out counts too. */
function* fieldsIn(
  source: Source,
  { selections }: SelectionSetNode,
  type: GraphQLNamedType,
): Generator<{ field: FieldNode; type: GraphQLNamedType }> {
  for (const selection of selections) {
    if (selection.kind === Kind.FIELD) {
      yield { field: selection, type };
      continue;
    }
    const fragment = selection.kind === Kind.INLINE_FRAGMENT ? selection : source.fragments[selection.name.value]!;
    const condition = fragment.typeCondition?.name.value;
    yield* fieldsIn(source, fragment.selectionSet, condition ? source.schema.getType(condition)! : type);
  }
}

function emptyColumns(): NonNullable<Columns> {
  return { own: new Set(), related: new Map() };
}

function merge(one: Columns, other: Columns): Columns {
  if (one === null || other === null) return null;
  const related = new Map(one.related);
  for (const [name, columns] of other.related) {
    const before = related.get(name);
    related.set(name, before === undefined ? columns : merge(before, columns));
  }
  return { own: one.own.union(other.own), related };
}
