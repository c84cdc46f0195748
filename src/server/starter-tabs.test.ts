import { parse, validate } from 'graphql';
import { expect, it } from 'vitest';
import { schema } from '../graphql/schema.ts';
import { STARTER_TABS } from './starter-tabs.ts';

it('should hold operations that the schema takes', () => {
  for (const { query, headers } of STARTER_TABS) {
    expect(validate(schema, parse(query)), query).toEqual([]);
    if (headers) expect(JSON.parse(headers)).toHaveProperty('Authorization');
  }
});
