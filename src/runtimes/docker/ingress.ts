import { setTimeout as pause } from 'node:timers/promises';
import type Docker from 'dockerode';
import { type Ingress, type IngressRoute, RuntimeError, type StackRef, StaleLeaseError } from '../runtime.ts';
import {
  epochOf,
  type IngressConfig,
  type IngressServer,
  renderConfig,
  sameConfig,
  shapeHash,
  unsettled,
} from './ingress-config.ts';
import { containerOptions, OWN_NETWORK, ownNetwork } from './ingress-container.ts';
import { IngressEngine, type LogLine } from './ingress-engine.ts';
import { CONFIG_HASH, EPOCH, INGRESS, INSTANCE, STACK } from './labels.ts';
import { Queues } from './stack-containers.ts';

const DEFAULT_NETWORK = 'bridge';
const NETWORKS_TO_JOIN_NOT = new Set(['host', 'none']);
const PROJECT = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/** How long a worker may take to begin. */
const BEGIN_MS = 30_000;
const BEGIN_POLL_MS = 50;
/** Of the master; of whoever read the configuration, which is the worker from HAProxy 3.1 on. */
const BEGAN = /\(1\) : Loading success\./;
const FAILED = /\(\d+\) : (?:Loading failure|Failed to load worker|.*Fatal errors? found)/;
const COMPLAINT = /^\[ALERT\]\s+\(\d+\) : (?:config : )?(.*)/;
const DRAIN_POLL_MS = 250;

export type IngressOptions = {
  docker: Docker;
  /** HAProxy 2.6 or newer, as a name that the engine pulls where it does not have it: "haproxy:3.2-alpine". */
  image: string;
  log: Record<'info' | 'warn', (details: object, message: string) => void>;
};

/**
 * Ingresses of one engine: an HAProxy container per stack, which goes on whatever becomes of the control plane. An instance of a route
 * that is not there is left out; one that is in no network, or in the host's, is refused with a RuntimeError.
 */
export function createIngress(options: IngressOptions): Ingress {
  return new HaproxyIngress(options);
}

type Wanted = { hash: string; config: IngressConfig; networks: Set<string>; epoch: number };
type Place = StackRef & { project: string };

class HaproxyIngress implements Ingress {
  readonly #engine: IngressEngine;
  readonly #image: string;
  readonly #log: IngressOptions['log'];
  readonly #queues = new Queues();

  constructor({ docker, image, log }: IngressOptions) {
    this.#engine = new IngressEngine(docker);
    this.#image = image;
    this.#log = log;
  }

