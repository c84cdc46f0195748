import { readFileSync } from 'node:fs';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { type ComposeNode, type MapNode, toValue } from './document.ts';
import type { Path, Position, Report } from './finding.ts';
import { nearest } from './spelling.ts';

const MAX_SCHEMA_ERRORS = 5_000;

let compiled: ValidateFunction | undefined;

function validator(): ValidateFunction {
  if (compiled) return compiled;
  const schema = JSON.parse(readFileSync(new URL('./compose-spec.json', import.meta.url), 'utf8'));
  delete schema.$schema;
  // An inline secret is ours: the specification has inline content for configs only.
  schema.definitions.secret.properties.content = { type: 'string' };
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: false, allowUnionTypes: true, logger: false });
  // Ajv compares each item with each other one; a file of 1 MiB holds too many for that.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: (wanted: boolean, items: unknown[]) =>
      !wanted || new Set(items.map((item) => JSON.stringify(item))).size === items.length,
    error: { message: 'must not have the same item twice' },
  });
  compiled = ajv.compile(schema);
  return compiled;
}

/** Checks a tree against the Compose Specification's JSON schema. Returns whether it has the right shape. */
export function checkSchema(root: MapNode, report: Report): boolean {
  const validate = validator();
  if (validate(toValue(root))) return true;
  const errors = meaningful((validate.errors ?? []).slice(0, MAX_SCHEMA_ERRORS));
  let right = true;
  for (const error of errors) {
    const found = locate(root, error.instancePath);
    if (found.unresolved) continue;
    const isRepeated = error.keyword === 'uniqueItems' && REPEATABLE.has(String(found.path.at(-1)));
    if (!isRepeated) right = false;
    explain(error, found, report);
    if (error.keyword === 'type' || error.keyword === 'enum') report.refuse(found.path);
  }
  return right;
}

/** Lists in which an item may stand twice, and counts once, as other tools have it. */
const REPEATABLE = new Set(
  'additional_contexts aliases annotations args cap_add cap_drop configs devices dns dns_opt dns_search env_file environment expose extra_hosts labels link_local_ips links ports profiles secrets sysctls tags tmpfs volumes'.split(
    ' ',
  ),
);

type Located = { node: ComposeNode; path: Path; position: Position; unresolved: boolean };

function locate(root: MapNode, pointer: string): Located {
  let node: ComposeNode = root;
  let position = root.position;
  const path: (string | number)[] = [];
  for (const escaped of pointer.split('/').slice(1)) {
    const key = escaped.replaceAll('~1', '/').replaceAll('~0', '~');
    if (node.kind === 'map') {
      const entry: { key: Position; value: ComposeNode } | undefined = node.entries.get(key);
      if (!entry) break;
      path.push(key);
      position = entry.key;
      node = entry.value;
    } else if (node.kind === 'list') {
      const item: ComposeNode | undefined = node.items[Number(key)];
      if (!item) break;
      path.push(Number(key));
      position = item.position;
      node = item;
    }
  }
  return { node, path, position, unresolved: node.kind === 'scalar' && node.unresolved };
}

/**
 * A failed choice ("oneOf") gives an error for each of its branches. Where one branch fits the value's type, its own errors
 * say more; where none does, the branches' types make one sentence.
 */
function meaningful(errors: ErrorObject[]): ErrorObject[] {
  const byPath = Map.groupBy(errors, (error) => error.instancePath);
  const parents = new Set<string>();
  for (const path of byPath.keys()) {
    for (let end = path.lastIndexOf('/'); end >= 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      if (parents.has(parent)) break;
      parents.add(parent);
      if (end === 0) break;
    }
  }
  return [...byPath].flatMap(([path, own]) => {
    const choice = own.some((error) => error.keyword === 'oneOf' || error.keyword === 'anyOf');
    if (!choice) return own;
    const telling = own.filter((error) => !['oneOf', 'anyOf', 'type'].includes(error.keyword));
    if (telling.length > 0) return telling;
    if (parents.has(path)) return [];
    const types = [...new Set(own.filter((error) => error.keyword === 'type').flatMap((error) => error.params.type))];
    const [first] = own;
    return first && types.length > 0 ? [{ ...first, keyword: 'type', params: { type: types } }] : own;
  });
}

const TYPE_NAMES: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  null: 'empty',
};

