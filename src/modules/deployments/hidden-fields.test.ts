import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandHoldsSecret, hideSecrets, MAX_SHOWN_LENGTH, MAX_SHOWN_TOTAL } from './hidden-fields.ts';

const fieldsOf = (before: string | null, after: string | null, ...secrets: string[]) =>
  hideSecrets([{ service: 'web', action: 'RECREATE', fields: [{ path: 'command', before, after }] }], [secrets])[0]!
    .fields[0]!;

describe('secrets in the fields of a plan', () => {
  it.each([
    ['old-secret', 'new-secret', '(secret)', '(secret, changed)'],
    [null, 'new-secret', null, '(secret)'],
    ['plain', 'new-secret', 'plain', '(secret)'],
    ['old-secret', null, '(secret)', null],
    ['old-secret', 'plain', '(secret)', 'plain'],
    ['a old-secret', 'b old-secret', 'a (secret)', 'b (secret)'],
    ['["x","old-secret"]', '["x","new-secret"]', '["x","(secret)"]', '["x","(secret, changed)"]'],
    ['old-secret', 'old-secret and new-secret', '(secret)', '(secret) and (secret, changed)'],
  ])('should show %s → %s as %s → %s', (before, after, shownBefore, shownAfter) => {
    expect(fieldsOf(before, after, 'old-secret', 'new-secret')).toMatchObject({
      before: shownBefore,
      after: shownAfter,
    });
  });

  it('should hide a secret in a path, in JSON and in other forms, and a longer one that holds a shorter one', () => {
    const secret = 'line "one"\nline two!';
    const [change] = hideSecrets(
      [{ service: 'web', action: 'CREATE', fields: [{ path: `files["/${secret}"]`, before: null, after: null }] }],
      [[secret]],
    );
    expect(change!.fields[0]!.path).toBe('files["/(secret)"]');
    expect(fieldsOf(null, JSON.stringify([secret]), secret).after).toBe('["(secret)"]');
    expect(fieldsOf(null, Buffer.from('my-secret-value').toString('base64'), 'my-secret-value').after).not.toContain(
      'bXkt',
    );
    expect(fieldsOf(null, 'my-secret-value', 'my-secret', 'my-secret-value').after).toBe('(secret)');
  });

  it('should show no secret, whatever is around it', () => {
    const text = fc.string({ maxLength: 30 });
    fc.assert(
      fc.property(
        fc.string({ minLength: 8, maxLength: 40 }),
        text,
        text,
        fc.boolean(),
        (secret, start, end, inList) => {
          fc.pre(!'(secret, changed)*'.includes(secret));
          const value = start + secret + end;
          const field = fieldsOf(value, inList ? JSON.stringify([value]) : value, secret);
          for (const shown of [field.before!, field.after!]) {
            const rest = shown.replaceAll('(secret)', '\0').replaceAll('(secret, changed)', '\0');
            expect(rest).not.toContain(secret);
          }
        },
      ),
    );
  });

  it.each([
    ['correct horse battery staple', '["server","--password","correct","horse","battery","staple"]'],
    ['correct horse battery staple', '["server","--password=correct","horse","battery","staple"]'],
    ['ab"cd"efgh', '["server","abcdefgh"]'],
    ["it's a quote", '["server","its","a","quote"]'],
    ['a b c d e f', '["server","a","b","c","d","e","f"]'],
  ])('should hide %s in a command that was split into words: %s', (secret, command) => {
    const { after } = fieldsOf(null, command, secret);
    expect(after).toContain('server');
    for (const word of secret.replace(/["']/g, '').split(' '))
      expect(after).not.toMatch(word.length < 3 ? new RegExp(`"${word}"`) : word);
    expect(commandHoldsSecret(command, secret)).toBe(true);
    expect(commandHoldsSecret('["server"]', secret)).toBe(false);
  });

  it('should be quick where a secret stands very often, and bound the whole', () => {
    const often = 'a-secret-value '.repeat(200_000);
    const field = { path: 'files.x', before: often.replaceAll('value', 'other'), after: often };
    const fields = Array.from({ length: 2_000 }, (_, index) => ({
      ...field,
      path: `files.${index}`,
      before: null,
      after: 'x'.repeat(3_000),
    }));
    const [change] = hideSecrets(
      [{ service: 'web', action: 'RECREATE', fields: [field, ...fields] }],
      [['a-secret-value'], ['a-secret-other']],
    );
    expect(JSON.stringify(change)).not.toContain('a-secret');
    expect(JSON.stringify(change).length).toBeLessThan(MAX_SHOWN_TOTAL * 1.2);
    expect(change!.fields.at(-1)).toEqual({
      path: '…',
      before: null,
      after: expect.stringMatching(/^1,\d+ more fields$/),
    });
  });

  it('should cut what is too long after hiding, at a whole character', () => {
    const secret = 'secret-at-the-border';
    const { after } = fieldsOf(null, `${'x'.repeat(MAX_SHOWN_LENGTH - 5)}${secret}${'y'.repeat(100)}`, secret);
    expect(after).not.toContain('secret-at');
    expect(after).toContain('characters)');
    expect(fieldsOf(null, `${'x'.repeat(MAX_SHOWN_LENGTH - 1)}😀`).after!.isWellFormed()).toBe(true);
  });
});