  route(stack: Place, routes: readonly IngressRoute[], epoch: number): Promise<void> {
    return this.#queues.run(stack.id, async () => {
      if (!PROJECT.test(stack.project)) throw new RuntimeError(`no name of a project: ${stack.project}`);
      const containers = await this.#engine.containers(`${STACK}=${stack.id}`);
      const ingresses = containers.filter(({ Labels }) => Labels[INGRESS] === 'true');
      for (const ingress of ingresses) await this.#refuseStale(ingress, epoch);
      if (routes.length === 0) return ingresses.length === 0 ? undefined : await this.#removeAll(ingresses);
      const wanted = this.#wanted(routes, containers, epoch);
      const current = ingresses.find(({ Labels }) => Labels[CONFIG_HASH] === wanted.hash);
      const others = ingresses.filter((ingress) => ingress !== current);
      if (!current) await this.#replace(stack, routes, wanted, others);
      else if (current.State === 'running') await this.#reconfigure(current, wanted);
      else await this.#begin(current.Id, networksOf(current), wanted);
      for (const { Id } of others) await this.#engine.remove(Id);
    });
  }

  remove(stack: StackRef, epoch: number): Promise<void> {
    return this.#queues.run(stack.id, async () => {
      const ingresses = await this.#engine.containers(`${STACK}=${stack.id}`, `${INGRESS}=true`);
      for (const ingress of ingresses) await this.#refuseStale(ingress, epoch);
      await this.#removeAll(ingresses);
    });
  }

  async drain(stack: StackRef, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    while (!until.aborted && (await this.#hasReplacedWorkers(stack))) {
      await pause(DRAIN_POLL_MS, undefined, { signal: until }).catch(() => {});
    }
    if (!signal.aborted) await this.#queues.run(stack.id, () => this.#leaveNetworks(stack));
  }

  async #refuseStale({ Id, Labels }: Docker.ContainerInfo, epoch: number): Promise<void> {
    const seen = Math.max(Number(Labels[EPOCH]), epochOf((await this.#engine.readConfig(Id)) ?? ''));
    if (epoch < seen) throw new StaleLeaseError(`epoch ${epoch} is older than ${seen}`);
  }

  #wanted(routes: readonly IngressRoute[], containers: Docker.ContainerInfo[], epoch: number): Wanted {
    const byInstance = new Map(containers.map((container) => [container.Labels[INSTANCE], container]));
    const networks = new Set<string>();
    const served = routes.map(({ port, protocol, instanceIds }) => {
      const servers: IngressServer[] = [];
      for (const instanceId of instanceIds) {
        const container = byInstance.get(instanceId);
        if (!container) this.#log.warn({ instanceId, port: port.published }, 'an instance to route to is not there');
        else servers.push(targetOf(instanceId, container, networks));
      }
      return { port, protocol, servers };
    });
    const ports = routes.map(({ port }) => port);
    return { hash: shapeHash(this.#image, ports), config: renderConfig(served, epoch), networks, epoch };
  }

  async #reconfigure(ingress: Docker.ContainerInfo, wanted: Wanted): Promise<void> {
    const { Id: id } = ingress;
    const before = (await this.#engine.readConfig(id)) ?? '';
    await this.#join(id, networksOf(ingress), wanted.networks);
    const { fresh, resting } = wanted.config;
    if (before === resting) return;
    if (sameConfig(before, resting)) return await this.#engine.writeConfig(id, resting);
    const last = await this.#engine.lastLogTime(id);
    await this.#engine.writeConfig(id, fresh);
    try {
      await this.#engine.signal(id, 'SIGUSR2');
      await this.#began(id, last);
    } catch (error) {
      await this.#engine.writeConfig(id, unsettled(before));
      throw error;
    }
    await this.#engine.writeConfig(id, resting);
  }

  /** Starts one that does not run. */
  async #begin(id: string, joined: readonly string[], { config, networks }: Wanted): Promise<void> {
    await this.#join(id, joined, networks);
    const last = await this.#engine.lastLogTime(id);
    await this.#engine.writeConfig(id, config.fresh);
    await this.#engine.start(id);
    await this.#began(id, last);
    await this.#engine.writeConfig(id, config.resting);
  }

  /** Two cannot hold the same port: the others end before the new one starts, and start again if it does not. */
  async #replace(stack: Place, routes: readonly IngressRoute[], wanted: Wanted, others: Docker.ContainerInfo[]) {
    await this.#engine.requireImage(this.#image);
    const named = others.filter((other) => nameOf(other) !== retiredName(other));
    const running = others.filter(({ State }) => State === 'running');
    await this.#queues.run(OWN_NETWORK, async () => {
      await this.#engine.createNetwork(ownNetwork());
      let id: string | null = null;
      try {
        for (const other of named) await this.#engine.rename(other.Id, retiredName(other));
        id = await this.#engine.create(containerOptions(stack, routes, wanted, this.#image));
        for (const { Id } of running) await this.#engine.stop(Id);
        await this.#begin(id, [OWN_NETWORK], wanted);
      } catch (error) {
        if (id !== null) await this.#engine.remove(id);
        for (const other of named) await this.#engine.rename(other.Id, nameOf(other));
        for (const { Id } of running) await this.#engine.start(Id);
        throw error;
      }
    });
  }

  /** That a worker with the configuration which was written last serves. */
  async #began(id: string, after: string): Promise<void> {
    const deadline = Date.now() + BEGIN_MS;
    let lines: LogLine[] = [];
    while (Date.now() < deadline) {
      lines = await this.#engine.logSince(id, after);
      if (lines.some(({ text }) => FAILED.test(text))) break;
      if (lines.some(({ text }) => BEGAN.test(text))) return;
      await pause(BEGIN_POLL_MS);
    }
    const complaint = lines.map(({ text }) => COMPLAINT.exec(text)?.[1]).find((text) => text !== undefined);
    throw new RuntimeError(`the ingress did not take its configuration: ${complaint ?? 'it said nothing in time'}`);
  }

  async #join(id: string, joined: readonly string[], networks: ReadonlySet<string>): Promise<void> {
    for (const network of networks) if (!joined.includes(network)) await this.#engine.connect(network, id);
  }

  async #hasReplacedWorkers(stack: StackRef): Promise<boolean> {
    const ingress = await this.#running(stack);
    return ingress !== undefined && (await this.#engine.countChildren(ingress.Id)) > 1;
  }

  /** Leaves the networks in which no instance has a route any more: a network with a member cannot be removed. */
  async #leaveNetworks(stack: StackRef): Promise<void> {
    const ingress = await this.#running(stack);
    if (!ingress) return;
    const config = (await this.#engine.readConfig(ingress.Id)) ?? '';
    const routed = (await this.#engine.containers(`${STACK}=${stack.id}`, INSTANCE)).filter(({ Id }) =>
      config.includes(serverId(Id)),
    );
    const needed = new Set([OWN_NETWORK, ...routed.flatMap(networksOf)]);
    for (const network of networksOf(ingress)) {
      if (!needed.has(network)) await this.#engine.disconnect(network, ingress.Id);
    }
  }

  async #running(stack: StackRef): Promise<Docker.ContainerInfo | undefined> {
    const ingresses = await this.#engine.containers(`${STACK}=${stack.id}`, `${INGRESS}=true`);
    return ingresses.find(({ State }) => State === 'running');
  }

  async #removeAll(ingresses: readonly Docker.ContainerInfo[]): Promise<void> {
    await this.#queues.run(OWN_NETWORK, async () => {
      for (const { Id } of ingresses) await this.#engine.remove(Id);
      // Those that rest count as well: they could not start without it.
      if ((await this.#engine.containers(`${INGRESS}=true`)).length === 0)
        await this.#engine.removeNetwork(OWN_NETWORK);
    });
  }
}

