import { formatPath, type Path, type Severity } from './finding.ts';
import type { Place } from './place.ts';
import type { StackReading } from './stack.ts';
import { type RuntimeName, SUPPORT, type SupportRow } from './support.ts';

const ROWS = new Map(SUPPORT.map((row) => [row.key, row]));
/** Keys that hold keys of the table. */
const PARENTS = new Set(
  SUPPORT.flatMap(({ key }) =>
    [...key.matchAll(/\.|\[\]/g)].flatMap((part) => [
      key.slice(0, part.index),
      key.slice(0, part.index + part[0].length).replace(/\.$/, ''),
    ]),
  ),
);
const SEVERITIES: Record<string, Severity> = { info: 'INFO', warning: 'WARNING', error: 'ERROR' };

/**
 * Says of each key that stands in the file and is not honoured what happens instead. Without a runtime only what no runtime
 * can honour. Services of profiles that are not active are passed
 * over. `reportUnknown`: also keys that the table lacks; the schema's check may have refused them already.
 */
export function checkSupport(stack: StackReading, runtime: RuntimeName | null, reportUnknown: boolean): void {
  const walk = { runtime, reportUnknown };
  for (const [key, place] of stack.top.entries()) if (key !== 'services') visit(key, place, walk);
  for (const { place } of stack.services.values()) {
    for (const [key, inner] of place.entries()) visit(`services.*.${key}`, inner, walk);
  }
}

type Walk = { runtime: RuntimeName | null; reportUnknown: boolean };

function visit(key: string, place: Place, walk: Walk): void {
  const { runtime, reportUnknown } = walk;
  const leaf = key.split('.').at(-1) ?? '';
  if (leaf.startsWith('x-') || !place.exists) return;
  const row = ROWS.get(key);
  if (row && (row.always || runtime)) say(row, place, runtime ?? 'PROCESS');
  if (row && SEVERITIES[row.support[runtime ?? 'PROCESS'].level]) return;
  if (!PARENTS.has(key)) {
    if (!row && runtime && reportUnknown) {
      const message = `"${leaf}" is not known to the runtime ${runtime}; it is not used.`;
      place.warning('key-ignored', message);
    }
    return;
  }
  if (place.isList) for (const item of place.items()) descend(`${key}[]`, item, walk);
  else descend(key, place, walk);
}

function descend(key: string, place: Place, walk: Walk): void {
  const wildcard = PARENTS.has(`${key}.*`);
  for (const [name, inner] of place.entries()) {
    if (!wildcard) visit(`${key}.${name}`, inner, walk);
    else if (!name.startsWith('x-')) descend(`${key}.*`, inner, walk);
  }
}

function say(row: SupportRow, place: Place, runtime: RuntimeName): void {
  const { level, note, neutral } = row.support[runtime];
  const severity = SEVERITIES[level];
  if (!severity || isEmpty(place) || neutral?.includes(place.text()?.toLowerCase() ?? '')) return;
  const rule = severity === 'ERROR' ? 'key-unsupported' : 'key-ignored';
  const verb = severity === 'ERROR' ? 'cannot be honoured' : 'is not honoured';
  const subject = `"${lastKeys(place.path)}" ${verb}${row.always ? '' : ` by the runtime ${runtime}`}`;
  place.report.add(
    severity,
    rule,
    severity === 'INFO' ? `"${lastKeys(place.path)}": ${note}` : `${subject}. ${note}`,
    place,
  );
}

/** The path without the service: what the reader looks for in the line. */
function lastKeys(path: Path): string {
  return formatPath(path[0] === 'services' ? path.slice(2) : path);
}

function isEmpty(place: Place): boolean {
  return (place.isList && place.items().length === 0) || (place.isMap && place.entries().length === 0);
}
