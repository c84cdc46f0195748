const MAX_LENGTH = 40;
/** Words that are compared: more would be a list to read, not to mistype. */
const MAX_WORDS = 1000;

/** The word that `written` was probably meant to be; null when none is near. */
export function nearest(written: string, words: Iterable<string>): string | null {
  if (written.length > MAX_LENGTH) return null;
  const limit = written.length <= 3 ? 1 : written.length <= 8 ? 2 : 3;
  let best: string | null = null;
  let bestDistance = limit + 1;
  let compared = 0;
  for (const word of words) {
    if (++compared > MAX_WORDS) break;
    if (Math.abs(word.length - written.length) >= bestDistance) continue;
    const distance = editDistance(written.toLowerCase(), word);
    if (distance < bestDistance) [best, bestDistance] = [word, distance];
  }
  return best;
}

/** "Did you mean …?", as a suggestion that is worked out when it is shown. */
export function didYouMean(
  written: string,
  words: () => Iterable<string>,
  otherwise: string | null = null,
): () => string | null {
  return () => {
    const meant = nearest(written, words());
    return meant ? `Did you mean "${meant}"?` : otherwise;
  };
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn one text into the other. */
export function editDistance(a: string, b: string): number {
  let twoAgo: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, twoAgo[j - 2]! + 1);
      row.push(cost);
    }
    twoAgo = last;
    last = row;
  }
  return last[b.length]!;
}