/** In a network that is joined anyway, if there is one. */
function targetOf(instanceId: string, container: Docker.ContainerInfo, joined: Set<string>): IngressServer {
  const names = networksOf(container).filter((name) => !NETWORKS_TO_JOIN_NOT.has(name));
  const network = names.find((name) => joined.has(name)) ?? names.find((name) => name !== DEFAULT_NETWORK) ?? names[0];
  if (network === undefined) {
    throw new RuntimeError(`instance ${instanceId} is in no network that its stack’s ingress could join`);
  }
  joined.add(network);
  const { IPAddress, GlobalIPv6Address } = container.NetworkSettings.Networks[network]!;
  return {
    id: serverId(container.Id),
    address: IPAddress || GlobalIPv6Address || null,
    named: network !== DEFAULT_NETWORK,
  };
}

function networksOf({ NetworkSettings }: Docker.ContainerInfo): string[] {
  return Object.keys(NetworkSettings.Networks).sort();
}

function serverId(containerId: string): string {
  return containerId.slice(0, 12);
}

function nameOf({ Names }: Docker.ContainerInfo): string {
  return Names[0]!.replace(/^\//, '');
}

/** Of one that another takes the place of. */
function retiredName({ Id }: Docker.ContainerInfo): string {
  return `windflow-ingress-${serverId(Id)}`;
}
