import type { Pool } from 'pg';
import type { IngressRoute } from '../../runtimes/runtime.ts';
import { isAlive, judge } from './health.ts';
import { type InstanceRow, presentInstances, type StackHandle } from './instances.ts';
import type { ReleaseSpecs, ReplicaSpec } from './release.ts';
import type { ReleaseStore } from './release-store.ts';

/** How long connections may go on to an instance that gets no new ones. */
export const DRAIN_MS = 30_000;
/** Names of HTTP/1.1, as applications' protocols are named in compose files; TLS and HTTP/2 go through as they are. */
const HTTP = new Set(['http', 'http/1.1', 'ws']);

/**
 * Who gets new connections. `ready`: of each replica the instance that the release wants, once it is up, and until then what runs of it.
 * `former`: what the release does not bring. `own`: what the release wants, and nothing else.
 */
export type Serving = 'ready' | 'former' | 'own';

export type RouteDependencies = { pool: Pool; releases: ReleaseStore };
type Place = Pick<StackHandle, 'stack' | 'lease' | 'runtime' | 'status'>;
type Release = { deploymentId: string; specs: ReleaseSpecs };
type Candidate = { row: InstanceRow; spec: ReplicaSpec };

/**
 * Lets the stack's ingress send new connections where they belong now. Resolves when it does, with whether there are any ports for it;
 * one that has none any more is removed when nothing else serves than the release.
 */
export async function route(
  deps: RouteDependencies,
  place: Place,
  release: Release,
  serving: Serving,
): Promise<boolean> {
  const { ingress } = place.runtime;
  if (!ingress) return false;
  const candidates = await candidatesOf(deps, place);
  const wanted = release.specs.services.flatMap(({ replicas }) => replicas);
  const specs = [...wanted, ...candidates.map(({ spec }) => spec)];
  const project = specs.find(({ container }) => container)?.container?.project;
  if (project === undefined) return false;
  const served = candidates.filter((candidate) => serves(place, release, candidates, candidate, serving));
  const routes = routesOf(specs, served);
  const hasRoutes = routes.length > 0;
  if (hasRoutes || serving === 'own') await ingress.route({ ...place.stack, project }, routes, place.lease.epoch);
  return hasRoutes;
}

/** The same, and waits until connections under way to others are over, or that takes too long. */
export async function switchOver(
  deps: RouteDependencies,
  place: Place,
  release: Release,
  serving: Serving,
  signal: AbortSignal,
): Promise<void> {
  const hasRoutes = await route(deps, place, release, serving);
  if (hasRoutes) await place.runtime.ingress?.drain(place.stack, DRAIN_MS, signal);
}

/** Nothing of the stack is to be reached any more. */
export async function closeIngress({ runtime, stack, lease }: Place): Promise<void> {
  await runtime.ingress?.remove(stack, lease.epoch);
}

async function candidatesOf({ pool, releases }: RouteDependencies, { stack }: Place): Promise<Candidate[]> {
  const candidates: Candidate[] = [];
  for (const row of await presentInstances(pool, stack.id)) {
    const { specs } = await releases.read(row.releaseId);
    const spec = specs.services.find(({ name }) => name === row.service)?.replicas[row.replica - 1];
    if (spec) candidates.push({ row, spec });
  }
  return candidates;
}

function serves(
  place: Place,
  { deploymentId, specs }: Release,
  candidates: readonly Candidate[],
  { row }: Candidate,
  serving: Serving,
): boolean {
  const status = place.status(row.id);
  if (status && !isAlive(status) && status.state !== 'UNHEALTHY' && status.state !== 'RESTARTING') return false;
  const isWanted = (it: InstanceRow) => wantedSpec(specs, it) !== null;
  if (serving === 'own') return isWanted(row);
  if (serving === 'former') return row.deploymentId !== deploymentId;
  const isReady = (it: InstanceRow) => {
    const spec = wantedSpec(specs, it);
    return spec !== null && judge(spec, place.status(it.id), 'live', Date.now()).state === 'ok';
  };
  const slot = candidates.map((it) => it.row).filter((it) => it.service === row.service && it.replica === row.replica);
  return slot.some(isReady) ? isReady(row) : !isWanted(row) || slot.every(isWanted);
}

/** What the release has for the place of an instance, where that is exactly what the instance runs. */
function wantedSpec(specs: ReleaseSpecs, row: InstanceRow): ReplicaSpec | null {
  const spec = specs.services.find(({ name }) => name === row.service)?.replicas[row.replica - 1];
  return spec?.configHash === row.configHash ? spec : null;
}

/** All ports that any of them has, so that none is closed while something may still come for it. */
function routesOf(specs: readonly ReplicaSpec[], served: readonly Candidate[]): IngressRoute[] {
  const routes = new Map<string, IngressRoute & { instanceIds: string[] }>();
  const behind = ({ container, ports }: ReplicaSpec) =>
    container?.behindIngress ? ports.filter(({ protocol }) => protocol === 'tcp') : [];
  const keyOf = (service: string, { host, published, target }: IngressRoute['port']) =>
    [service, host, published, target].join('/');
  for (const spec of specs)
    for (const port of behind(spec)) {
      const key = keyOf(spec.service, port);
      if (!routes.has(key)) routes.set(key, { port, protocol: spokenAt(spec, port), instanceIds: [] });
    }
  for (const { row, spec } of served)
    for (const port of behind(spec)) routes.get(keyOf(spec.service, port))?.instanceIds.push(row.id);
  return mergedByPort([...routes.values()]);
}

/** Null: the file does not say. */
function spokenAt({ container }: ReplicaSpec, { target }: IngressRoute['port']): IngressRoute['protocol'] {
  const given = container?.appProtocols?.[target];
  if (given === undefined) return null;
  return HTTP.has(given) ? 'http' : 'tcp';
}

/** Two that would hold one published port (its target moves with the release) become one: the one that is served. */
function mergedByPort(routes: IngressRoute[]): IngressRoute[] {
  const byPort = Map.groupBy(routes, ({ port }) => `${port.host}/${port.published}`);
  return [...byPort.values()].map((same) => same.find(({ instanceIds }) => instanceIds.length > 0) ?? same[0]!);
}
