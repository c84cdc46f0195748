import type { Place } from './place.ts';
import { didYouMean } from './spelling.ts';
import type { StackReading } from './stack.ts';
import { parseBytes } from './units.ts';

/** Checks what only makes sense together, or not together. */
export function checkConsistency({ services, top }: StackReading): void {
  for (const { model, place } of services.values()) {
    checkNetwork(place);
    checkBuild(place, top);
    checkLimits(place);
    checkDevices(place);
    checkHosts(place);
    checkWatch(place.get('develop', 'watch'));
    if (model.replicas > 1 && place.get('container_name').exists) {
      const message = `${model.replicas} replicas cannot all have the name ${place.get('container_name').quote()}.`;
      place.get('container_name').error('container-name-conflict', message, 'Remove "container_name".');
    }
  }
  for (const [, volume] of top.get('volumes').entries()) checkExternal(volume);
}

function checkNetwork(place: Place): void {
  const [mode, networks] = [place.get('network_mode'), place.get('networks')];
  if (!mode.exists || networks.items().length + networks.entries().length === 0) return;
  mode.error('network-conflict', '"network_mode" and "networks" exclude each other.', 'Remove one of them.');
}

function checkBuild(place: Place, top: Place): void {
  const build = place.get('build');
  if (build.get('dockerfile').exists && build.get('dockerfile_inline').exists) {
    const message = '"dockerfile" and "dockerfile_inline" exclude each other.';
    build.get('dockerfile_inline').error('build-conflict', message, 'Remove one of them.');
  }
  const platform = place.get('platform').resolvedText();
  const platforms = build.get('platforms').items();
  if (platform !== null && platforms.length > 0 && platforms.every((item) => item.text() !== platform)) {
    const message = 'The platform that the service runs on is none of those that are built.';
    build.get('platforms').error('build-conflict', message, `Add ${place.get('platform').quote()} to it.`);
  }
  for (const item of build.get('secrets').items()) {
    const at = item.isMap ? item.get('source') : item;
    const name = at.resolvedText();
    if (name === null || top.get('secrets').has(name)) continue;
    const names = () =>
      top
        .get('secrets')
        .entries()
        .map(([known]) => known);
    const otherwise = 'Declare it under the top-level key "secrets".';
    at.error(
      'secret-undeclared',
      `${at.quote()} names a secret that is not declared.`,
      didYouMean(name, names, otherwise),
    );
  }
}

/** The old key of a limit, and its place under "deploy.resources". */
const LIMITS: [key: string, section: string, name: string][] = [
  ['cpus', 'limits', 'cpus'],
  ['mem_limit', 'limits', 'memory'],
  ['pids_limit', 'limits', 'pids'],
  ['mem_reservation', 'reservations', 'memory'],
];

function checkLimits(place: Place): void {
  for (const [key, section, name] of LIMITS) {
    const [old, other] = [
      place.get(key).resolvedText(),
      place.get('deploy', 'resources', section, name).resolvedText(),
    ];
    if (old === null || other === null) continue;
    const amount = (text: string) => (name === 'memory' ? parseBytes(text) : Number(text));
    if (amount(old) === amount(other)) continue;
    const message = `"${key}" and "deploy.resources.${section}.${name}" differ.`;
    place.get(key).error('limits-conflict', message, 'Remove one of them.');
  }
}

function checkDevices(place: Place): void {
  const requests = [place.get('gpus'), place.get('deploy', 'resources', 'reservations', 'devices')];
  for (const request of requests.flatMap((list) => list.items())) {
    if (!request.get('count').exists || !request.get('device_ids').exists) continue;
    request.error('devices-conflict', '"count" and "device_ids" exclude each other.', 'Remove one of them.');
  }
}

function checkHosts(place: Place): void {
  for (const item of place.get('extra_hosts').items()) {
    const text = item.resolvedText();
    if (text === null || /^[^=:]+[=:]./.test(text)) continue;
    item.error('host-invalid', `${item.quote()} does not give a host an address.`, 'Write it as "name=10.0.0.5".');
  }
}

function checkWatch(watch: Place): void {
  for (const item of watch.items()) {
    const action = item.get('action').resolvedText();
    if (item.get('path').text() === '') item.get('path').error('watch-invalid', 'The path to watch is empty.');
    if (action === null || action === 'rebuild' || action === 'restart' || item.get('target').exists) continue;
    item.error(
      'watch-invalid',
      `The action ${item.get('action').quote()} needs a "target", the path inside of the service.`,
    );
  }
}

function checkExternal(volume: Place): void {
  const external = volume.get('external');
  if (external.isMap || external.resolvedText() !== 'true') return;
  for (const [key, place] of volume.entries()) {
    if (key === 'name' || key === 'external' || key.startsWith('x-') || !place.exists) continue;
    place.error('external-conflict', `A volume that exists elsewhere has no "${key}" here.`, 'Remove one of them.');
  }
}
