const known = new WeakMap<object, number>();

/**
 * About how many characters a JSON value has when it is written out, counted no further than `most`. Of a value that is changed afterwards
 * it may be what it was before.
 */
export function jsonLength(value: unknown, most: number = Number.POSITIVE_INFINITY): number {
  if (typeof value === 'string') return value.length + 2;
  if (typeof value !== 'object' || value === null) return 5;
  const before = known.get(value);
  if (before !== undefined) return before;
  let length = 2;
  for (const [name, entry] of Object.entries(value)) {
    length += (Array.isArray(value) ? 1 : name.length + 4) + jsonLength(entry, most - length);
    if (length > most) return length;
  }
  known.set(value, length);
  return length;
}
