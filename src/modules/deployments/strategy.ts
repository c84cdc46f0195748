import type { DeploymentStrategy, RuntimeKind } from '../../db/generated/prisma/enums.ts';
import { ValidationError } from '../../shared/errors.ts';
import type { ObservedInstance } from './observation.ts';
import { planChanges } from './plan.ts';
import type { ReleaseService, ReleaseSpecs } from './release.ts';

const STRATEGIES: Record<RuntimeKind, readonly DeploymentStrategy[]> = {
  PROCESS: ['RECREATE'],
  DOCKER: ['RECREATE', 'ROLLING', 'BLUE_GREEN'],
  SWARM: [],
  KUBERNETES: [],
};

/** Throws a ValidationError that names what the runtime supports. */
export function requireStrategy(runtime: RuntimeKind, strategy: DeploymentStrategy | null | undefined): void {
  const supported = STRATEGIES[runtime];
  if (strategy && !supported.includes(strategy))
    throw ValidationError.field(
      'strategy',
      `the runtime ${runtime} supports ${supported.join(', ')}: choose one, or leave it out`,
    );
}

/** Whether old and new instances of a service run side by side for a while. */
export function coexists(strategy: DeploymentStrategy): boolean {
  return strategy !== 'RECREATE';
}

/** Why a service's old and new instances cannot run side by side, as a clause; one for each service that the release would replace. */
export function obstacles(next: ReleaseSpecs, running: readonly ObservedInstance[]): string[] {
  const replaced = new Set(
    planChanges(next, running).flatMap(({ service, action }) => (action === 'RECREATE' ? [service] : [])),
  );
  return next.services.flatMap((service) => {
    const former = running.filter((instance) => instance.service === service.name);
    const why = replaced.has(service.name) ? (obstacleOf(service) ?? movedPort(service, former)) : null;
    return why === null ? [] : [`service ${service.name} ${why}`];
  });
}

function obstacleOf({ replicas: [first] }: ReleaseService): string | null {
  if (!first) return null;
  const { container, ports } = first;
  if (!container) return 'is no container';
  if (container.containerName !== null) return `has the fixed container_name ${container.containerName}`;
  if (ports.some(({ protocol }) => protocol === 'udp')) return 'publishes a UDP port';
  if (ports.length > 0 && !container.behindIngress) return 'publishes a port without "x-windflow: { ingress: true }"';
  if (container.networkMode !== null && container.networkMode !== 'bridge' && container.networkMode !== 'none')
    return `has the network_mode ${container.networkMode}`;
  if (container.networks.some(({ ipv4Address, ipv6Address }) => ipv4Address ?? ipv6Address))
    return 'has a fixed address';
  const written = container.mounts.find(({ type, readOnly }) => type !== 'tmpfs' && !readOnly);
  return written ? `writes to ${written.target}, which allows one writer` : null;
}

/** The ingress has one target for a port. */
function movedPort({ replicas: [first] }: ReleaseService, running: readonly ObservedInstance[]): string | null {
  const before = running.flatMap(({ spec }) => spec.ports);
  const moved = first?.ports.find((port) =>
    before.some(({ published, target }) => published === port.published && target !== port.target),
  );
  return moved ? `publishes ${moved.published} for another port of its own than before` : null;
}

/** In whole sentences what keeps a strategy from being used, and what to do about it. */
export function refusal(strategy: DeploymentStrategy, why: readonly string[]): string {
  return `${strategy} is not possible: ${why.join(', ')}; deploy with RECREATE, or leave the strategy out`;
}
