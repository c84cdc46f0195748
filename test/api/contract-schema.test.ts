import {
  type GraphQLField,
  type GraphQLObjectType,
  getNamedType,
  isInputObjectType,
  isObjectType,
  isUnionType,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';

const types = Object.values(schema.getTypeMap());
const objects = types.filter(isObjectType);
const fieldsOf = (type: GraphQLObjectType) => Object.values(type.getFields());
const inputFields = (name: string) => {
  const type = schema.getType(name);
  return isInputObjectType(type) ? Object.fromEntries(Object.values(type.getFields()).map((it) => [it.name, it])) : {};
};
const isConnection = ({ type }: GraphQLField<unknown, unknown>) => getNamedType(type).name.endsWith('Connection');

describe('lists', () => {
  it('should be connections with one shared type per node, and totalCount for all but lines of a log', () => {
    const connections = objects.filter(({ name }) => name.endsWith('Connection'));
    expect(connections.length).toBeGreaterThan(8);
    const nodes = connections.map((connection) => {
      const fields = connection.getFields();
      const node = getNamedType(fields.nodes!.type).name;
      const base = connection.name.replace(/Connection$/, '');
      expect(node).toBe(base);
      expect([String(fields.nodes!.type), String(fields.edges!.type)]).toEqual([`[${node}!]!`, `[${base}Edge!]!`]);
      expect(String(fields.pageInfo!.type)).toBe('PageInfo!');
      expect(String(fields.totalCount?.type)).toBe(node === 'LogLine' ? 'undefined' : 'Int!');
      return node;
    });
    expect(new Set(nodes).size).toBe(nodes.length);
  });

  it('should take first, after, last and before everywhere, and be nullable', () => {
    const lists = objects.flatMap((type) => fieldsOf(type).filter(isConnection));
    expect(lists.length).toBeGreaterThanOrEqual(12);
    for (const { name, type, args } of lists) {
      const paging = Object.fromEntries(args.map((arg) => [arg.name, String(arg.type)]));
      expect(paging, name).toMatchObject({ first: 'Int', after: 'String', last: 'Int', before: 'String' });
      expect(String(type), name).not.toMatch(/!$/);
    }
  });
});

it('should give every result union one member for success, and errors beside it', () => {
  for (const type of types) {
    if (!isUnionType(type) || !type.name.endsWith('Result')) continue;
    const successes = type.getTypes().filter(({ name }) => !name.endsWith('Error'));
    expect(successes.map(String), type.name).toHaveLength(1);
  }
});

it('should fix the runtime of an environment at its creation', () => {
  expect(Object.keys(inputFields('EnvironmentCreateInput'))).toContain('runtime');
  expect(Object.keys(inputFields('EnvironmentUpdateInput'))).not.toContain('runtime');
});

it('should let every creating mutation take an idempotencyKey', () => {
  for (const name of ['Organization', 'Environment', 'Stack', 'Deployment'])
    expect(String(inputFields(`${name}CreateInput`).idempotencyKey?.type), name).toBe('String');
});

it('should have the defaults of the contract', () => {
  const defaults = (name: string) =>
    Object.fromEntries(
      Object.values(inputFields(name)).flatMap((it) =>
        it.defaultValue === undefined ? [] : [[it.name, it.defaultValue]],
      ),
    );
  expect(defaults('AuthLoginInput')).toEqual({ rememberMe: false });
  expect(defaults('AuthLogoutInput')).toEqual({ everywhere: false });
  expect(defaults('OrganizationInviteInput')).toEqual({ role: 'DEVELOPER' });
  expect(defaults('EnvironmentCreateInput')).toEqual({ type: 'DEVELOPMENT', runtime: 'PROCESS' });
  expect(defaults('DeploymentCreateInput')).toMatchObject({ autoRollback: true, healthTimeoutSeconds: 120 });
});
