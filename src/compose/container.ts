import { readBuild } from './container-build.ts';
import type { ContainerModel, PullPolicy } from './container-model.ts';
import { readMounts } from './container-mounts.ts';
import { readNetworking } from './container-network.ts';
import { readResources, readUlimits } from './container-resources.ts';
import { readRecord, readText, readTexts, sortedRecord } from './container-values.ts';
import type { InlineFiles } from './inline-files.ts';
import type { Variables } from './interpolation.ts';
import type { VolumeMount } from './model.ts';
import type { Located } from './mounts.ts';
import type { Place } from './place.ts';
import { readSecurityOptions } from './security-options.ts';
import { parseSignal } from './units.ts';

/** What is read already, and what else a reader may look at. */
export type ContainerSources = {
  command: string[] | null;
  entrypoint: string[] | null;
  volumes: readonly Located<VolumeMount>[];
  variables: Variables | null;
  files: InlineFiles;
};

export function readContainer(service: Place, sources: ContainerSources): ContainerModel {
  const { command, entrypoint, volumes, variables, files } = sources;
  const signal = readText(service.get('stop_signal'));
  return {
    entrypoint,
    command,
    user: readText(service.get('user')),
    groupAdd: readTexts(service.get('group_add')),
    hostname: readText(service.get('hostname')),
    domainname: readText(service.get('domainname')),
    containerName: readText(service.get('container_name')),
    labels: readRecord(service.get('labels')),
    annotations: readRecord(service.get('annotations')),
    stopSignal: signal === null ? null : parseSignal(signal),
    noHealthcheck: isHealthcheckOff(service.get('healthcheck')),
    tty: service.get('tty').truth() ?? false,
    stdinOpen: service.get('stdin_open').truth() ?? false,
    init: service.get('init').truth(),
    readOnly: service.get('read_only').truth() ?? false,
    privileged: service.get('privileged').truth() ?? false,
    capAdd: readTexts(service.get('cap_add')).map(capabilityName),
    capDrop: readTexts(service.get('cap_drop')).map(capabilityName),
    securityOpt: readSecurityOptions(service.get('security_opt'), files),
    devices: readDevices(service.get('devices')),
    deviceCgroupRules: readTexts(service.get('device_cgroup_rules')),
    sysctls: readRecord(service.get('sysctls')),
    ulimits: readUlimits(service.get('ulimits')),
    resources: readResources(service),
    storageOpt: readRecord(service.get('storage_opt')),
    ...readNetworking(service),
    ipc: readText(service.get('ipc')),
    pid: readText(service.get('pid')),
    uts: readText(service.get('uts')),
    userns: readText(service.get('userns_mode')),
    cgroup: readText(service.get('cgroup')),
    cgroupParent: readText(service.get('cgroup_parent')),
    runtime: readText(service.get('runtime')),
    ...readMounts(service, volumes, files),
    volumesFrom: readTexts(service.get('volumes_from')),
    logging: readLogging(service.get('logging')),
    platform: readText(service.get('platform')),
    pullPolicy: readPullPolicy(service.get('pull_policy')),
    build: readBuild(service.get('build'), variables, files),
  };
}

/** "CAP_SYS_ADMIN" and "sys_admin" are "SYS_ADMIN". */
export function capabilityName(text: string): string {
  return text.trim().toUpperCase().replace(/^CAP_/, '');
}

function isHealthcheckOff(place: Place): boolean {
  const test = place.get('test');
  return place.get('disable').truth() === true || (test.isList && test.items()[0]?.text() === 'NONE');
}

/** "host", "host:container", "host:container:rwm", "vendor.com/class=name", or a mapping. */
function readDevices(place: Place): ContainerModel['devices'] {
  return place.items().flatMap((item) => {
    const text = item.resolvedText();
    const parts = item.isMap
      ? ['source', 'target', 'permissions'].map((key) => item.get(key).resolvedText() ?? '')
      : text?.split(':');
    if (!parts) return [];
    const [source = '', second = '', third = ''] = parts;
    const secondIsPermissions = !item.isMap && parts.length === 2 && /^[rwm]+$/.test(second);
    const [target, permissions] = secondIsPermissions ? ['', second] : [second, third];
    if (source === '' || parts.length > 3 || !/^[rwm]*$/.test(permissions)) {
      item.error('device-invalid', 'This is not a device.', 'Write it as "/dev/snd", or "/dev/ttyUSB0:/dev/tty:rwm".');
      return [];
    }
    return [{ source, target: target || source, permissions: permissions || 'rwm' }];
  });
}

/** What an engine writes unless told otherwise, and what can be read back. */
const DEFAULT_LOG_DRIVER = 'json-file';

function readLogging(place: Place): ContainerModel['logging'] {
  if (!place.isMap) return null;
  const driver = readText(place.get('driver')) ?? DEFAULT_LOG_DRIVER;
  const options = place
    .get('options')
    .entries()
    .flatMap(([name, at]) => (at.resolvedText() === null ? [] : [[name, at.resolvedText()] as [string, string]]));
  return { driver, options: sortedRecord(options) };
}

const POLICIES = new Map<string, PullPolicy>([
  ['always', 'always'],
  ['never', 'never'],
  ['missing', 'missing'],
  ['if_not_present', 'missing'],
  ['build', 'build'],
]);
const PERIODIC = /^(?:refresh|daily|weekly|every_(?:\d+[wdhms])+)$/;

function readPullPolicy(place: Place): PullPolicy {
  const text = place.resolvedText();
  if (text === null) return 'missing';
  const policy = POLICIES.get(text);
  if (policy) return policy;
  if (PERIODIC.test(text)) {
    const message = `Images are pulled when a stack is deployed: ${place.quote()} pulls at each deployment, and not in between.`;
    place.warning('pull-policy', message, 'Write "always".');
    return 'always';
  }
  const known = [...POLICIES.keys()].join(', ');
  place.error('pull-policy', `${place.quote()} is not a policy to pull images.`, `Write one of ${known}.`);
  return 'missing';
}
