import { ConflictError } from '../shared/errors.ts';
import { MAX_SLUG_LENGTH } from './input.ts';

const MIN_SLUG_LENGTH = 2;
const SUFFIX_ATTEMPTS = 100;

/** A slug out of a name: "Größe & Co." → "grosse-co"; `fallback` where nothing of it can stand in one. */
export function slugFrom(name: string, fallback: string): string {
  const slug = name
    .replaceAll('ß', 'ss')
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_SLUG_LENGTH)
    .replace(/^-+|-+$/g, '');
  return slug.length < MIN_SLUG_LENGTH ? fallback : slug;
}

/** `slug`, then `slug-2`, `slug-3` …, each within the length limit. */
export function* slugCandidates(slug: string): Generator<string> {
  yield slug;
  for (let n = 2; n <= SUFFIX_ATTEMPTS; n++) {
    const suffix = `-${n}`;
    yield `${slug.slice(0, MAX_SLUG_LENGTH - suffix.length).replace(/-+$/, '')}${suffix}`;
  }
}

/**
 * Inserts a row under the slug that was asked for, or the first free one made out of the name. `insert` answers whether the slug was free
 * (`on conflict do nothing`: a failed statement would end the transaction). Throws a ConflictError where it is taken.
 */
export async function insertWithSlug(
  wanted: { slug?: string | null; name: string; fallback: string },
  taken: (candidates: string[]) => Promise<string[]>,
  insert: (slug: string) => Promise<boolean>,
): Promise<void> {
  if (wanted.slug) {
    if (await insert(wanted.slug)) return;
    throw new ConflictError(`the slug "${wanted.slug}" is taken: choose another one, or leave it out`);
  }
  const candidates = [...slugCandidates(slugFrom(wanted.name, wanted.fallback))];
  const used = new Set(await taken(candidates));
  for (const slug of candidates) {
    if (!used.has(slug) && (await insert(slug))) return;
  }
  throw new ConflictError(`too many have a name like "${wanted.name}": give a slug of your own`);
}
