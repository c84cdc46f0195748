import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { storableJson } from './ledger.ts';

const NOT_STORABLE = '\0\ud800\udfff\udbff\udc00';

describe('storableJson', () => {
  it('should be the JSON of whatever PostgreSQL can store', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary', maxDepth: 2 }), (value) => {
        fc.pre(!JSON.stringify(value).includes('\\u0000'));
        expect(JSON.parse(storableJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('should have nothing in it that PostgreSQL refuses, and be as long as it was', () => {
    const unit = fc.constantFrom(...'ab"\\u0d8/é😀', ...NOT_STORABLE, '\\u0000', '\\ud800');
    fc.assert(
      fc.property(fc.array(fc.string({ unit })), (texts) => {
        const json = storableJson(texts);
        const stored = JSON.parse(json) as string[];
        expect(stored).toEqual(texts.map((text) => text.toWellFormed().replaceAll('\0', '\ufffd')));
        expect(JSON.stringify(stored)).not.toMatch(/(^|[^\\])(\\\\)*\\u(0000|d[89a-f])/);
      }),
    );
  });

  it('should leave a backslash before such a text as what it is', () => {
    for (const text of ['\\u0000', '\\\\u0000', '\\ud800'])
      expect(JSON.parse(storableJson({ [text]: text }))).toEqual({ [text]: text });
    expect(JSON.parse(storableJson('\\\0'))).toBe('\\\ufffd');
  });
});
