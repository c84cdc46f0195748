import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  type YAMLMap,
} from 'yaml';
import { type Finding, type Path, type Position, Report } from './finding.ts';

/** A compose file may have this many bytes of UTF-8. */
export const MAX_COMPOSE_BYTES = 1024 * 1024;
/** YAML tokens in a file: what keeps parsing well under a second. */
export const MAX_TOKENS = 200_000;
/** Values in a file, after aliases and merge keys were expanded. */
export const MAX_NODES = 100_000;
/** Characters of all values and keys, after aliases and merge keys were expanded. */
export const MAX_EXPANDED_LENGTH = 4 * 1024 * 1024;
export const MAX_DEPTH = 64;
/** As YAML has it for keys without "?". */
const MAX_KEY_LENGTH = 1024;
const MAX_SYNTAX_ERRORS = 20;

/** A value of the file with its place. `source` is what stands in the file, before interpolation: safe to quote in messages. */
export type ScalarNode = {
  kind: 'scalar';
  value: string | number | boolean | null;
  source: string;
  /** Written without quotes. */
  plain: boolean;
  /** Holds a variable whose value is not known yet: `value` is still the source. */
  unresolved: boolean;
  position: Position;
};
export type ListNode = { kind: 'list'; items: ComposeNode[]; position: Position };
export type MapNode = { kind: 'map'; entries: Map<string, MapEntry>; position: Position };
export type MapEntry = { key: Position; value: ComposeNode };
export type ComposeNode = ScalarNode | ListNode | MapNode;

/** A compose file as a tree with positions: aliases and merge keys expanded, nothing interpolated. */
export type ComposeDocument = { root: MapNode };

/** Reads YAML into a tree with positions. The document is null when an ERROR makes it unreadable. */
export function parseCompose(text: string): { document: ComposeDocument | null; findings: Finding[] } {
  const report = new Report();
  const document = readDocument(text, report);
  return { document, findings: report.findings() };
}

/** As parseCompose, into a report of the caller's. */
export function readDocument(text: string, report: Report): ComposeDocument | null {
  const start = { line: 1, column: 1 };
  if (Buffer.byteLength(text) > MAX_COMPOSE_BYTES) {
    const size = Buffer.byteLength(text).toLocaleString('en-US');
    const limit = MAX_COMPOSE_BYTES.toLocaleString('en-US');
    report.add('ERROR', 'file-too-large', `The file has ${size} bytes; a compose file may have ${limit}.`);
    return null;
  }
  if (!tokensWithinLimit(text)) {
    const limit = MAX_TOKENS.toLocaleString('en-US');
    report.add('ERROR', 'file-too-complex', `The file has more than ${limit} YAML tokens, the limit.`);
    return null;
  }
  const lines = new LineCounter();
  const documents = withoutStackTraces(() =>
    parseAllDocuments(text, {
      lineCounter: lines,
      uniqueKeys: false,
      stringKeys: true,
      prettyErrors: false,
      resolveKnownTags: false,
      logLevel: 'error',
    }),
  );
  const document = Array.isArray(documents) ? documents[0] : undefined;
  if (!document || document.contents === null || !Array.isArray(documents)) {
    report.add('ERROR', 'file-empty', 'The file is empty: a compose file names its services under "services:".', {
      position: start,
    });
    return null;
  }
  if (!reportSyntax(document, lines, report)) return null;
  if (documents.length > 1) {
    const position = positionAt(lines, documents[1]?.range?.[0] ?? 0);
    report.add('ERROR', 'several-documents', 'The file holds several YAML documents; a compose file is one.', {
      position,
      suggestion: 'Remove the "---" and what follows it.',
    });
    return null;
  }
  const root = new TreeReader(document, lines, report).read();
  if (!root) return null;
  if (root.kind !== 'map') {
    const message = 'A compose file is a mapping with "services:" at its top, not a list or a single value.';
    report.add('ERROR', 'not-a-mapping', message, { position: root.position });
    return null;
  }
  return { root };
}

