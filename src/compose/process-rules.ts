import { argvOf, type PortMapping } from './model.ts';
import type { Place } from './place.ts';
import { checkMounts } from './process-mounts.ts';
import { checkPeers } from './process-peers.ts';
import type { ServiceReading } from './service.ts';
import type { StackReading } from './stack.ts';

const FIRST_UNPRIVILEGED_PORT = 1024;
const SHELLS = new Set(['sh', 'bash', 'dash', 'ash', 'zsh', 'ksh', 'busybox']);

/** The rules of the runtime PROCESS that a table of keys cannot say. */
export function checkProcess(stack: StackReading): void {
  for (const reading of stack.services.values()) {
    checkProgram(reading);
    checkPorts(reading);
    checkMounts(reading);
    checkModes(reading);
    checkHealth(reading);
  }
  checkPeers(stack);
}

function checkProgram({ model, place }: ServiceReading): void {
  const argv = argvOf(model);
  const [program] = argv;
  for (const key of ['image', 'build'] as const) {
    const at = place.get(key);
    if (!at.exists) continue;
    if (!program) {
      const message =
        key === 'image'
          ? `The runtime PROCESS runs no images, and the service "${model.name}" has no command: there is nothing to run.`
          : `The runtime PROCESS builds nothing, and the service "${model.name}" has no command: there is nothing to run.`;
      at.error(`process-${key}`, message, 'Give it a "command" whose program is on the host.');
    } else {
      const what = key === 'image' ? 'The image is not used' : 'Nothing is built';
      at.warning(`process-${key}`, `${what}: the runtime PROCESS runs the command with the programs of the host.`);
    }
  }
  if (!SHELLS.has(program?.split('/').at(-1) ?? '') && !argv.some((word) => /^-\w*[ce]$/.test(word))) {
    for (const key of ['entrypoint', 'command'] as const) place.get(key).itemsOrOne().forEach(checkDollar);
  }
}

/** A "$" that is still there was written as "$$", for a shell to expand. */
function checkDollar(word: Place): void {
  if (!/\$\{?[A-Z_]/.test(word.resolvedText() ?? '') || !word.quote().includes('$$')) return;
  const message = `In ${word.quote()}, the program gets the name of a variable, not its value: no shell runs the command.`;
  word.warning('command-variable', message, 'Let a shell run it: ["/bin/sh", "-c", "exec …"].');
}

function checkPorts({ model, place, ports }: ServiceReading): void {
  let former: Place | null = null;
  for (const { port, place: at } of ports) {
    // A range is one entry of the file: what holds for its first port is said once.
    if (at !== former) checkPort(port, at);
    former = at;
  }
  const first = model.ports[0]?.published;
  const own = model.environment.PORT;
  if (first && own && /^\d+$/.test(own) && Number(own) !== first) {
    const message = `PORT is set to another port than ${first}, the published one that the process has to listen on.`;
    place.get('environment').warning('process-port', message, 'Remove PORT: it is given to the service anyway.');
  }
}

function checkPort({ target, published, publishedEnd, hostIp }: PortMapping, at: Place): void {
  const hint = `Have it listen on the port in PORT or PORT_${target}.`;
  if (hostIp !== null && hostIp !== '0.0.0.0' && hostIp !== '::') {
    const message = `The process itself chooses the address that it listens on: ${hostIp} is not enforced.`;
    at.warning('process-port', message, `Have the program listen on ${hostIp}.`);
  }
  if (published === null || publishedEnd !== null) {
    const message = `The process has to listen on a port that is chosen when it is deployed, not on ${target}.`;
    at.info('process-port', message, hint);
  } else if (published !== target) {
    const message = `The process has to listen on ${published}, the published port; nothing listens on ${target}.`;
    at.warning('process-port', message, hint);
  }
  if (published !== null && published < FIRST_UNPRIVILEGED_PORT) {
    const message = `Services run without the rights of root: many hosts let them listen from ${FIRST_UNPRIVILEGED_PORT} on only, not on ${published}.`;
    at.warning('process-port-privileged', message, `Publish a port from ${FIRST_UNPRIVILEGED_PORT} on.`);
  }
}

function checkModes({ place }: ServiceReading): void {
  const network = place.get('network_mode');
  const mode = network.resolvedText();
  if (mode === 'none') {
    network.error('key-unsupported', 'The runtime PROCESS cannot cut a service off: it has the network of the host.');
  } else if (mode && mode !== 'host') {
    network.warning('key-ignored', 'The runtime PROCESS gives all services the network of the host.', 'Remove it.');
  }
  const deploy = place.get('deploy', 'mode');
  const kind = deploy.resolvedText();
  if (kind === 'replicated-job' || kind === 'global-job') {
    deploy.error('key-unsupported', 'The runtime PROCESS has no jobs.', 'Use a service with restart: "no".');
  } else if (kind === 'global') {
    deploy.warning('key-ignored', 'There is one host: the service has as many replicas as are asked for there.');
  } else if (kind && kind !== 'replicated') {
    deploy.error('deploy-mode-invalid', `${deploy.quote()} is not a mode of deployment: replicated or global.`);
  }
}

function checkHealth({ model, place }: ServiceReading): void {
  const check = place.get('healthcheck');
  if (check.isMap && !model.healthcheck && !check.get('test').exists && !check.get('disable').exists) {
    check.warning('process-health', 'Without a "test" nothing is checked: there is no image that brings one.');
  }
}
