import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConflictError } from '../shared/errors.ts';
import { slugText } from './input.ts';
import { insertWithSlug, slugCandidates, slugFrom } from './slug.ts';

describe('slugFrom', () => {
  it('should keep what can stand in a slug', () => {
    expect(slugFrom('Größe & Co.', 'organization')).toBe('grosse-co');
    expect(slugFrom('  Ünïcode -- Team 7 ', 'organization')).toBe('unicode-team-7');
  });

  it('should fall back where nothing is left', () => {
    expect(slugFrom('日本', 'stack')).toBe('stack');
    expect(slugFrom('!', 'stack')).toBe('stack');
  });

  it('should always make valid candidates', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 120 }), (name) => {
        for (const slug of slugCandidates(slugFrom(name, 'stack'))) expect(slugText.safeParse(slug).success).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('insertWithSlug', () => {
  const store = (used: string[]) => ({
    taken: async (slugs: string[]) => slugs.filter((slug) => used.includes(slug)),
    insert: async (slug: string) => !used.includes(slug) && used.push(slug) > 0,
    used,
  });

  it('should take the first free slug of a name', async () => {
    const { taken, insert, used } = store(['shop', 'shop-2']);
    await insertWithSlug({ name: 'Shop', fallback: 'stack' }, taken, insert);
    expect(used.at(-1)).toBe('shop-3');
  });

  it('should go on where another took the slug meanwhile', async () => {
    const { insert, used } = store(['shop']);
    await insertWithSlug({ name: 'Shop', fallback: 'stack' }, async () => [], insert);
    expect(used.at(-1)).toBe('shop-2');
  });

  it('should refuse a given slug that is taken', async () => {
    const { taken, insert } = store(['shop']);
    await expect(insertWithSlug({ slug: 'shop', name: 'Shop', fallback: 'stack' }, taken, insert)).rejects.toThrow(
      ConflictError,
    );
  });
});
