import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeEventCursor,
  decodeLogCursor,
  encodeEventCursor,
  encodeLogCursor,
  InvalidCursorError,
} from './cursor.ts';

describe('log cursors', () => {
  it('should lead back to the sequence they were made of', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.maxSafeNat(), (deploymentId, sequence) => {
        const cursor = encodeLogCursor(deploymentId, sequence);
        expect(cursor).toMatch(/^[\w-]+$/);
        expect(decodeLogCursor(cursor, deploymentId)).toBe(sequence);
      }),
    );
  });

  it('should be refused for another deployment', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.uuid(), fc.maxSafeNat(), (one, other, sequence) => {
        fc.pre(one !== other);
        expect(() => decodeLogCursor(encodeLogCursor(one, sequence), other)).toThrow(InvalidCursorError);
      }),
    );
  });

  it('should be refused when they are garbage', () => {
    const deploymentId = '0193a000-0000-7000-8000-000000000000';
    const valid = encodeLogCursor(deploymentId, 7);
    const garbage = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.string({ minLength: 1 }).map((tail) => valid + tail),
      fc.nat(valid.length - 1).map((length) => valid.slice(0, length)),
    );
    fc.assert(
      fc.property(garbage, (cursor) => {
        expect(() => decodeLogCursor(cursor, deploymentId)).toThrow(InvalidCursorError);
      }),
    );
    const beyond = Buffer.from(valid, 'base64url').fill(0xff, 17).toString('base64url');
    expect(() => decodeLogCursor(beyond, deploymentId)).toThrow('not one of this deployment');
  });
});

describe('event cursors', () => {
  it('should lead back to their sequence, and be refused for another organization', () => {
    fc.assert(
      fc.property(fc.uuid(), fc.uuid(), fc.maxSafeNat(), (one, other, sequence) => {
        fc.pre(one !== other);
        const cursor = encodeEventCursor(one, sequence);
        expect(decodeEventCursor(cursor, one)).toBe(sequence);
        expect(() => decodeEventCursor(cursor, other)).toThrow(InvalidCursorError);
      }),
    );
  });

  it('should be none of a log, nor the other way round', () => {
    const id = '0193a000-0000-7000-8000-000000000000';
    expect(() => decodeLogCursor(encodeEventCursor(id, 7), id)).toThrow('not one of this deployment');
    expect(() => decodeEventCursor(encodeLogCursor(id, 7), id)).toThrow('not one of this organization');
  });
});
