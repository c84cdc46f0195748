import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMasker, decodeMasked, MASKED_BYTE, type Masker, SecretsTooLargeError } from './masking.ts';

const PASSWORD = 'pa$$ wörd/+"x"';
const PEM = `-----BEGIN KEY-----\n${'MIIEvQ/+'.repeat(12)}\nshort\n\tindented "line" here\n-----END KEY-----\n`;

function maskBytes(masker: Masker, bytes: Uint8Array, cuts: number[] = []): Uint8Array {
  const stream = masker.stream();
  const pieces: Uint8Array[] = [];
  let start = 0;
  let taken = 0;
  let given = 0;
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    const output = stream.push(bytes.subarray(start, cut));
    taken += cut - start;
    given += output.length;
    expect(stream.pendingInput).toBe(taken - given);
    pieces.push(new Uint8Array(output));
    start = cut;
  }
  pieces.push(stream.flush());
  return Buffer.concat(pieces);
}

const mask = (masker: Masker, text: string, cuts?: number[]) =>
  decodeMasked(maskBytes(masker, Buffer.from(text), cuts));

describe('masking', () => {
  const encodings: [string, (secret: string) => string][] = [
    ['raw', (secret) => secret],
    ['JSON', (secret) => JSON.stringify({ secret })],
    [
      'JSON of Python',
      (secret) =>
        JSON.stringify(secret).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
    ],
    ['JSON of PHP', (secret) => JSON.stringify(secret).replaceAll('/', '\\/')],
    ['encodeURIComponent', encodeURIComponent],
    ['lower-case percent encoding', (secret) => encodeURIComponent(secret).replace(/%../g, (hex) => hex.toLowerCase())],
    ['encodeURI', encodeURI],
    ['a form', (secret) => new URLSearchParams({ secret }).toString()],
    ['base64', (secret) => Buffer.from(secret).toString('base64')],
    ['base64url', (secret) => Buffer.from(secret).toString('base64url')],
    ['base64 after one byte', (secret) => Buffer.from(`:${secret}:`).toString('base64')],
    ['base64 after two bytes', (secret) => Buffer.from(`é${secret}é`).toString('base64')],
    ['wrapped base64', (secret) => Buffer.from(secret).toString('base64').replace(/.{76}/g, '$&\n')],
  ];

  it.each(encodings)('should mask a secret as %s', (_name, encode) => {
    for (const secret of [PASSWORD, PEM, 'a-simple-token_1234', 'x'.repeat(300)]) {
      const masked = mask(createMasker([secret]), `before ${encode(secret)} after`);
      expect(masked).toMatch(/^before .*\*\*\*.* after$/s);
      const rest = masked
        .replaceAll('***', '')
        .replace(/^before /, '')
        .replace(/ after$/, '');
      // What base64 leaves are characters that also hold bits of the neighbours; what JSON and forms leave is theirs.
      expect(rest.replace(/["{}[\],:]|secret=?|\s|\\n|%0[aA]/g, '').length).toBeLessThanOrEqual(9);
    }
  });

  it('should mask each longer line of a multi-line secret, however it is indented', () => {
    const masker = createMasker([PEM]);
    expect(mask(masker, '    -----BEGIN KEY-----')).toBe('    ***');
    expect(mask(masker, 'indented "line" here!')).toBe('***!');
    expect(mask(masker, 'log: "indented \\"line\\" here"')).toBe('log: "***"');
    expect(mask(masker, 'short')).toBe('short');
  });

  it('should keep the newline that follows a secret whose value ends with one', () => {
    expect(mask(createMasker(['hunter2!\n']), 'hunter2!\nnext\n')).toBe('***\nnext\n');
  });

  it('should show one *** for a contiguous masked stretch', () => {
    const masker = createMasker(['abcdefgh', 'fghijklm', 'nopqrstu']);
    expect(mask(masker, '<abcdefghijklmnopqrstu><abcdefgh abcdefgh>')).toBe('<***><*** ***>');
  });

  it('should find a secret that begins inside the beginning of another', () => {
    const masker = createMasker(['aabaaab-secret', 'baaabaaa']);
    expect(mask(masker, 'xaabaaabaaay')).toBe('xaa***y');
  });

  it('should pass everything through untouched when there are no secrets', () => {
    const masker = createMasker(['', '\n']);
    const bytes = Buffer.from([0, 255, 254, 10, 97]);
    const stream = masker.stream();
    expect(stream.push(bytes)).toBe(bytes);
    expect(stream.marks).toBe(false);
    expect(masker.maskText('anything')).toBe('anything');
  });

  it('should keep bytes that look like its own mark apart from masked ones', () => {
    const output = maskBytes(createMasker(['secret-1']), Buffer.from([97, 255, 98]));
    expect(output.includes(MASKED_BYTE)).toBe(false);
    expect(decodeMasked(output)).toBe('a\ufffdb');
  });

  it('should hold back only what may begin a masked form', () => {
    const stream = createMasker(['hunter2!']).stream();
    expect(stream.push(Buffer.from('hello hunt'))).toHaveLength(6);
    expect(stream.pendingInput).toBe(4);
    expect(stream.push(Buffer.from('er2!'))).toHaveLength(8);
    expect(stream.pendingInput).toBe(0);
  });

  it('should mask what it gives up, and the rest of the form when that comes later', () => {
    const stream = createMasker(['hunter2!']).stream();
    const output = [stream.push(Buffer.from('a hunt')), stream.release(), stream.push(Buffer.from('er2! b'))];
    expect(decodeMasked(Buffer.concat(output))).toBe('a *** b');
  });

  it('should mask of a text that was cut what may begin a secret, and go on behind the cut', () => {
    const masker = createMasker(['hunter2!', 'a…b']);
    expect(masker.maskText('said hunt… and hunter2! or hunter2!, a…b, no.…')).toBe(
      'said ***… and *** or ***, ***, no.…',
    );
    expect(masker.maskText('hunt… "hun')).toBe('***… "hun');
    expect(createMasker(['hunter2!']).maskText('cut.… here')).toBe('cut.… here');
  });

  it('should go on inside a masked stretch', () => {
    const stream = createMasker(['hunter2!']).stream(4);
    expect(decodeMasked(Buffer.concat([stream.push(Buffer.from('er2! b')), stream.flush()]))).toBe('*** b');
  });

  it('should refuse more secrets than it can look for', () => {
    const many = Array.from({ length: 40 }, (_, index) => `${index}`.padStart(4, '0').repeat(16_000));
    expect(() => createMasker(many)).toThrow(SecretsTooLargeError);
  });

  // Few different characters, so that secrets overlap each other, themselves and the text.
  const few = (minLength: number, maxLength: number) =>
    fc.string({ unit: fc.constantFrom('a', 'b', '\n', '"', '+', 'é'), minLength, maxLength });
  const core = (secret: string) => secret.replace(/^[\r\n]+|[\r\n]+$/g, '');

  it('should mask the same whatever the pieces', () => {
    fc.assert(
      fc.property(
        fc.array(few(1, 6), { maxLength: 4 }),
        few(0, 60),
        fc.array(fc.nat(), { maxLength: 8 }),
        (secrets, text, cuts) => {
          const masker = createMasker(secrets);
          expect(mask(masker, text, cuts)).toBe(mask(masker, text));
          expect(masker.maskText(text)).toBe(mask(masker, text));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('should mask exactly the bytes that a form covers', () => {
    fc.assert(
      fc.property(fc.array(few(1, 6), { minLength: 1, maxLength: 3 }), few(0, 40), (secrets, text) => {
        const bytes = Buffer.from(text);
        const covered = new Set<number>();
        for (const form of secrets.map((secret) => Buffer.from(core(secret))).filter((form) => form.length > 0)) {
          for (let at = bytes.indexOf(form); at !== -1; at = bytes.indexOf(form, at + 1)) {
            for (let index = at; index < at + form.length; index++) covered.add(index);
          }
        }
        const output = maskBytes(createMasker(secrets), bytes);
        for (const index of covered) expect(output[index]).toBe(MASKED_BYTE);
        const visible = bytes.filter((_, index) => output[index] !== MASKED_BYTE);
        expect(Buffer.from(output.filter((byte) => byte !== MASKED_BYTE)).equals(visible)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('should let no form of a secret through, in any surroundings', () => {
    const surroundings = fc.string({ maxLength: 20 });
    const secret = fc
      .string({ unit: 'grapheme', minLength: 8, maxLength: 40 })
      .filter((text) => core(text).length >= 8);
    const encode = fc.constantFrom(
      ...encodings.filter(([name]) => !name.includes('base64')).map(([, encoder]) => encoder),
    );
    fc.assert(
      fc.property(secret, surroundings, surroundings, encode, (value, before, after, encoder) => {
        const form = encoder(core(value));
        expect(mask(createMasker([value]), `${before}${form}${after}`)).not.toContain(form);
      }),
    );
  });

  describe('in every form, whatever the pieces and the surroundings', () => {
    /** Of each form: a masker is compiled for each secret. */
    const RUNS = 40;
    type Form = { name: string; of: (secret: string, around: Uint8Array) => string };
    const base64At = (alignment: number, encoding: 'base64' | 'base64url'): Form => ({
      name: `${encoding} behind ${alignment} bytes`,
      of: (secret, around) => {
        const bytes = Buffer.concat([around.subarray(0, alignment), Buffer.from(secret), around.subarray(2)]);
        // The characters whose bits are all of the secret.
        const [first, end] = [alignment, alignment + Buffer.byteLength(secret)].map((at) => (at * 8) / 6) as [
          number,
          number,
        ];
        return bytes.toString(encoding).slice(Math.ceil(first), Math.floor(end));
      },
    });
    const textForms = encodings.filter(([name]) => !name.includes('base64') && !['JSON', 'a form'].includes(name));
    const forms: Form[] = [
      ...textForms.map(([name, encode]) => ({ name, of: encode })),
      { name: 'JSON', of: (secret: string) => JSON.stringify(secret).slice(1, -1) },
      { name: 'a form', of: (secret: string) => new URLSearchParams({ '': secret }).toString().slice(1) },
      ...[0, 1, 2].flatMap((alignment) => [base64At(alignment, 'base64'), base64At(alignment, 'base64url')]),
    ].map(({ name, of }) => ({ name, of: (secret, around) => of(secret, around).replace(/^"|"$/g, '') }));
    const bytes = fc.uint8Array({ minLength: 2, maxLength: 8 });
    const around = fc.string({ unit: 'grapheme', maxLength: 20 });
    const cuts = fc.array(fc.nat(), { maxLength: 12 });
    // A JSON string's quotes are no part of it; no secret here begins or ends with one.
    const value = fc
      .string({ unit: 'grapheme', minLength: 8, maxLength: 40 })
      .filter((text) => text.isWellFormed() && !/^[\s"]|[\s"]$/.test(text));

    function expectMasked(secret: string, form: string, before: string, after: string, at: number[]): void {
      const text = Buffer.from(`${before}${form}${after}`);
      const masked = maskBytes(createMasker([secret]), text, at);
      const start = Buffer.byteLength(before);
      const inside = masked.subarray(start, start + Buffer.byteLength(form));
      expect(inside.every((byte) => byte === MASKED_BYTE)).toBe(true);
    }

    it.each(forms.map((form) => [form.name, form] as const))('should mask %s', (_name, form) => {
      fc.assert(
        fc.property(value, bytes, around, around, cuts, (secret, noise, before, after, at) => {
          expectMasked(secret, form.of(secret, noise), before, after, at);
        }),
        { numRuns: RUNS },
      );
    });

    it('should mask each longer line of a value of several lines', () => {
      const lines = fc.array(value, { minLength: 2, maxLength: 4 });
      fc.assert(
        fc.property(
          lines,
          fc.nat(),
          fc.constantFrom(...forms.slice(0, -6)),
          around,
          around,
          cuts,
          (all, nat, form, ...rest) => {
            const line = all[nat % all.length]!;
            expectMasked(all.join('\n'), form.of(line, new Uint8Array(2)), ...rest);
          },
        ),
        { numRuns: RUNS },
      );
    });
  });

  it('should leave text without secrets as it is', () => {
    const masker = createMasker(['not-in-any-random-text', PASSWORD, PEM]);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(mask(masker, text)).toBe(Buffer.from(text).toString());
      }),
    );
  });
});
