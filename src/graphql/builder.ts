import SchemaBuilder from '@pothos/core';
import ComplexityPlugin from '@pothos/plugin-complexity';
import ErrorsPlugin from '@pothos/plugin-errors';
import PrismaPlugin from '@pothos/plugin-prisma';
import RelayPlugin from '@pothos/plugin-relay';
import ScopeAuthPlugin from '@pothos/plugin-scope-auth';
import SimpleObjectsPlugin from '@pothos/plugin-simple-objects';
import ValidationPlugin from '@pothos/plugin-validation';
import { getDatamodel, type default as PrismaTypes } from '../db/generated/pothos-types.ts';
import { BadRequestError, UnauthenticatedError } from '../shared/errors.ts';
import { decodeGlobalId, encodeGlobalId } from '../shared/global-id.ts';
import { validationErrorFrom } from '../shared/validation.ts';
import type { GraphQLContext } from './context.ts';
import { LIST_MULTIPLIER } from './limits.ts';
import {
  parseDateTime,
  parseJson,
  parseJsonLiteral,
  parseSafeInt,
  serializeDateTime,
  serializeSafeInt,
} from './scalars.ts';
import { viewerIndependent } from './viewer-independence.ts';

type BuilderTypes = {
  Context: GraphQLContext;
  PrismaTypes: PrismaTypes;
  DefaultFieldNullability: false;
  AuthScopes: { authenticated: boolean };
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date };
    JSON: { Input: unknown; Output: unknown };
    SafeInt: { Input: number; Output: number | bigint };
  };
};

/** The builder's types with Pothos' defaults: what refs are made of. */
export type SchemaTypes = PothosSchemaTypes.ExtendDefaultTypes<BuilderTypes>;

/**
 * The one schema builder. Root fields need a caller unless they set `skipTypeScopes: true`; roots are nullable (`nullable: true`),
 * everything else is not. Ids are plain `t.arg.id`: the service decodes them, so that a foreign one behaves as an absent one.
 */
export const builder = new SchemaBuilder<BuilderTypes>({
  plugins: [
    RelayPlugin,
    ScopeAuthPlugin,
    ErrorsPlugin,
    ComplexityPlugin,
    SimpleObjectsPlugin,
    ValidationPlugin,
    PrismaPlugin,
  ],
  defaultFieldNullability: false,
  relay: {
    clientMutationId: 'omit',
    cursorType: 'String',
    nodeQueryOptions: false,
    nodesQueryOptions: false,
    nodeTypeOptions: { description: 'An object with a global, opaque ID.' },
    idFieldOptions: { description: 'Global and opaque.' },
    pageInfoTypeOptions: { description: 'Where a page lies in its list.' },
    hasNextPageFieldOptions: { ...viewerIndependent, description: 'Whether more nodes follow the page.' },
    hasPreviousPageFieldOptions: { ...viewerIndependent, description: 'Whether there are nodes before the page.' },
    startCursorFieldOptions: {
      ...viewerIndependent,
      description: "The first node's cursor; null on an empty page.",
      nullable: true,
    },
    endCursorFieldOptions: {
      ...viewerIndependent,
      description: "The last node's cursor; null on an empty page.",
      nullable: true,
    },
    encodeGlobalID: (type, id) => encodeGlobalId(type, String(id)),
    decodeGlobalID: (globalId) => {
      const decoded = decodeGlobalId(globalId);
      if (!decoded) throw new BadRequestError('this is not an ID: give one that the API returned');
      return { typename: decoded.type, id: decoded.id };
    },
  },
  scopeAuth: {
    authorizeOnSubscribe: true,
    authScopes: (context) => ({ authenticated: context.caller !== null }),
    unauthorizedError: (_parent, context) => context.authenticationError ?? new UnauthenticatedError(),
  },
  errors: {
    directResult: true,
    unsafelyHandleInputErrors: true,
    defaultUnionOptions: { name: ({ fieldName }) => `${fieldName.charAt(0).toUpperCase()}${fieldName.slice(1)}Result` },
  },
  // Checked once an operation, before anything runs, by plugins/complexity-limit.ts.
  complexity: { disabled: true, defaultComplexity: 1, defaultListMultiplier: LIST_MULTIPLIER },
  // Runs before the authorization of its field: for inputs of public fields. Others are checked by their service.
  validation: { validationError: (failure) => validationErrorFrom(failure.issues) },
  prisma: { client: (context) => context.prisma, dmmf: getDatamodel() },
});

builder.scalarType('DateTime', {
  description: 'A point in time: ISO 8601, UTC, milliseconds. Input may have any zone.',
  serialize: serializeDateTime,
  parseValue: parseDateTime,
});
builder.scalarType('JSON', {
  description: 'Any JSON value.',
  serialize: (value) => value,
  parseValue: parseJson,
  parseLiteral: (node, variables) => parseJsonLiteral(node, variables),
});
builder.scalarType('SafeInt', {
  description: 'An integer up to 2^53 - 1, as a JSON number.',
  serialize: serializeSafeInt,
  parseValue: parseSafeInt,
});

builder.queryType({ authScopes: { authenticated: true } });
builder.mutationType({ authScopes: { authenticated: true } });
builder.subscriptionType({ authScopes: { authenticated: true } });
