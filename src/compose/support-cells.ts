/**
 * `yes`: honoured. `info`: without meaning there. `warning`: not honoured, and what happens instead. `error`: refused, since its
 * loss would change what was asked for. `rules`: honoured within limits that the notes tell and rules of their own check.
 */
export type SupportLevel = 'yes' | 'rules' | 'info' | 'warning' | 'error';

/** What happens, as a sentence; empty for "yes". `neutral`: values that ask for nothing beyond what happens anyway. */
export type Cell = [level: SupportLevel, note?: string, neutral?: readonly string[]];

export const TRUE = ['true', 'yes', 'on', 'y', 't', '1'] as const;
export const FALSE = ['false', 'no', 'off', 'n', 'f', '0'] as const;
export const ONE_FILE = 'A stack is this one file: files beside it are not available.';
export const FROM_FILES = 'Its text stands under the top-level "x-windflow: { files: … }".';

export function under(prefix: string, cells: Record<string, Cell>): Record<string, Cell> {
  return Object.fromEntries(Object.entries(cells).map(([key, cell]) => [prefix + key, cell]));
}

/** Keys of a text that are all simply honoured. */
export function honoured(prefix: string, keys: string): Record<string, Cell> {
  return Object.fromEntries(keys.split(' ').map((key) => [prefix + key, ['yes']]));
}
