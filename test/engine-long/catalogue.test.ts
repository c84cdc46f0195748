import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { retiredWith, SERVICE } from '../../src/runtimes/docker/labels.ts';
import { decodeIdOf } from '../../src/shared/global-id.ts';
import { startApp, type TestApp } from '../support/app.ts';
import { Deployer, type DeploymentView } from '../support/deployer.ts';
import { containersOf, onEngine } from '../support/docker/containers.ts';
import { OwnEngine } from '../support/docker/own-engine.ts';
import { addStandIns } from '../support/docker/stand-ins.ts';
import { eventually } from '../support/eventually.ts';
import { CASES, type Case } from './catalogue/cases.ts';
import { IMAGES } from './catalogue/images.ts';

/** They wait for containers more than they compute, and a machine of two processors starts a few at a time. */
const AT_ONCE = 3;
/** Of a deployment, and of all that comes of one file, where other work takes the processors. */
const DEADLINE_MS = 200_000;
const TEST_MS = 600_000;
/** The engine needs the processors more than who asks how far it is. */
const POLL_MS = 250;
vi.setConfig({ maxConcurrency: AT_ONCE, testTimeout: TEST_MS });

// The names of its images are those of real ones: an engine that is anybody's must not get them.
describe.skipIf(inject('dockerEngine') === null || process.geteuid?.() !== 0)('files as people have them', () => {
  let engine: OwnEngine;
  let app: TestApp;
  let owner: Deployer;
  beforeAll(async () => {
    engine = await OwnEngine.start('catalogue');
    await addStandIns(engine.docker, IMAGES);
    app = await startApp();
    owner = await Deployer.create(app, null, 'Acme');
  });
  afterAll(async () => {
    await app?.[Symbol.asyncDispose]();
    await engine?.[Symbol.asyncDispose]();
  });

  for (const each of CASES) {
    it.concurrent(`should deploy, change and roll back ${each.name}: ${each.exercises}`, () => comeAndGo(each));
  }

  async function comeAndGo(each: Case): Promise<void> {
    const stack = await Stack.create(owner, engine, each);
    const first = each.refused ? await stack.refusedThenDeployed(each.refused) : await stack.deploy();
    const one = await stack.seen(first);
    await stack.answers(0);
    if (each.broken) await stack.failsWith(each.broken, one);

    const second = await stack.deploy(each.next);
    const two = await stack.seen(second);
    expect(anewIn(two, one)).toEqual(each.touches);
    await stack.answers(1);
    if (each.keeps) await stack.write(each.keeps);

    const back = await stack.rollBack(second, first);
    const again = await stack.seen(back);
    expect(whatRuns(again)).toEqual(whatRuns(one));
    expect(anewIn(again, one)).toEqual(each.touches);
    await stack.answers(0);
    if (each.keeps) await stack.stillHas(each.keeps);
    await stack.remove(back);
  }
});

/** Of each service: its containers, and what they are made of. */
type Seen = Record<string, { ids: string[]; state: string; made: object[] }>;

const whatRuns = (seen: Seen, except: readonly string[] = []) =>
  Object.entries(seen)
    .filter(([service]) => !except.includes(service))
    .map(([service, { state, made }]) => [service, state, made]);

/** Services none of whose containers was there before, by name. */
const anewIn = (now: Seen, before: Seen) =>
  Object.keys(now).filter((service) => !now[service]!.ids.some((id) => before[service]?.ids.includes(id)));

/** One file of the catalogue in an environment of its own. */
class Stack {
  readonly #acme: Deployer;
  readonly #engine: OwnEngine;
  readonly #case: Case;
  readonly #stackId: string;
  readonly #environment: string;

  static async create(owner: Deployer, engine: OwnEngine, of: Case): Promise<Stack> {
    const acme = await onEngine(owner, engine.endpoint, of.name);
    await setAll(acme, of.variables ?? {});
    await setAll(acme, of.secrets ?? {}, true);
    return new Stack(acme, engine, of, await acme.newStack(fileOf(of), of.name));
  }

