import { normalize } from 'node:path/posix';
import { EnvFilesBudget } from './env-files-budget.ts';
import type { Place } from './place.ts';
import { didYouMean } from './spelling.ts';

/** The key at the top of a file under which a stack brings its files along: `x-windflow: { files: { path: text } }`. */
export const EXTENSION = 'x-windflow';

/** `ingress`: see StackModel. */
const KEYS = ['files', 'ingress'];
/** Files of one folder that a build or a bind mount is given. */
export const MAX_FOLDER_FILES = 1000;

const HINT = `Put its text under the top-level "${EXTENSION}: { files: { path: text } }".`;

/** The files that a stack brings along: a path means the same with and without "./". */
export class InlineFiles {
  readonly #files = new Map<string, Place>();
  readonly #used = new Set<string>();
  readonly #kept = new Map<string, string>();
  readonly #folders = new Map<string, Record<string, string>>();
  #sorted: string[] | null = null;
  /** Of all env files that services read, each time that one does. */
  readonly budget = new EnvFilesBudget();

  constructor(top: Place) {
    const extension = top.get(EXTENSION);
    if (extension.exists && !extension.isMap) extension.error('inline-file-invalid', `"${EXTENSION}" is a mapping.`);
    for (const [key, place] of extension.entries()) {
      if (KEYS.includes(key)) continue;
      place.warning(
        'key-ignored',
        `There is no key "${key}" in "${EXTENSION}".`,
        didYouMean(key, () => KEYS),
      );
    }
    const files = extension.get('files');
    if (files.exists && !files.isMap)
      files.error('inline-file-invalid', '"files" maps the path of each file to its text.');
    for (const [path, place] of files.entries()) this.#add(path, place);
  }

  #add(path: string, place: Place): void {
    const name = normalize(path);
    if (place.isMap || place.isList) {
      place.error('inline-file-invalid', `The text of the file "${path}" is missing.`, `Write it as "${path}: |".`);
    } else if (this.#files.has(name)) {
      place.error('inline-file-invalid', `The file "${name}" stands here twice.`);
    } else {
      this.#files.set(name, place);
    }
  }

  /** The text of the file that `at` names; null, with an ERROR unless `required` is false, where there is none. */
  read(at: Place, required = true): string | null {
    const path = at.resolvedText();
    if (path === null) return null;
    const name = normalize(path);
    const file = this.#files.get(name);
    if (file) {
      this.#used.add(name);
      return file.text() ?? '';
    }
    if (required) {
      const suggestion = didYouMean(name, () => this.#files.keys(), HINT);
      at.error('file-missing', `There is no file ${at.quote()}: a stack is this one file.`, suggestion);
    }
    return null;
  }

  /** The text of a file, if there is one; reports nothing. */
  find(path: string): string | null {
    const name = normalize(path);
    const file = this.#files.get(name);
    if (!file) return null;
    this.#used.add(name);
    const text = file.text() ?? '';
    this.#kept.set(name, text);
    return text;
  }

  /** What `find` and `folder` found: the texts of others are part of what they were read for. */
  kept(): Record<string, string> {
    return Object.fromEntries([...this.#kept].sort());
  }

  /** The files of a folder and its folders, by path relative to it: "." is all of them. One more than MAX_FOLDER_FILES at most. */
  folder(path: string): Record<string, string> {
    const name = normalize(path).replace(/\/$/, '');
    const known = this.#folders.get(name);
    if (known) return known;
    const prefix = name === '.' ? '' : `${name}/`;
    this.#sorted ??= [...this.#files.keys()].filter((file) => !/^(?:\/|\.\.(?:\/|$))/.test(file)).sort();
    const found: [string, string][] = [];
    for (let at = firstFrom(this.#sorted, prefix); this.#sorted[at]?.startsWith(prefix); at++) {
      const file = this.#sorted[at]!;
      found.push([file.slice(prefix.length), this.find(file) ?? '']);
      if (found.length > MAX_FOLDER_FILES) break;
    }
    const files = Object.fromEntries(found);
    this.#folders.set(name, files);
    return files;
  }

  reportUnused(): void {
    for (const [name, place] of this.#files) {
      if (!this.#used.has(name)) place.info('unused', `No service reads the file "${name}".`, 'Remove it.');
    }
  }
}

/** The first index of a sorted list whose text is not before this one: there may be many folders, and many files. */
function firstFrom(sorted: readonly string[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < text) low = middle + 1;
    else high = middle;
  }
  return low;
}