function explain(error: ErrorObject, found: Located, report: Report): void {
  const { path, position } = found;
  const name = typeof path.at(-1) === 'string' ? `"${path.at(-1)}"` : 'This item';
  if (error.keyword === 'additionalProperties') {
    unknownKey(error, found, report);
  } else if (error.keyword === 'type') {
    const message = `${name} must be ${oneOf(wantedTypes(error))}, not ${kindOf(found.node)}.`;
    report.add('ERROR', 'schema-type', message, { path, position, suggestion: quoting(error, found) });
  } else if (error.keyword === 'required') {
    const message = `${path.length > 0 ? name : 'The file'} lacks "${error.params.missingProperty}".`;
    report.add('ERROR', 'schema-required', message, { path, position });
  } else if (error.keyword === 'enum') {
    const allowed: string[] = error.params.allowedValues.map(String);
    const written = found.node.kind === 'scalar' ? found.node.source : '';
    const meant = nearest(written, allowed);
    const suggestion = meant ? `Did you mean "${meant}"?` : null;
    report.add('ERROR', 'schema-value', `${name} must be ${oneOf(allowed)}.`, { path, position, suggestion });
  } else if (error.keyword === 'minimum' || error.keyword === 'maximum') {
    const bound = `at ${error.keyword === 'minimum' ? 'least' : 'most'} ${error.params.limit}`;
    report.add('ERROR', 'schema-value', `${name} must be ${bound}.`, { path, position });
  } else if (error.keyword === 'uniqueItems') {
    const severity = REPEATABLE.has(String(path.at(-1))) ? 'WARNING' : 'ERROR';
    report.add(severity, 'schema-duplicate', `${name} has the same item twice.`, { path, position });
  } else if (error.keyword !== 'oneOf' && error.keyword !== 'anyOf') {
    report.add('ERROR', 'schema-value', `${name} ${error.message ?? 'has a value that is not allowed'}.`, {
      path,
      position,
    });
  } else {
    report.add('ERROR', 'schema-value', `${name} has none of the forms that are allowed here.`, { path, position });
  }
}

function wantedTypes(error: ErrorObject): string[] {
  const types = [error.params.type].flat() as string[];
  const known = new Set(types.includes('number') ? types.filter((type) => type !== 'integer') : types);
  return [...known].map((type) => TYPE_NAMES[type] ?? type);
}

function oneOf(choices: string[]): string {
  return choices.length < 2 ? (choices[0] ?? '') : `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`;
}

function kindOf(node: ComposeNode): string {
  if (node.kind !== 'scalar') return node.kind === 'list' ? 'a list' : 'a mapping';
  if (node.value === null) return 'empty';
  return TYPE_NAMES[typeof node.value] ?? 'that';
}

function quoting(error: ErrorObject, { node, path }: Located): string | null {
  const types = [error.params.type].flat() as string[];
  if (!types.includes('string') || node.kind !== 'scalar' || node.value === null) return null;
  const isDuration = typeof node.value === 'number' && DURATIONS.has(String(path.at(-1)));
  return isDuration ? `Write it with its unit: "${node.source}s".` : `Put it in quotes: "${node.source}".`;
}

const DURATIONS = new Set([
  'interval',
  'timeout',
  'start_period',
  'start_interval',
  'stop_grace_period',
  'delay',
  'monitor',
  'window',
]);

/** Keys that are often written one level too high, and where they belong. */
const ELSEWHERE: Record<string, string> = {
  replicas: 'deploy.replicas',
  resources: 'deploy.resources',
  limits: 'deploy.resources.limits',
  placement: 'deploy.placement',
  restart_policy: 'deploy.restart_policy',
  update_config: 'deploy.update_config',
  test: 'healthcheck.test',
  interval: 'healthcheck.interval',
  retries: 'healthcheck.retries',
  start_period: 'healthcheck.start_period',
  dockerfile: 'build.dockerfile',
  context: 'build.context',
};

function unknownKey(error: ErrorObject, found: Located, report: Report): void {
  const key: string = error.params.additionalProperty;
  const path = [...found.path, key];
  const entry = found.node.kind === 'map' ? found.node.entries.get(key) : undefined;
  const position = entry?.key ?? found.position;
  const parent = error.parentSchema as { properties?: Record<string, unknown>; patternProperties?: object } | undefined;
  const known = Object.keys(parent?.properties ?? {});
  if (known.length === 0) {
    const message = `The name "${key}" is not allowed: letters, digits, ".", "_" and "-" make a name.`;
    report.add('ERROR', 'name-invalid', message, { path, position });
    return;
  }
  const where = found.path.length === 0 ? 'at the top of a compose file' : `in "${found.path.join('.')}"`;
  const message = `There is no key "${key}" ${where}.`;
  report.add('ERROR', 'key-unknown', message, {
    path,
    position,
    suggestion: () => hint(key, found, entry?.value, known),
  });
}

function hint(key: string, found: Located, value: ComposeNode | undefined, known: string[]): string | null {
  const meant = nearest(key, known);
  if (meant) return `Did you mean "${meant}"?`;
  const isService = found.path.length === 2 && found.path[0] === 'services';
  if (isService && Object.hasOwn(ELSEWHERE, key)) return `It belongs under "${ELSEWHERE[key]}".`;
  const looksLikeService =
    value?.kind === 'map' && ['image', 'build', 'command'].some((name) => value.entries.has(name));
  if (found.path.length === 0 && looksLikeService) return `Indent "${key}" under "services:".`;
  return 'Remove it, or begin its name with "x-" if it is meant for another tool.';
}