function tokensWithinLimit(text: string): boolean {
  let count = 0;
  for (const _ of new Lexer().lex(text)) if (++count > MAX_TOKENS) return false;
  return true;
}

/** The parser makes an Error object for each of up to a million syntax errors: their stack traces cost seconds. */
function withoutStackTraces<T>(work: () => T): T {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return work();
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function positionAt(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

function reportSyntax(document: Document.Parsed, lines: LineCounter, report: Report): boolean {
  for (const error of document.errors.slice(0, MAX_SYNTAX_ERRORS)) {
    const tooDeep = error.message.includes('call stack');
    const message = tooDeep ? TOO_DEEP : `This is not valid YAML: ${error.message.replace(/[.\s]+$/, '')}.`;
    const suggestion = error.code === 'TAB_AS_INDENT' ? 'Indent with spaces; YAML allows no tabs there.' : null;
    const rule = tooDeep ? 'too-deep' : 'yaml-syntax';
    report.add('ERROR', rule, message, { position: positionAt(lines, error.pos[0]), suggestion });
    if (tooDeep) return false;
  }
  for (const warning of document.warnings.slice(0, MAX_SYNTAX_ERRORS)) {
    const message = `${warning.message.replace(/[.\s]+$/, '')}: the tag has no effect here.`;
    report.add('WARNING', 'yaml-tag', message, { position: positionAt(lines, warning.pos[0]) });
  }
  return document.errors.length === 0;
}

const TOO_DEEP = `The file is nested too deeply; ${MAX_DEPTH} levels are the limit.`;

class RefusedError extends Error {}

/** Turns the parser's nodes into ours. Counts what it makes, so that an alias bomb ends early. */
class TreeReader {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #report: Report;
  readonly #anchors = new Map<string, Node>();
  readonly #targets = new Map<Node, Node>();
  readonly #open = new Set<Node>();
  #nodes = 0;
  #length = 0;
  #expanding = 0;

  constructor(document: Document.Parsed, lines: LineCounter, report: Report) {
    this.#document = document;
    this.#lines = lines;
    this.#report = report;
  }

  read(): ComposeNode | null {
    try {
      return this.#node(this.#document.contents, { line: 1, column: 1 }, []);
    } catch (error) {
      if (error instanceof RefusedError) return null;
      throw error;
    }
  }

  #refuse(rule: string, message: string, position: Position, path: Path): never {
    this.#report.add('ERROR', rule, message, { position, path });
    throw new RefusedError();
  }

  #node(node: unknown, fallback: Position, path: Path): ComposeNode {
    const parsed = node as Node | null;
    const position = parsed?.range ? positionAt(this.#lines, parsed.range[0]) : fallback;
    if (++this.#nodes > MAX_NODES) {
      const limit = MAX_NODES.toLocaleString('en-US');
      const message = `The file has more than ${limit} values once its aliases are expanded, the limit.`;
      this.#refuse('file-too-complex', message, position, path);
    }
    if (path.length > MAX_DEPTH) this.#refuse('too-deep', TOO_DEEP, position, path.slice(0, 8));
    if (isAlias(parsed)) return this.#alias(parsed, position, path);
    this.#anchor(parsed);
    if (isMap(parsed)) return this.#inside(parsed, () => this.#map(parsed, position, path));
    if (isSeq(parsed)) {
      const items = () => parsed.items.map((item, index) => this.#node(item, position, [...path, index]));
      return this.#inside(parsed, () => ({ kind: 'list', items: items(), position }));
    }
    const scalar = isScalar(parsed) ? parsed : null;
    const value = scalarValue(scalar?.value);
    const source = scalar?.source ?? (value === null ? '' : String(value));
    this.#count(source.length, position, path);
    return { kind: 'scalar', value, source, plain: scalar?.type === 'PLAIN', unresolved: false, position };
  }

  #count(characters: number, position: Position, path: Path): void {
    this.#length += characters;
    if (this.#length <= MAX_EXPANDED_LENGTH) return;
    const limit = MAX_EXPANDED_LENGTH.toLocaleString('en-US');
    const message = `The file has more than ${limit} characters once its aliases are expanded, the limit.`;
    this.#refuse('file-too-large', message, position, path);
  }

  #inside<T>(node: Node, read: () => T): T {
    this.#open.add(node);
    const result = read();
    this.#open.delete(node);
    return result;
  }

  /** Anchors are met in the order of the text, and an alias means the nearest one before it. */
  #anchor(node: Node | null): void {
    if (this.#expanding === 0 && node && 'anchor' in node && node.anchor) this.#anchors.set(node.anchor, node);
  }

  #alias(alias: Alias, position: Position, path: Path): ComposeNode {
    const name = alias.source;
    const target = this.#targets.get(alias) ?? this.#anchors.get(name);
    if (!target) this.#refuse('yaml-alias', `There is no anchor &${name} before this alias.`, position, path);
    if (this.#open.has(target)) {
      this.#refuse('yaml-alias', `The alias *${name} lies inside of what it stands for.`, position, path);
    }
    this.#targets.set(alias, target);
    this.#expanding++;
    const node = this.#node(target, position, path);
    this.#expanding--;
    return node;
  }

  #map(map: YAMLMap, position: Position, path: Path): MapNode {
    const entries = new Map<string, MapEntry>();
    const merges: { value: ComposeNode; key: Position }[] = [];
    for (const pair of map.items as Pair<Node, Node>[]) {
      const scalar = isScalar(pair.key) ? pair.key : null;
      const name = scalar ? String(scalar.value ?? '') : '';
      const key = pair.key?.range ? positionAt(this.#lines, pair.key.range[0]) : position;
      this.#anchor(scalar);
      if (name === '<<' && scalar?.type === 'PLAIN') {
        if (merges[0]) {
          const message = `"<<" stands here twice; line ${merges[0].key.line} has it too.`;
          const suggestion = 'Merge several mappings with one list: "<<: [*a, *b]".';
          this.#report.add('ERROR', 'key-duplicate', message, { position: key, path: [...path, name], suggestion });
        }
        merges.push({ value: this.#node(pair.value, key, path), key });
        continue;
      }
      if (name.length > MAX_KEY_LENGTH) {
        this.#refuse('key-too-long', `A key may have ${MAX_KEY_LENGTH} characters; this one has more.`, key, path);
      }
      this.#count(name.length, key, path);
      const inner = [...path, name];
      if (name === '__proto__') this.#refuse('key-reserved', 'The key "__proto__" is reserved.', key, inner);
      const former = entries.get(name);
      if (former) {
        const message = `"${name}" stands here twice; line ${former.key.line} has it too.`;
        this.#report.add('ERROR', 'key-duplicate', message, { position: key, path: inner });
      }
      const value = this.#node(pair.value, key, inner);
      if (!former) entries.set(name, { key, value });
    }
    for (const merge of merges) this.#merge(entries, merge.value, merge.key, path);
    return { kind: 'map', entries, position };
  }

  #merge(into: Map<string, MapEntry>, value: ComposeNode, position: Position, path: Path): void {
    const sources = value.kind === 'list' ? value.items : [value];
    for (const source of sources) {
      if (source.kind !== 'map') {
        const message = '"<<" merges mappings: an alias of a mapping, or a list of such aliases.';
        this.#report.add('ERROR', 'yaml-merge', message, { position, path });
      } else {
        for (const [key, entry] of source.entries) if (!into.has(key)) into.set(key, entry);
      }
    }
  }
}

function scalarValue(value: unknown): ScalarNode['value'] {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number') return value;
  return String(value);
}

/** The tree as plain JSON-able data. */
export function toValue(node: ComposeNode): unknown {
  if (node.kind === 'scalar') return node.value;
  if (node.kind === 'list') return node.items.map(toValue);
  return Object.fromEntries([...node.entries].map(([key, entry]) => [key, toValue(entry.value)]));
}