  private constructor(acme: Deployer, engine: OwnEngine, of: Case, stackId: string) {
    this.#acme = acme;
    this.#engine = engine;
    this.#case = of;
    this.#stackId = stackId;
    this.#environment = decodeIdOf('Environment', acme.environmentId)!;
  }

  async deploy(change?: Case['next']): Promise<DeploymentView> {
    if (Array.isArray(change)) await this.#acme.changeStack(this.#stackId, fileOf(this.#case, change as never));
    else await setAll(this.#acme, (change as Record<string, string>) ?? {});
    return this.#live((await this.#acme.begin(this.#stackId)).id);
  }

  async refusedThenDeployed({ says, allow, set }: NonNullable<Case['refused']>): Promise<DeploymentView> {
    expect(await this.#refusal()).toMatch(says);
    expect(await this.#containers()).toEqual([]);
    const { environmentId } = this.#acme;
    if (allow) await this.#acme.mutate('environmentUpdate', 'Environment { id }', { environmentId, privileges: allow });
    return this.deploy(set);
  }

  /** Of a version that is refused as it is read, or when it is prepared. */
  async #refusal(): Promise<string> {
    const answer = await this.#acme.tryDeploy(this.#stackId);
    if (answer.__typename !== 'Deployment') return JSON.stringify(answer);
    const { statusReason, steps } = await this.#acme.until(answer.id, ['FAILED'], DEADLINE_MS, POLL_MS);
    expect(steps.map(({ name, state }) => `${name} ${state}`)).toEqual(['prepare FAILED']);
    return statusReason ?? '';
  }

  async failsWith({ change, says, never = [] }: NonNullable<Case['broken']>, before: Seen): Promise<void> {
    await this.#acme.changeStack(this.#stackId, fileOf(this.#case, ...change));
    const { id } = await this.#acme.begin(this.#stackId);
    const { statusReason } = await this.#acme.until(id, ['FAILED'], DEADLINE_MS, POLL_MS);
    expect(statusReason).toMatch(says);
    const after = await this.seen();
    // What had ended well is not run a second time.
    expect(whatRuns(after, this.#case.once)).toEqual(whatRuns(before, this.#case.once));
    const lines = await this.#acme.output(id);
    for (const service of never) {
      expect(after[service]!.ids).toEqual(before[service]!.ids);
      expect(lines.filter((line) => line.startsWith(`${service}: `))).toEqual([]);
    }
    await this.answers(0);
  }

  async rollBack(
    { id: deploymentId }: DeploymentView,
    { id: toDeploymentId }: DeploymentView,
  ): Promise<DeploymentView> {
    const input = { deploymentId, toDeploymentId };
    return this.#live((await this.#acme.mutate('deploymentRollback', 'Deployment { id }', input)).id);
  }

  /** What is on the engine, which is what the deployment says. */
  async seen(deployment?: DeploymentView): Promise<Seen> {
    const seen: Seen = {};
    for (const { id, labels } of await this.#containers()) {
      const { Image, Config, HostConfig, Mounts, State } = await this.#engine.docker.getContainer(id).inspect();
      const state = State.Health?.Status ?? `${State.Status} ${State.ExitCode}`;
      seen[labels[SERVICE]!] ??= { ids: [], state, made: [] };
      const entry = seen[labels[SERVICE]!]!;
      entry.ids.push(id);
      const { Env, Cmd, Entrypoint, User } = Config;
      const mounts = Mounts.map(
        ({ Type, Name, Source, Destination, RW }) => `${Type} ${Name ?? Source} ${Destination} ${RW}`,
      ).sort();
      const { PortBindings, Sysctls, Ulimits, CapAdd, CapDrop, Memory } = HostConfig;
      entry.made.push({
        Image,
        Env,
        Cmd,
        Entrypoint,
        User,
        mounts,
        PortBindings,
        Sysctls,
        Ulimits,
        CapAdd,
        CapDrop,
        Memory,
      });
    }
    if (deployment) expect(statesOf(deployment)).toEqual(expectedStates(seen, this.#case));
    return seen;
  }

  async answers(version: 0 | 1): Promise<void> {
    const { port, path = '/', says } = this.#case.answers;
    const asked = () => this.#run('curl', '-s', '-m5', `http://127.0.0.1:${port}${path}`);
    await eventually(`"${says[version]}" at port ${port}`, async () => (await asked()).includes(says[version]), {
      pollMs: POLL_MS,
    });
  }

  async write([service, file]: NonNullable<Case['keeps']>): Promise<void> {
    const exec = await this.#engine.docker
      .getContainer((await this.seen())[service]!.ids[0]!)
      .exec({ Cmd: ['sh', '-c', `echo written >${file}`], AttachStdout: true });
    await text(await exec.start({}));
    await this.stillHas([service, file]);
  }

  async stillHas([, file]: NonNullable<Case['keeps']>): Promise<void> {
    const { port } = this.#case.answers;
    expect(await this.#run('curl', '-s', '-m5', `http://127.0.0.1:${port}${file}`)).toBe('written\n');
  }

  /** Nothing of it is left then. */
  async remove({ id }: DeploymentView): Promise<void> {
    await this.#acme.stop(id);
    await this.#acme.mutate('stackDelete', 'Deleted { id }', { stackId: this.#stackId });
    const filters = JSON.stringify({ label: [`io.windflow.environment=${this.#environment}`] });
    const { docker } = this.#engine;
    await eventually(
      'the end of all that it had on the engine',
      async () => {
        const { Volumes } = await docker.listVolumes({ filters });
        const left = [...(await containersOf(docker, this.#environment)), ...(await docker.listNetworks({ filters }))];
        return left.length === 0 && (Volumes ?? []).length === 0;
      },
      { pollMs: POLL_MS },
    );
  }

  async #live(id: string): Promise<DeploymentView> {
    const live = await this.#acme.until(id, ['RUNNING'], DEADLINE_MS, POLL_MS);
    expect(live.statusReason).toBeNull();
    return live;
  }

  /** By service and replica, without those that are only kept for their log. */
  async #containers() {
    const found = await containersOf(this.#engine.docker, this.#environment);
    const placeOf = ({ labels }: (typeof found)[number]) => `${labels[SERVICE]} ${labels['io.windflow.replica']}`;
    return found
      .filter(({ names }) => names.every((name) => retiredWith(name) === null))
      .sort((a, b) => placeOf(a).localeCompare(placeOf(b)));
  }

  async #run(...command: string[]): Promise<string> {
    return text(this.#engine.spawn(...command).stdout);
  }
}

const statesOf = ({ services }: DeploymentView) =>
  Object.fromEntries(services.map(({ name, replicas }) => [name, replicas.map(({ state }) => state)]));

function expectedStates(seen: Seen, { once = [] }: Case): Record<string, string[]> {
  const stateOf = (service: string, state: string) => {
    if (once.includes(service)) return state === 'exited 0' ? 'EXITED' : state;
    return { healthy: 'HEALTHY', 'running 0': 'RUNNING' }[state] ?? state;
  };
  return Object.fromEntries(
    Object.entries(seen).map(([service, { ids, state }]) => [service, ids.map(() => stateOf(service, state))]),
  );
}

function fileOf({ name }: Case, ...changes: (readonly [string, string])[]): string {
  const file = readFileSync(join(import.meta.dirname, 'catalogue', `${name}.yaml`), 'utf8');
  return changes.reduce((before, [from, to]) => {
    const after = before.replaceAll(from, to);
    expect(after).not.toBe(before);
    return after;
  }, file);
}

async function setAll(acme: Deployer, values: Readonly<Record<string, string>>, isSecret = false): Promise<void> {
  for (const [name, value] of Object.entries(values)) await acme.setVariable(name, value, isSecret);
}
