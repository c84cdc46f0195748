import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isObjectType,
  isUnionType,
} from 'graphql';

/** A field of the schema that takes IDs: `paths` lead to each of them within its arguments, lists as "ids.0". */
export type IdField = { owner: string; name: string; paths: string[][]; document: string };

/** Every field that has an ID among its arguments, or within their input objects, with a document that asks for it. */
export function fieldsWithIds(schema: GraphQLSchema): IdField[] {
  const owners = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type) && !type.name.startsWith('__'));
  return owners.flatMap((owner) =>
    Object.values(isObjectType(owner) ? owner.getFields() : {}).flatMap((field) => {
      const paths = field.args.flatMap((arg) => idPaths(arg.type, [arg.name], []));
      if (paths.length === 0) return [];
      return [{ owner: owner.name, name: field.name, paths, document: documentOf(schema, owner.name, field) }];
    }),
  );
}

function idPaths(type: GraphQLInputType, path: string[], within: string[]): string[][] {
  const named = getNamedType(type);
  const at = String(type).startsWith('[') ? [...path, '0'] : path;
  if (named.name === 'ID') return [at];
  if (!isInputObjectType(named) || within.includes(named.name)) return [];
  return Object.values(named.getFields()).flatMap((field) =>
    idPaths(field.type, [...at, field.name], [...within, named.name]),
  );
}

/** The operation that asks for a field with all its arguments as variables: a root field, or one of a node whose ID is `$parent`. */
function documentOf(schema: GraphQLSchema, owner: string, field: GraphQLField<unknown, unknown>): string {
  const operation = { Query: 'query', Mutation: 'mutation', Subscription: 'subscription' }[owner];
  const variables = field.args.map((arg: GraphQLArgument) => `$${arg.name}: ${arg.type}`);
  const values = field.args.map((arg) => `${arg.name}: $${arg.name}`).join(', ');
  const call = `${field.name}(${values}) ${selectionOf(schema, field.type)}`;
  if (operation) return `${operation} (${variables.join(', ')}) { ${call} }`;
  return `query (${['$parent: ID!', ...variables].join(', ')}) { node(id: $parent) { ... on ${owner} { ${call} } } }`;
}

/** What tells one answer from another: ids, errors, the nodes of a list. */
function selectionOf(schema: GraphQLSchema, type: GraphQLOutputType): string {
  const named = getNamedType(type);
  if (isLeafType(named)) return '';
  if (isUnionType(named) || isInterfaceType(named)) {
    const members = schema.getPossibleTypes(named);
    const parts = ['Error', 'Node'].filter((name) =>
      members.some((member) => member.getInterfaces().some((own) => own.name === name)),
    );
    return `{ __typename ${parts.map((name) => `... on ${name} { ${name === 'Error' ? 'code message' : 'id'} }`).join(' ')} }`;
  }
  const fields = named.getFields();
  const nodes = fields.nodes ? `nodes ${selectionOf(schema, fields.nodes.type)}` : '';
  return `{ __typename ${fields.id ? 'id' : ''} ${fields.totalCount ? 'totalCount' : ''} ${nodes} }`;
}
