import { namesOf, type Place } from './place.ts';
import { impliedDependencies, type ServiceReading } from './service.ts';
import { didYouMean } from './spelling.ts';
import type { StackReading } from './stack.ts';

/** Cycles that are told one by one, and services that are named in each. */
const MAX_CYCLES = 10;
const MAX_NAMED = 12;

/** `imagesBringHealth`: whether an image may have a health check of its own. */
export function checkDependencies(stack: StackReading, imagesBringHealth: boolean): void {
  for (const reading of stack.services.values()) {
    const dependencies = new Map(reading.model.dependsOn.map((dependency) => [dependency.service, dependency]));
    for (const [name, at] of dependencyPlaces(reading.place)) {
      const dependency = dependencies.get(name);
      const target = stack.services.get(name);
      if (!dependency || (stack.inactive.has(name) && !dependency.required)) continue;
      if (!target) reportAbsent(name, at, stack);
      else if (dependency.condition === 'service_healthy') checkHealth(target, at, imagesBringHealth);
      else if (dependency.condition === 'service_completed_successfully') checkEnd(target, at);
    }
  }
  reportCycles(stack);
}

function dependencyPlaces(place: Place): [string, Place][] {
  const implied = impliedDependencies(place).map(({ service, place: at }): [string, Place] => [service, at]);
  return [...namesOf(place.get('depends_on')), ...implied];
}

function reportAbsent(name: string, at: Place, { services, inactive }: StackReading): void {
  if (inactive.has(name)) {
    const suggestion = 'Activate its profile, or write "required: false" for it.';
    at.error('dependency-inactive', `The service "${name}" that this waits for is in no active profile.`, suggestion);
    return;
  }
  // A name that came out of a value is quoted as it was written.
  const shown = at.path.at(-1) === name ? `"${name}"` : at.quote();
  at.error(
    'dependency-undefined',
    `There is no service ${shown} to wait for.`,
    didYouMean(name, () => services.keys()),
  );
}

function checkHealth({ model, place }: ServiceReading, at: Place, imagesBringHealth: boolean): void {
  if (model.healthcheck) return;
  const message = `This waits until "${model.name}" is healthy, but "${model.name}" has no health check`;
  const suggestion = `Give "${model.name}" a healthcheck, or wait with service_started.`;
  const hasImage = imagesBringHealth && (model.image !== null || model.hasBuild);
  if (hasImage && !place.get('healthcheck').exists) {
    at.warning('dependency-health', `${message} here: its image must bring one.`);
  } else {
    at.say(hasImage ? 'WARNING' : 'ERROR', 'dependency-health', `${message}.`, suggestion);
  }
}

function checkEnd({ model }: ServiceReading, at: Place): void {
  if (model.restart.name !== 'always' && model.restart.name !== 'unless-stopped') return;
  const message = `This waits until "${model.name}" has completed, but "${model.name}" is started again whenever it ends.`;
  at.warning('dependency-endless', message, `Set restart: "no" or on-failure for "${model.name}".`);
}

function reportCycles({ services }: StackReading): void {
  const done = new Set<string>();
  const open: string[] = [];
  let told = 0;

  function visit(name: string): void {
    const reading = services.get(name);
    if (!reading || done.has(name)) return;
    open.push(name);
    for (const { service } of reading.model.dependsOn) {
      const start = open.indexOf(service);
      if (start < 0) visit(service);
      else if (told++ < MAX_CYCLES) reportCycle([...open.slice(start), service], reading);
    }
    open.pop();
    done.add(name);
  }

  for (const name of [...services.keys()].sort()) visit(name);
}

function reportCycle(circle: string[], { place }: ServiceReading): void {
  const last = circle.at(-1)!;
  const shown = circle.length <= MAX_NAMED ? circle : [...circle.slice(0, MAX_NAMED - 2), '…', last];
  const message = `These services wait for each other: ${shown.join(' → ')}.`;
  const at = dependencyPlaces(place).find(([name]) => name === last)?.[1] ?? place;
  at.error('dependency-cycle', message, 'Remove one of these dependencies.');
}
