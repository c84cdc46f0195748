import type { StackModel } from './model.ts';
import { namesOf, type Place } from './place.ts';
import type { ServiceReading } from './service.ts';
import { didYouMean } from './spelling.ts';
import type { StackReading } from './stack.ts';

type Section = keyof Pick<StackModel, 'volumes' | 'networks' | 'configs' | 'secrets'>;

/** Checks that what services name is declared, that what is declared is used, and that each service has something to run. */
export function checkReferences(stack: StackReading): void {
  const used: Record<Section, Set<string>> = {
    volumes: new Set(),
    networks: new Set(['default']),
    configs: new Set(),
    secrets: new Set(),
  };
  for (const reading of stack.services.values()) {
    checkSomethingRuns(reading);
    for (const [section, name, place] of references(reading)) {
      used[section].add(name);
      if (name !== 'default' || section !== 'networks') declared(place, name, section, stack.model[section]);
    }
    for (const item of reading.place.get('build', 'secrets').items()) {
      used.secrets.add((item.isMap ? item.get('source') : item).text() ?? '');
    }
    for (const [name, place] of namesOf(reading.place.get('models'))) {
      if (!stack.top.get('models').has(name)) declared(place, name, 'models', {});
    }
  }
  reportMissingContents(stack, used);
  // A service that is left out may be the one that uses it.
  if (stack.inactive.size > 0) return;
  reportUnused(stack, used);
  stack.files.reportUnused();
}

function references({ volumes, configs, secrets, place }: ServiceReading): [Section, string, Place][] {
  const named = volumes.filter(({ mount }) => mount.type === 'volume' && mount.source !== null);
  return [
    ...named.map(({ mount, place: at }): [Section, string, Place] => ['volumes', mount.source!, at]),
    ...configs.map(({ mount, place: at }): [Section, string, Place] => ['configs', mount.source, at]),
    ...secrets.map(({ mount, place: at }): [Section, string, Place] => ['secrets', mount.source, at]),
    ...namesOf(place.get('networks')).map(([name, at]): [Section, string, Place] => ['networks', name, at]),
  ];
}

function declared(place: Place, name: string, section: string, known: Record<string, unknown>): void {
  if (Object.hasOwn(known, name)) return;
  const kind = section.slice(0, -1);
  // A name that came out of a value is quoted as it was written.
  const source = place.isMap ? place.get('source') : place;
  const shown = source.node?.kind === 'scalar' && source.exists ? source.quote() : `"${name}"`;
  const suggestion = didYouMean(name, () => Object.keys(known), `Declare it under the top-level key "${section}".`);
  place.error(`${kind}-undeclared`, `${shown} names a ${kind} that is not declared.`, suggestion);
}

function checkSomethingRuns({ model, place }: ServiceReading): void {
  if (model.image || model.hasBuild || model.command?.length || model.entrypoint?.length) return;
  if (place.get('provider').exists) return;
  const message = `The service "${model.name}" has neither an image nor a build nor a command: nothing runs.`;
  place.error('nothing-to-run', message);
}

/** A config or secret whose variable is not set matters only where a service reads it. */
function reportMissingContents({ model, top, variablesKnown }: StackReading, used: Record<Section, Set<string>>): void {
  if (!variablesKnown) return;
  for (const section of ['configs', 'secrets'] as const) {
    for (const [name, { environment, content }] of Object.entries(model[section])) {
      if (environment === null || content !== null || !used[section].has(name)) continue;
      const at = top.get(section, name, 'environment');
      at.error('variable-missing', `The variable ${at.quote()} must be set: its value is the content of "${name}".`);
    }
  }
}

function reportUnused({ top }: StackReading, used: Record<Section, Set<string>>): void {
  for (const [section, names] of Object.entries(used)) {
    for (const [name, place] of top.get(section).entries()) {
      if (!names.has(name)) place.info('unused', `No service uses "${name}" of "${section}".`, 'Remove it.');
    }
  }
}
