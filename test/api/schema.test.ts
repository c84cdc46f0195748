import { readFile } from 'node:fs/promises';
import {
  type GraphQLNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isUnionType,
  printSchema,
  validateSchema,
} from 'graphql';
import { expect, it } from 'vitest';
import { schema, sortedSchema } from '../../src/graphql/schema.ts';

const types = Object.values(schema.getTypeMap()).filter((type: GraphQLNamedType) => !isIntrospectionType(type));

it('should be valid, and what is committed', async () => {
  expect(validateSchema(schema)).toEqual([]);
  const committed = await readFile(new URL('../../schema/schema.graphql', import.meta.url), 'utf8');
  expect(`${printSchema(sortedSchema)}\n`, 'run "npm run schema"').toBe(committed);
});

it('should describe every type, field, argument and input', () => {
  const silent: string[] = [];
  for (const type of types) {
    if (['ID', 'String', 'Int', 'Float', 'Boolean', 'Query', 'Mutation', 'Subscription'].includes(type.name)) continue;
    // What the union of a field's results is, its members say.
    if (!isUnionType(type) && !type.description) silent.push(type.name);
  }
  for (const type of types) {
    if (!isObjectType(type) && !isInterfaceType(type) && !isInputObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      const isInherited =
        isObjectType(type) && (field.name === 'code' || field.name === 'message') && type.name.endsWith('Error');
      if (!field.description && !isInherited) silent.push(`${type.name}.${field.name}`);
      if ('args' in field) {
        for (const arg of field.args)
          if (!arg.description && arg.name !== 'input') silent.push(`${type.name}.${field.name}(${arg.name})`);
      }
    }
  }
  expect(silent).toEqual([]);
});

it('should have nullable roots, so that one error leaves the others their answers', () => {
  for (const root of [schema.getQueryType()!, schema.getMutationType()!]) {
    for (const field of Object.values(root.getFields())) expect(String(field.type), field.name).not.toMatch(/!$/);
  }
});

it('should name the results and inputs of every mutation after it', () => {
  for (const field of Object.values(schema.getMutationType()!.getFields())) {
    const name = `${field.name.charAt(0).toUpperCase()}${field.name.slice(1)}`;
    expect(String(field.type)).toBe(`${name}Result`);
    expect(field.args.map((arg) => `${arg.name}: ${arg.type}`)).toEqual([`input: ${name}Input!`]);
  }
});

it('should give every member of a result union that fails the Error interface', () => {
  for (const type of types) {
    if (!isUnionType(type) || !type.name.endsWith('Result')) continue;
    for (const member of type.getTypes()) {
      if (member.name.endsWith('Error')) expect(member.getInterfaces().map(String), member.name).toContain('Error');
    }
  }
  const codes = schema.getType('ErrorCode');
  expect(isEnumType(codes) && codes.getValues().length).toBe(13);
});
