import type { ComposeNode } from './document.ts';
import type { Path, Position, Report, Severity, Suggestion } from './finding.ts';

const QUOTED_LENGTH = 60;
const TRUE = new Set(['true', 'yes', 'y', 'on', 't', '1']);
const FALSE = new Set(['false', 'no', 'n', 'off', 'f', '0']);

/**
 * A place in the file, whether or not something stands there. Readers give null for what is absent, of another kind (the
 * schema's check has said so) or unresolved; what is of the right kind and makes no sense is reported.
 */
export class Place {
  readonly node: ComposeNode | undefined;
  readonly path: Path;
  readonly position: Position | null;
  readonly report: Report;

  constructor(node: ComposeNode | undefined, path: Path, position: Position | null, report: Report) {
    this.node = node;
    this.path = path;
    this.position = position;
    this.report = report;
  }

  /** The same place, whose findings go elsewhere. */
  reportingTo(report: Report): Place {
    return new Place(this.node, this.path, this.position, report);
  }

  get exists(): boolean {
    return this.node !== undefined && !(this.node.kind === 'scalar' && this.node.value === null);
  }

  get isMap(): boolean {
    return this.node?.kind === 'map';
  }

  get isList(): boolean {
    return this.node?.kind === 'list';
  }

  get isUnresolved(): boolean {
    return this.node?.kind === 'scalar' && this.node.unresolved;
  }

  has(key: string): boolean {
    return this.node?.kind === 'map' && this.node.entries.has(key);
  }

  get(...keys: string[]): Place {
    let place: Place = this;
    for (const key of keys) {
      const entry = place.node?.kind === 'map' ? place.node.entries.get(key) : undefined;
      place = new Place(entry?.value, [...place.path, key], entry?.key ?? place.position, this.report);
    }
    return place;
  }

  /** Key and value of each entry of a mapping. */
  entries(): [string, Place][] {
    if (this.node?.kind !== 'map') return [];
    return [...this.node.entries.keys()].map((key) => [key, this.get(key)]);
  }

  items(): Place[] {
    if (this.node?.kind !== 'list') return [];
    return this.node.items.map((item, index) => new Place(item, [...this.path, index], item.position, this.report));
  }

  /** A list's items, or a single value as a list of one. */
  itemsOrOne(): Place[] {
    return this.isList ? this.items() : this.exists ? [this] : [];
  }

  /** A scalar as text, numbers as they were written. */
  text(): string | null {
    if (this.node?.kind !== 'scalar' || this.node.value === null) return null;
    return typeof this.node.value === 'number' ? this.node.source : String(this.node.value);
  }

  /** As text(), null also where a variable is not known yet. */
  resolvedText(): string | null {
    return this.isUnresolved ? null : this.text();
  }

  /** What stands in the file, short enough for a message. */
  quote(): string {
    const source = this.node?.kind === 'scalar' ? this.node.source : '';
    const line = source.replaceAll(/\s+/g, ' ').trim();
    return `"${line.length > QUOTED_LENGTH ? `${line.slice(0, QUOTED_LENGTH)}…` : line}"`;
  }

  truth(): boolean | null {
    const text = this.resolvedText()?.toLowerCase();
    if (text === undefined) return null;
    if (TRUE.has(text)) return true;
    if (FALSE.has(text)) return false;
    this.error('boolean-invalid', `${this.quote()} is neither true nor false.`);
    return null;
  }

  whole(least: number, most: number): number | null {
    const text = this.resolvedText();
    if (text === null) return null;
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    this.error('number-invalid', `${this.quote()} is not a whole number from ${least} to ${most}.`);
    return null;
  }

  error(rule: string, message: string, suggestion?: Suggestion): void {
    this.say('ERROR', rule, message, suggestion);
  }

  warning(rule: string, message: string, suggestion?: Suggestion): void {
    this.say('WARNING', rule, message, suggestion);
  }

  info(rule: string, message: string, suggestion?: Suggestion): void {
    this.say('INFO', rule, message, suggestion);
  }

  say(severity: Severity, rule: string, message: string, suggestion?: Suggestion): void {
    if (this.report.isRefused(this.path)) return;
    this.report.add(severity, rule, message, { path: this.path, position: this.position, suggestion });
  }
}

/** The names in a list, or the keys of a mapping, each with its place. */
export function namesOf(place: Place): [string, Place][] {
  if (place.isMap) return place.entries();
  return place.items().flatMap((item): [string, Place][] => {
    const name = item.resolvedText();
    return name === null ? [] : [[name, item]];
  });
}
