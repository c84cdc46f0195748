import type { Severity } from './finding.ts';
import type { ServiceReading } from './service.ts';
import type { StackReading } from './stack.ts';

const ANYWHERE = 'any address';

/**
 * Reports ports of the host that two services, or two replicas of one, would have to share: where there is one host. `ingress`: replicas
 * share theirs.
 */
export function checkPublishedPorts({ services }: StackReading, severity: Severity, ingress: boolean): void {
  const taken = new Map<string, Map<string, string>>();
  for (const reading of services.values()) {
    if (!ingress) checkReplicas(reading, severity);
    for (const { port, place } of reading.ports) {
      if (port.published === null || port.publishedEnd !== null) continue;
      const key = `${port.published}/${port.protocol}`;
      const owners = taken.get(key) ?? new Map<string, string>();
      taken.set(key, owners);
      const address =
        port.hostIp === null || port.hostIp === '0.0.0.0' || port.hostIp === '::' ? ANYWHERE : port.hostIp;
      const other = owners.get(ANYWHERE) ?? (address === ANYWHERE ? owners.values().next().value : owners.get(address));
      if (other !== undefined) {
        const whose = other === reading.model.name ? 'this service already' : `the service "${other}" too`;
        const message = `The port ${key} of the host is published by ${whose}.`;
        place.say(severity, 'port-duplicate', message, 'Publish another port.');
      }
      owners.set(address, other ?? reading.model.name);
    }
  }
}

function checkReplicas({ model, ports }: ServiceReading, severity: Severity): void {
  if (model.replicas < 2) return;
  for (const { port, place } of ports) {
    if (port.published === null) continue;
    const available = (port.publishedEnd ?? port.published) - port.published + 1;
    if (available >= model.replicas) continue;
    const message = `${model.replicas} replicas cannot share the published port ${port.published}.`;
    const suggestion = `Publish a range of ports, as in "8000-8010:${port.target}", or leave the published port out.`;
    place.say(severity, 'replicas-port', message, suggestion);
  }
}
