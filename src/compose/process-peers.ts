import type { Place } from './place.ts';
import type { StackReading } from './stack.ts';

/** "my-db" is told to its peers as MY_DB_HOST and MY_DB_PORT: this gives "MY_DB". */
export function peerVariablePrefix(service: string): string {
  return service.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_');
}

const IN_URL = /:\/\/(?:[^\s/@]*@)?([A-Za-z0-9][A-Za-z0-9._-]*)/g;
const WITH_PORT = /(?:^|[\s,;=@("'])([A-Za-z0-9][A-Za-z0-9._-]*):\d{2,5}(?!\d)/g;
const AS_HOST = /\bhost(?:name)?=([A-Za-z0-9][A-Za-z0-9._-]*)/gi;
const HOST_VARIABLE = /HOST|SERVER|ADDR|URL|URI|ENDPOINT|BROKER|UPSTREAM/i;

/** Says where a value uses the name of another service as a host: such names do not resolve for a process. */
export function checkPeers(stack: StackReading): void {
  const names = new Set(stack.services.keys());
  const configs = new Map(Object.entries(stack.model.configs));
  // A text may be long and mounted by every service.
  const namedIn = new Map<string, string[]>();
  const namedInConfig = (source: string) => {
    const known = namedIn.get(source);
    if (known) return known;
    const content = configs.get(source)?.content;
    const named = content ? hostsIn(content).filter((name) => names.has(name)) : [];
    namedIn.set(source, named);
    return named;
  };
  for (const { model, place } of stack.services.values()) {
    const told = new Set<string>();
    const tell = (hosts: string[], at: Place) => {
      for (const name of hosts) {
        if (name === model.name || !names.has(name) || told.has(name)) continue;
        told.add(name);
        const prefix = peerVariablePrefix(name);
        const message = `"${name}" is used as the name of a host here, and does not resolve: it runs on this host, like every service.`;
        at.info('process-peer', message, `The service is told the address in ${prefix}_HOST and ${prefix}_PORT.`);
      }
    };
    for (const [name, value] of Object.entries(model.environment)) {
      if (value === null) continue;
      const at = place.get('environment').isMap ? place.get('environment', name) : place.get('environment');
      tell(hostsIn(HOST_VARIABLE.test(name) ? `host=${value} ${value}` : value), at);
    }
    for (const key of ['entrypoint', 'command'] as const) {
      for (const word of model[key] ?? []) tell(hostsIn(word), place.get(key));
    }
    for (const word of model.healthcheck?.argv ?? []) tell(hostsIn(word), place.get('healthcheck', 'test'));
    for (const { source } of model.configs) {
      tell(namedInConfig(source), stack.top.get('configs', source, 'content'));
    }
  }
  reportSharedPrefixes(stack);
}

function hostsIn(text: string): string[] {
  if (!/[:=]/.test(text)) return [];
  const found = [IN_URL, WITH_PORT, AS_HOST].flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => match[1]!),
  );
  return [...new Set(found)];
}

function reportSharedPrefixes({ services }: StackReading): void {
  const owners = new Map<string, string>();
  for (const [name, { place }] of services) {
    const prefix = peerVariablePrefix(name);
    const owner = owners.get(prefix);
    if (owner) {
      const message = `"${owner}" and "${name}" would both be told to other services as ${prefix}_HOST.`;
      place.error('process-peer', message, 'Rename one of them.');
    }
    owners.set(prefix, owner ?? name);
  }
}
