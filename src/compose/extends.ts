import {
  type ComposeNode,
  type ListNode,
  MAX_EXPANDED_LENGTH,
  MAX_NODES,
  type MapEntry,
  type MapNode,
  type ScalarNode,
} from './document.ts';
import type { Report } from './finding.ts';
import { Place } from './place.ts';
import { didYouMean } from './spelling.ts';

/** Keys that the extending service's value replaces as a whole; of healthcheck, "test". */
const REPLACED = new Set(['command', 'entrypoint', 'test']);
/** One text or a list of them: all of them count. */
const SEQUENCES = new Set(['env_file', 'dns', 'dns_search', 'tmpfs']);
/** Lists that stand for a mapping, and what parts key and value. */
const KEYED = new Map([
  ['environment', /=/],
  ['labels', /=/],
  ['annotations', /=/],
  ['sysctls', /=/],
  ['args', /=/],
  ['extra_hosts', /[=:]/],
]);
/** Lists of names that are the keys of the longer form. */
const NAMED = new Set(['depends_on', 'networks']);
const MOUNTS = new Set(['volumes', 'configs', 'secrets']);

/** The services with what they extend merged in, as the Compose Specification says. Only services of the same file extend. */
export function resolveExtends(services: Place, report: Report): Map<string, Place> {
  const resolved = new Map<string, MapNode | null>();
  const open: string[] = [];
  const size: Size = { nodes: 0, length: 0 };
  const fits = () => size.nodes <= MAX_NODES && size.length <= MAX_EXPANDED_LENGTH;

  function resolve(name: string): MapNode | null {
    const known = resolved.get(name);
    if (known !== undefined) return known;
    const place = services.get(name);
    const node = place.node?.kind === 'map' ? place.node : null;
    const reference = place.get('extends');
    const base = node && reference.exists ? baseOf(name, reference) : null;
    const merged = node && base && fits() ? mergeMaps(base, withoutExtends(node)) : node;
    if (merged && base && fits()) {
      measure(merged, size);
      if (!fits()) {
        const [values, characters] = [MAX_NODES, MAX_EXPANDED_LENGTH].map((limit) => limit.toLocaleString('en-US'));
        const message = `Services that extend services add up to more than ${values} values or ${characters} characters, the limits.`;
        report.add('ERROR', 'file-too-complex', message, place);
      }
    }
    resolved.set(name, merged);
    return merged;
  }

  function baseOf(name: string, reference: Place): MapNode | null {
    const file = reference.get('file');
    if (file.exists) {
      file.error(
        'file-unavailable',
        'A stack is this one file: a service of another file cannot be extended.',
        'Copy the service into this file.',
      );
      return null;
    }
    const at = reference.isMap ? reference.get('service') : reference;
    const base = at.resolvedText();
    if (base === null) return null;
    if (!services.has(base)) {
      const names = () => services.entries().map(([service]) => service);
      at.error('extends-undefined', `There is no service ${at.quote()} to extend.`, didYouMean(base, names));
      return null;
    }
    open.push(name);
    if (open.includes(base)) {
      const circle = [...open.slice(open.indexOf(base)), base].join(' → ');
      at.error('extends-cycle', `These services extend each other: ${circle}.`);
      open.pop();
      return null;
    }
    const node = resolve(base);
    open.pop();
    return node;
  }

  return new Map(
    services.entries().map(([name, place]) => {
      const node = resolve(name);
      return [name, new Place(node ?? place.node, place.path, place.position, report)];
    }),
  );
}

function withoutExtends(node: MapNode): MapNode {
  return { ...node, entries: new Map([...node.entries].filter(([key]) => key !== 'extends')) };
}

type Size = { nodes: number; length: number };

function measure(node: ComposeNode, into: Size): void {
  into.nodes++;
  if (node.kind === 'scalar') {
    into.length += String(node.value ?? '').length;
  } else if (node.kind === 'list') {
    for (const item of node.items) measure(item, into);
  } else {
    for (const [key, entry] of node.entries) {
      into.length += key.length;
      measure(entry.value, into);
    }
  }
}

function mergeMaps(base: MapNode, over: MapNode): MapNode {
  const entries = new Map<string, MapEntry>(withoutExtends(base).entries);
  for (const [key, entry] of over.entries) {
    const former = entries.get(key);
    entries.set(key, former ? { key: entry.key, value: mergeValues(key, former.value, entry.value) } : entry);
  }
  return { ...over, entries };
}

