import type { ComposeNode } from './document.ts';
import { EnvFileError, parseEnvFile } from './env-file.ts';
import type { InlineFiles } from './inline-files.ts';
import type { Variables } from './interpolation.ts';
import type { Place } from './place.ts';

type Environment = Map<string, string | null>;

/** A service's variables: of its env files, a later one wins, and of `environment`, which wins over all. */
export function readEnvironment(
  service: Place,
  variables: Variables | null,
  files: InlineFiles,
): Record<string, string | null> {
  const environment: Environment = new Map();
  for (const item of service.get('env_file').itemsOrOne()) readEnvFile(environment, item, variables, files);
  const place = service.get('environment');
  for (const [name, value] of place.entries()) {
    if (name.includes('=')) {
      value.error('environment-invalid', 'The name of a variable must not hold "=".');
      continue;
    }
    reportNumber(name, value);
    if (value.isMap || value.isList) continue;
    setVariable(environment, name, value.exists ? value.text() : null, value, variables);
  }
  for (const item of place.items()) {
    const text = item.text();
    if (text === null) continue;
    const equals = text.indexOf('=');
    if (equals < 0) setVariable(environment, text, null, item, variables);
    else setVariable(environment, text.slice(0, equals), text.slice(equals + 1), item, variables);
  }
  return Object.fromEntries(environment);
}

function setVariable(
  environment: Environment,
  name: string,
  value: string | null,
  at: Place,
  variables: Variables | null,
): void {
  // The name may come out of a variable: it is shown as it was written.
  const shown = at.isUnresolved || typeof at.path.at(-1) === 'number' ? at.quote() : name;
  if (name === '' || name.includes('\0')) {
    at.error('environment-invalid', 'An entry of the environment lacks a name.', 'Write it as "NAME=value".');
  } else if (value?.includes('\0')) {
    at.error('environment-invalid', `The value of ${shown} holds a NUL character: no program can be given one.`);
  } else if (value !== null || variables === null) {
    environment.set(name, value);
  } else if (Object.hasOwn(variables, name)) {
    setVariable(environment, name, variables[name]!, at, variables);
  } else if (!environment.has(name)) {
    at.warning('variable-unset', `${shown} has no value here, and the environment sets none: it is left out.`);
  }
}

function readEnvFile(environment: Environment, item: Place, variables: Variables | null, files: InlineFiles): void {
  const at = item.isMap ? item.get('path') : item;
  if (item.isMap && !at.exists) {
    item.error('env-file-invalid', 'This entry lacks "path", the path of the file.');
    return;
  }
  const format = item.get('format');
  const kind = format.resolvedText();
  if (kind !== null && kind !== 'raw') {
    format.error('env-file-invalid', `${format.quote()} is not a format of env files: "raw", or none.`);
    return;
  }
  const text = files.read(at, item.get('required').truth() ?? true);
  if (text === null) return;
  try {
    const options = { variables, earlier: environment, raw: kind === 'raw', budget: files.budget };
    const { values, unset } = parseEnvFile(text, options);
    for (const [name, value] of values) setVariable(environment, name, value, at, variables && {});
    for (const name of new Set(unset)) reportUnset(name, at, variables !== null);
  } catch (error) {
    if (!(error instanceof EnvFileError)) throw error;
    at.error(error.rule, `In the file ${at.quote()}, ${error.message}.`);
  }
}

function reportUnset(name: string, at: Place, known: boolean): void {
  const file = `The file ${at.quote()} reads the variable ${name}`;
  if (known) at.warning('variable-unset', `${file}, which is not set: an empty text takes its place.`);
  else at.info('variable-needed', `${file}: each environment that this is deployed to has to set it.`);
}

/** 022 and 1.10 are numbers in YAML: other tools may hand on 18 and 1.1. */
function reportNumber(name: string, place: Place): void {
  const node: ComposeNode | undefined = place.node;
  if (node?.kind !== 'scalar' || typeof node.value !== 'number' || String(node.value) === node.source) return;
  const message = `${name} is given as it is written, ${node.source}; tools that read it as a number may change it.`;
  place.info('environment-number', message, `Put it in quotes: "${node.source}".`);
}
