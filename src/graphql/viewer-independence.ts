import {
  type DocumentNode,
  type GraphQLField,
  type GraphQLSchema,
  getOperationAST,
  isAbstractType,
  isObjectType,
  Kind,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from 'graphql';

const MARK = 'viewerIndependent';

/**
 * Options of a field that is the same for all members of a role in an organization, whoever asks: what may be rendered once for many
 * subscribers. No field is, unless it says so.
 */
export const viewerIndependent = { extensions: { [MARK]: true } } as const;

export function isViewerIndependent(field: GraphQLField<unknown, unknown>): boolean {
  return field.extensions[MARK] === true;
}

/** Whether every field that the operation selects is marked, those of its fragments included. */
export function selectsOnlyShared(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName?: string | null,
): boolean {
  const operation = getOperationAST(document, operationName);
  if (!operation) return false;
  const fragments = document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION);
  const types = new TypeInfo(schema);
  let shared = true;
  const visitor = visitWithTypeInfo(types, {
    Field({ name }) {
      if (name.value === '__typename' && isObjectType(types.getParentType())) return;
      const field = types.getFieldDef();
      // A field of an interface says nothing of those that implement it.
      if (!field || isAbstractType(types.getParentType()) || !isViewerIndependent(field)) shared = false;
    },
  });
  for (const definition of [operation, ...fragments]) visit(definition, visitor);
  return shared;
}