function mergeValues(key: string, base: ComposeNode, over: ComposeNode): ComposeNode {
  if (REPLACED.has(key) || key.startsWith('x-')) return over;
  if (over.kind === 'scalar' && over.value === null) return base;
  if (key === 'logging' && isOtherDriver(base, over)) return over;
  if (SEQUENCES.has(key)) return mergeLists(key, asList(base), asList(over));
  if (key === 'build' && base.kind !== over.kind) return mergeValues(key, buildAsMap(base), buildAsMap(over));
  const separator = KEYED.get(key);
  if (separator && base.kind !== 'scalar' && over.kind !== 'scalar') {
    const entries = [...asMap(base, separator).entries, ...asMap(over, separator).entries];
    return { kind: 'map', entries: new Map(entries), position: over.position };
  }
  if (NAMED.has(key) && base.kind !== over.kind && base.kind !== 'scalar' && over.kind !== 'scalar') {
    return mergeMaps(namesAsMap(base), namesAsMap(over));
  }
  if (base.kind === 'map' && over.kind === 'map') return mergeMaps(base, over);
  if (base.kind === 'list' && over.kind === 'list') return mergeLists(key, base, over);
  return over;
}

function asList(node: ComposeNode): ListNode {
  return node.kind === 'list' ? node : { kind: 'list', items: [node], position: node.position };
}

/** Options of another logging driver make no sense; one that is not named is the other's. */
function isOtherDriver(base: ComposeNode, over: ComposeNode): boolean {
  const [former, latter] = [base, over].map((node) => (node.kind === 'map' ? node.entries.get('driver') : undefined));
  return former !== undefined && latter !== undefined && scalarText(former.value) !== scalarText(latter.value);
}

function mergeLists(key: string, base: ListNode, over: ListNode): ListNode {
  const identity = (item: ComposeNode) => (MOUNTS.has(key) ? mountTarget(key, item) : fingerprint(item));
  const replaced = new Set(over.items.map(identity));
  return { ...over, items: [...base.items.filter((item) => !replaced.has(identity(item))), ...over.items] };
}

function mountTarget(key: string, item: ComposeNode): string {
  if (item.kind !== 'map') {
    const parts = scalarText(item).split(':');
    return (key === 'volumes' ? (parts[1] ?? parts[0]) : parts[0]) ?? '';
  }
  const target = item.entries.get('target') ?? item.entries.get('source');
  return target ? scalarText(target.value) : fingerprint(item);
}

function fingerprint(node: ComposeNode): string {
  if (node.kind === 'scalar') return JSON.stringify(node.value);
  if (node.kind === 'list') return `[${node.items.map(fingerprint).join()}]`;
  return `{${[...node.entries].map(([key, entry]) => `${key}:${fingerprint(entry.value)}`).join()}}`;
}

function scalarText(node: ComposeNode): string {
  return node.kind === 'scalar' ? String(node.value) : '';
}

/** "build: ./app" is "build: { context: ./app }". */
function buildAsMap(node: ComposeNode): ComposeNode {
  if (node.kind !== 'scalar') return node;
  return { kind: 'map', entries: new Map([['context', { key: node.position, value: node }]]), position: node.position };
}

function asMap(node: MapNode | ListNode, separator: RegExp): MapNode {
  if (node.kind === 'map') return node;
  const entries = new Map<string, MapEntry>();
  for (const item of node.items) {
    if (item.kind !== 'scalar') continue;
    const text = String(item.value ?? '');
    const at = text.search(separator);
    const value: ScalarNode = { ...item, value: at < 0 ? null : text.slice(at + 1), plain: false };
    entries.set(at < 0 ? text : text.slice(0, at), { key: item.position, value });
  }
  return { kind: 'map', entries, position: node.position };
}

function namesAsMap(node: MapNode | ListNode): MapNode {
  if (node.kind === 'map') return node;
  const names = node.items.filter((item) => item.kind === 'scalar');
  const empty: MapNode = { kind: 'map', entries: new Map(), position: node.position };
  const entries = names.map((item) => [String(item.value), { key: item.position, value: empty }] as const);
  return { kind: 'map', entries: new Map(entries), position: node.position };
}
