import { capabilityName } from './container.ts';
import { checkNetworkMode } from './container-network.ts';
import { checkResources } from './container-resources.ts';
import { readTexts } from './container-values.ts';
import type { ComposeNode } from './document.ts';
import { parseImageReference } from './image-reference.ts';
import type { Place } from './place.ts';
import { type Privilege, privilegesOf } from './privileges.ts';
import type { ServiceReading } from './service.ts';
import { didYouMean } from './spelling.ts';
import type { StackReading } from './stack.ts';

/** Drivers of which an engine gives back what was written. */
const READABLE_LOGS = new Set(['json-file', 'local', 'journald']);
const CAPABILITIES = new Set(
  'ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM'.split(
    ' ',
  ),
);

/** The rules of the runtime DOCKER that a table of keys cannot say. `allowed` null: privileges are not checked. */
export function checkDocker(stack: StackReading, allowed: readonly Privilege[] | null): void {
  const names = new Set(stack.services.keys());
  for (const reading of stack.services.values()) {
    const { model, place } = reading;
    checkImage(reading);
    checkCapabilities(place);
    checkNetworkMode(model.container.networkMode, place, names);
    checkNamespaces(reading, names);
    checkResources(model.container.resources, place);
    checkLogging(reading);
    checkHealth(reading);
    checkMode(place.get('deploy', 'mode'));
  }
  checkNames(stack);
  if (allowed) checkPrivileges(stack, new Set(allowed));
}

function checkImage({ model, place }: ServiceReading): void {
  const [image, build] = [place.get('image'), place.get('build')];
  if (model.image === null && !build.exists) {
    const message = `The service "${model.name}" has neither an image nor a build: there is no container to run.`;
    place.error('docker-image', message, 'Give it an "image".');
  }
  if (model.container.pullPolicy === 'build' && !build.exists) {
    const message = 'The image is to be built, and the service has no "build".';
    place.get('pull_policy').error('pull-policy', message, 'Give it one, or write "always" or "missing".');
  }
  const text = image.resolvedText();
  if (!text) return;
  const reference = parseImageReference(text);
  if (!reference) {
    const message = `${image.quote()} is not the name of an image.`;
    image.error(
      'image-invalid',
      message,
      'Write it as "name:tag", "registry.example/team/name:tag" or "name@sha256:…".',
    );
  } else if (reference.digest !== null && build.exists) {
    image.error('image-invalid', 'An image that is built cannot be given a digest beforehand.', 'Give it a tag.');
  } else if (reference.digest === null && !build.exists && (reference.tag ?? 'latest') === 'latest') {
    const message = `${image.quote()} may be another image tomorrow: a release keeps the one that it was deployed with.`;
    image.info('image-tag', message, 'Name the version that is meant.');
  }
}

function checkCapabilities(place: Place): void {
  for (const item of [...place.get('cap_add').items(), ...place.get('cap_drop').items()]) {
    const text = item.resolvedText();
    if (text === null || CAPABILITIES.has(capabilityName(text))) continue;
    const known = () => [...CAPABILITIES].map((name) => name.toLowerCase());
    const suggestion = didYouMean(capabilityName(text).toLowerCase(), known, 'Write it as "NET_ADMIN".');
    item.error('capability-unknown', `${item.quote()} is not a capability.`, suggestion);
  }
}

/** Keys of namespaces that may be those of another service, and what else an engine takes there. */
const NAMESPACES: [key: string, modes: RegExp, hint: string][] = [
  [
    'ipc',
    /^(?:host|private|shareable|none|container:.+|service:.+)$/,
    'private, shareable, none, host or "service:name"',
  ],
  ['pid', /^(?:host|private|container:.+|service:.+)$/, 'host or "service:name"'],
  ['uts', /^(?:host|private)$/, 'host'],
  ['userns_mode', /^(?:host|private)$/, 'host'],
];

