import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeGlobalId, decodeIdOf, encodeGlobalId } from './global-id.ts';
import { newId } from './ids.ts';

it('should give back type and id, for its own type alone', () => {
  const id = newId();
  const globalId = encodeGlobalId('Stack', id);
  expect(decodeGlobalId(globalId)).toEqual({ type: 'Stack', id });
  expect(decodeIdOf('Stack', globalId)).toBe(id);
  expect(decodeIdOf('User', globalId)).toBeNull();
});

it('should take nothing but what it made', () => {
  fc.assert(fc.property(fc.string(), (text) => decodeGlobalId(text) === null));
  fc.assert(fc.property(fc.string(), (text) => decodeGlobalId(Buffer.from(text).toString('base64url')) === null));
  const globalId = encodeGlobalId('Stack', newId());
  for (const bad of [`${globalId}=`, ` ${globalId}`, globalId.toUpperCase(), `${globalId}A`])
    expect(decodeGlobalId(bad)).toBeNull();
});
