import { readFileSync } from 'node:fs';
import { buildSchema, parse, validate } from 'graphql';
import { expect, it } from 'vitest';
import { SETTING_NAMES } from '../../src/config.ts';
import { example, readmeOperations } from '../support/readme.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const readme = read('README.md');

it('should have one line in its table for each setting, and for nothing else', () => {
  const documented = [...readme.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, name]) => name!);
  expect(documented.toSorted()).toEqual(SETTING_NAMES.toSorted());
});

it('should only have operations that the schema knows', () => {
  const schema = buildSchema(read('schema/schema.graphql'));
  const operations = readmeOperations();
  expect(operations.length).toBeGreaterThanOrEqual(8);
  for (const operation of operations) expect(validate(schema, parse(operation)), operation).toEqual([]);
});

it('should store examples/hello as it is', () => {
  const compose = readmeOperations().find((operation) => operation.includes('stackCreate'))!;
  const [, text] = compose.split('"""');
  expect(text!.trim()).toBe(example('hello').trim());
});

it('should only link to files that are there', () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path!);
  for (const link of new Set(links))
    expect(() => readFileSync(new URL(`../../${link}`, import.meta.url)), link).not.toThrow(/ENOENT/);
});
