import type { Place } from './place.ts';
import { parseBytes } from './units.ts';

/** One entry of a mapping or of a list of "name=value"; `value` null: none was given. */
export type Pair = { name: string; value: string | null; place: Place };

/** The entries of a mapping, or of a list whose items `separator` parts; of two with one name the later one counts. */
export function readPairs(place: Place, separator = /=/): Pair[] {
  const pairs = place.isMap
    ? place.entries().map(([name, inner]) => ({ name, value: inner.resolvedText(), place: inner }))
    : place.items().flatMap((item): Pair[] => {
        const text = item.resolvedText();
        if (text === null) return [];
        const at = text.search(separator);
        return [{ name: at < 0 ? text : text.slice(0, at), value: at < 0 ? null : text.slice(at + 1), place: item }];
      });
  const known = pairs.filter(({ name, place: at }) => name !== '' && !at.isUnresolved);
  return [...new Map(known.map((pair) => [pair.name, pair])).values()];
}

/** As readPairs, what has no value as an empty text. */
export function readRecord(place: Place): Record<string, string> {
  return sortedRecord(readPairs(place).map(({ name, value }) => [name, value ?? '']));
}

/** In the order of names: what a mapping says does not depend on the file's order. */
export function sortedRecord<T>(entries: readonly (readonly [string, T])[]): Record<string, T> {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** A text, or a list of them: each once, in the order of the file. */
export function readTexts(place: Place): string[] {
  return [...new Set(place.itemsOrOne().flatMap((item) => item.resolvedText() ?? []))];
}

export function readText(place: Place): string | null {
  return place.resolvedText() || null;
}

/** A number; null for what is none, which the check of typed values tells. */
export function readNumber(place: Place): number | null {
  const text = place.resolvedText()?.trim();
  return text && Number.isFinite(Number(text)) ? Number(text) : null;
}

/** "64m", or a number of bytes; null as for readNumber. */
export function readSize(place: Place): number | null {
  const text = place.resolvedText();
  if (text === null) return null;
  return parseBytes(text) ?? (/^-\d+$/.test(text) ? Number(text) : null);
}

/** Whether something stands in the file, and is not an empty list or mapping. */
export function isGiven(place: Place): boolean {
  return place.exists && (place.node?.kind === 'scalar' || place.items().length + place.entries().length > 0);
}
