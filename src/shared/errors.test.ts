import { expect, it } from 'vitest';
import { ConflictError, reasonOf, ValidationError } from './errors.ts';

it.each([
  [new ConflictError('it is taken'), 'it is taken'],
  [ValidationError.field([], 'must be an object'), 'must be an object'],
  [ValidationError.field(['input', 'n'], 'must be whole'), 'input.n: must be whole'],
  [
    new ValidationError('the input does not fit', { fields: [{ path: ['n'], message: 'must be whole' }] }),
    'the input does not fit; n: must be whole',
  ],
  [
    new ValidationError('n: must be whole', { fields: [{ path: ['n'], message: 'must be whole' }] }),
    'n: must be whole',
  ],
])('should say each thing that is wrong once', (error, reason) => {
  expect(reasonOf(error)).toBe(reason);
});
