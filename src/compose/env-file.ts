import { type EnvFilesBudget, MAX_ENV_FILES_LENGTH, MAX_ENV_FILES_VALUES } from './env-files-budget.ts';
import { interpolate, TemplateError, TemplateLengthError, type Variables } from './interpolation.ts';

/** An env file that cannot be read: `message` says why, with the line, as a clause; it holds no value. */
export class EnvFileError extends Error {
  override name = 'EnvFileError';
  /** As a finding's. */
  readonly rule: string;

  constructor(line: number, message: string, rule = 'env-file-invalid') {
    super(`line ${line}: ${message}`);
    this.rule = rule;
  }
}

/** Values by name, null where one needs variables that are not known. `unset`: read without a value or a default. */
export type EnvFile = { values: Map<string, string | null>; unset: string[] };

/**
 * Reads an env file as the Compose Specification says: comments, quotes, `export`, values over several lines, variables in
 * what is not in single quotes. `variables` win over what stands further up in the file; null: not known yet. `earlier`: of the files
 * before this one. `raw`: each value as it stands. `budget`: shared by the files of one check. Throws EnvFileError.
 */
export function parseEnvFile(text: string, options: EnvFileOptions & { raw?: boolean }): EnvFile {
  const reader = new Reader(text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n'), options);
  return options.raw ? reader.readRaw() : reader.read();
}

type EnvFileOptions = {
  variables: Variables | null;
  earlier?: ReadonlyMap<string, string | null>;
  budget: EnvFilesBudget;
};

const NAME = /^[\p{L}\p{N}_.[\]-]+$/u;
const ESCAPES: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '"': '"',
  '\\': '\\',
  // Doubled, a dollar sign is not interpolated.
  $: '$$',
};

class Reader {
  readonly #text: string;
  readonly #variables: Variables | null;
  readonly #earlier: ReadonlyMap<string, string | null>;
  readonly #budget: EnvFilesBudget;
  readonly #file: EnvFile = { values: new Map(), unset: [] };
  #at = 0;

  constructor(text: string, options: EnvFileOptions) {
    this.#text = text;
    this.#budget = options.budget;
    this.#count(text.length);
    this.#variables = options.variables;
    this.#earlier = options.earlier ?? new Map();
  }

  read(): EnvFile {
    for (;;) {
      this.#skip(/(?:\s+|#[^\n]*)*/y);
      if (this.#at >= this.#text.length) return this.#file;
      this.#skip(/export[ \t]+/y);
      this.#entry();
    }
  }

  readRaw(): EnvFile {
    for (const line of this.#text.split('\n')) {
      const entry = line.trimStart();
      if (entry !== '' && !entry.startsWith('#')) {
        const equals = entry.indexOf('=');
        const name = equals < 0 ? entry.trimEnd() : entry.slice(0, equals);
        if (name === '' || /\s/.test(name)) throw this.#error('a name is empty or has a blank in it');
        if (equals < 0) this.#inherit(name);
        else this.#set(name, entry.slice(equals + 1));
      }
      this.#at += line.length + 1;
    }
    return this.#file;
  }

  #entry(): void {
    const [written = ''] = this.#match(/[^=:\n]*/y);
    const name = written.trimEnd();
    if (name === '') throw this.#error('a value has no name before it');
    if (!NAME.test(name)) throw this.#error('a name has characters other than letters, digits, "_", "." and "-"');
    this.#at += written.length;
    const separator = this.#text[this.#at];
    if (separator !== '=' && separator !== ':') {
      this.#inherit(name);
      return;
    }
    this.#at++;
    this.#skip(/[^\S\n]*/y);
    const quote = this.#text[this.#at];
    this.#set(name, quote === '"' || quote === "'" ? this.#quoted(quote) : this.#plain());
  }

  #plain(): string | null {
    const [line = ''] = this.#match(/[^\n]*/y);
    // A comment begins with a blank: "VALUE# not a comment".
    const value = this.#interpolated(line.replace(/(?:^|\s)#.*$/s, '').trimEnd());
    this.#at += line.length;
    return value;
  }

  #quoted(quote: string): string | null {
    const pattern = quote === '"' ? /"([^"\\]*(?:\\.[^"\\]*)*)"/sy : /'([^'\\]*(?:\\.[^'\\]*)*)'/sy;
    const [whole, inner = ''] = this.#match(pattern);
    if (whole === undefined) throw this.#error(`a ${quote} is not closed`);
    const value = quote === "'" ? inner.replaceAll("\\'", "'") : this.#interpolated(unescaped(inner));
    this.#at += whole.length;
    const [rest = ''] = this.#match(/[^\n]*/y);
    if (!/^\s*(?:#.*)?$/.test(rest)) throw this.#error('something stands behind the closing quote');
    this.#at += rest.length;
    return value;
  }

  #interpolated(template: string): string | null {
    if (!template.includes('$')) return template;
    try {
      const { text, unset, missing } = interpolate(template, (name) => this.#valueOf(name), this.#budget.characters);
      this.#count(text.length);
      const [first] = missing;
      if (first && this.#variables) throw this.#error(`the variable ${first.name} must be set: ${first.message}`);
      const needed = [...unset, ...missing.map(({ name }) => name)];
      this.#file.unset.push(...needed);
      return this.#variables || needed.length === 0 ? text : null;
    } catch (error) {
      if (error instanceof TemplateLengthError) this.#count(Number.POSITIVE_INFINITY);
      if (error instanceof TemplateError) throw this.#error(error.message);
      throw error;
    }
  }

  #inherit(name: string): void {
    const value = this.#valueOf(name);
    if (this.#variables === null) this.#set(name, null);
    else if (value !== null) this.#set(name, value);
  }

  #valueOf(name: string): string | null {
    if (this.#variables && Object.hasOwn(this.#variables, name)) return this.#variables[name]!;
    return this.#file.values.get(name) ?? this.#earlier.get(name) ?? null;
  }

  #count(characters: number): void {
    this.#budget.characters -= characters;
    if (this.#budget.characters >= 0) return;
    const limit = MAX_ENV_FILES_LENGTH.toLocaleString('en-US');
    const message = `with this one, the env files that services read have more than ${limit} characters together, the limit`;
    throw this.#error(message, 'file-too-large');
  }

  #set(name: string, value: string | null): void {
    if (--this.#budget.values < 0) {
      const limit = MAX_ENV_FILES_VALUES.toLocaleString('en-US');
      throw this.#error(`the env files give services more than ${limit} values together, the limit`, 'file-too-large');
    }
    this.#file.values.set(name, value);
  }

  #match(pattern: RegExp): RegExpExecArray | [] {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text) ?? [];
  }

  #skip(pattern: RegExp): void {
    this.#at += this.#match(pattern)[0]?.length ?? 0;
  }

  #error(message: string, rule?: string): EnvFileError {
    return new EnvFileError(this.#text.slice(0, this.#at).split('\n').length, message, rule);
  }
}

/** What a backslash means in double quotes; any other one stays. */
function unescaped(text: string): string {
  return text.replace(/\\(?:0([0-7]{1,3})|(.))/gs, (whole, octal: string | undefined, character: string) =>
    octal === undefined ? (ESCAPES[character] ?? whole) : String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