function checkNamespaces({ place }: ServiceReading, names: ReadonlySet<string>): void {
  for (const [key, modes, hint] of NAMESPACES) {
    const at = place.get(key);
    const mode = at.resolvedText();
    if (!mode) continue;
    const service = /^service:(.*)$/.exec(mode)?.[1];
    if (!modes.test(mode)) {
      at.error('namespace-invalid', `${at.quote()} is not a mode of "${key}".`, `Write ${hint}, or leave it out.`);
    } else if (service !== undefined && !names.has(service)) {
      at.error(
        'namespace-invalid',
        `${at.quote()} names no service of the stack.`,
        'Name one that is deployed with it.',
      );
    }
  }
  for (const item of place.get('volumes_from').items()) {
    const text = item.resolvedText();
    if (text === null || /^(?:container:)?[^:]+(?::r[ow])?$/.test(text)) continue;
    item.error('volumes-from-invalid', `${item.quote()} names no service.`, 'Write it as "service" or "service:ro".');
  }
}

function checkLogging({ model, place }: ServiceReading): void {
  const driver = model.container.logging?.driver ?? null;
  if (driver === null || READABLE_LOGS.has(driver)) return;
  const at = place.get('logging', 'driver');
  const message = `What the logging driver ${at.quote()} is given cannot be read back: the deployment's log shows no lines of this service.`;
  at.warning('logging-unreadable', message, `Use ${[...READABLE_LOGS].join(', ')}.`);
}

function checkHealth({ model, place }: ServiceReading): void {
  const check = place.get('healthcheck');
  if (!check.isMap || model.healthcheck || model.container.noHealthcheck || check.get('test').exists) return;
  const message = 'Without a "test" nothing of this is used: the image\'s own check has times of its own.';
  check.warning(
    'docker-health',
    message,
    'Repeat the image\'s test here, as in ["CMD", "curl", "-f", "http://localhost"].',
  );
}

function checkMode(place: Place): void {
  const mode = place.resolvedText();
  if (mode === null || mode === 'replicated') return;
  if (mode === 'global') {
    place.warning('key-ignored', 'There is one engine: the service has as many replicas as are asked for there.');
  } else if (mode === 'replicated-job' || mode === 'global-job') {
    place.error('key-unsupported', 'The runtime DOCKER has no jobs.', 'Use a service with restart: "no".');
  } else {
    place.error('deploy-mode-invalid', `${place.quote()} is not a mode of deployment: replicated or global.`);
  }
}

/** Names of containers are the engine's: each is there once. */
function checkNames({ services }: StackReading): void {
  const owners = new Map<string, string>();
  for (const { model, place } of services.values()) {
    const at = place.get('container_name');
    const [name] = readTexts(at);
    if (name === undefined) continue;
    const owner = owners.get(name);
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]+$/.test(name)) {
      const message = `${at.quote()} is not a name for a container: letters, digits, "_", "." and "-", two at least.`;
      at.error('container-name-invalid', message, 'Remove "container_name".');
    } else if (owner !== undefined) {
      const message = `The service "${owner}" has the container name ${at.quote()} too.`;
      at.error('container-name-conflict', message, 'Remove "container_name".');
    }
    owners.set(name, owner ?? model.name);
  }
}

const OWNERS_ALLOW = 'An owner of the organization allows it for this environment with environmentUpdate.';

function checkPrivileges({ model, top, services }: StackReading, allowed: ReadonlySet<Privilege>): void {
  // A finding shows no value of a variable, and a use may be one.
  const known = new Map<string, boolean>();
  const comesFromVariables = (service: string, keys: string[], at: Place) => {
    const key = `${service}\n${keys.join('\n')}`;
    const found = known.get(key) ?? (holdsVariable(at.node) || holdsVariable(top.get(keys[0] ?? '').node));
    known.set(key, found);
    return found;
  };
  for (const { privilege, service, path, what } of privilegesOf(model)) {
    if (allowed.has(privilege)) continue;
    const [, , ...keys] = path.map(String);
    const at = services.get(service)?.place.get(...keys) ?? top;
    const shown = comesFromVariables(service, keys, at) ? `what "${keys.at(-1)}" gives it` : what;
    const message = `The service "${service}" asks for ${shown}: this environment does not allow "${privilege}".`;
    at.error('privilege-refused', message, OWNERS_ALLOW);
  }
}

function holdsVariable(node: ComposeNode | undefined): boolean {
  if (node?.kind === 'scalar') return node.source.includes('$');
  if (node?.kind === 'list') return node.items.some(holdsVariable);
  return node?.kind === 'map' && [...node.entries.values()].some(({ value }) => holdsVariable(value));
}
