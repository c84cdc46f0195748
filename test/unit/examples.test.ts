import { expect, it } from 'vitest';
import { checkStack } from '../../src/compose/index.ts';
import { example, exampleNames } from '../support/readme.ts';

const VARIABLES = { REDIS_PASSWORD: 'long enough for a secret' };

it('should find at least the stack of the README', () => {
  expect(exampleNames()).toContain('hello');
});

it.each(exampleNames())('should accept examples/%s without a warning', (name) => {
  const { findings, model } = checkStack(example(name), { runtime: 'PROCESS', variables: VARIABLES });
  expect(findings.filter(({ severity }) => severity !== 'INFO')).toEqual([]);
  expect(model).not.toBeNull();
});
