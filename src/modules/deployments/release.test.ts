import { describe, expect, it } from 'vitest';
import { checkStack } from '../../compose/index.ts';
import { type PortPlan, planPorts } from './ports.ts';
import { portPlanOf, type ReleaseSpecs, renderRelease } from './release.ts';

/** So that only what is kept is the same again. */
let rendered = 0;

/** A release of a compose file that follows another one, its ports kept as a deployment keeps them. */
async function release(compose: string, former: ReleaseSpecs | null = null, ports?: PortPlan): Promise<ReleaseSpecs> {
  const { model, findings } = checkStack(compose, { runtime: 'PROCESS', variables: {} });
  if (!model) throw new Error(JSON.stringify(findings));
  const { plan } = await planPorts({
    model,
    portForEach: true,
    former: former ? portPlanOf(former) : {},
    ownerOf: () => null,
    isOurs: () => false,
    isFree: async () => true,
    random: () => (rendered % 100) / 100,
  });
  rendered++;
  return renderRelease({ model, ports: ports ?? plan, former, containers: null, hash: (text) => text });
}
const hashes = ({ services }: ReleaseSpecs) =>
  Object.fromEntries(services.map(({ name, replicas }) => [name, replicas.map(({ configHash }) => configHash).join()]));
const serviceOf = ({ services }: ReleaseSpecs, name: string) => services.find((service) => service.name === name)!;

const stack = (...services: string[]) => `services:\n${services.map((service) => `  ${service}\n`).join('')}`;
const WEB = 'web: { command: [web], ports: ["3000:80"], environment: { MODE: fast } }';

describe('a release', () => {
  it('should give services their ports, their peers’ and what the compose file says, which wins', async () => {
    const specs = await release(
      stack(
        'web: { command: [web], ports: ["3000:80", "3001:81"], environment: { PORT: "1", DB_HOST: here } }',
        'my-db: { command: [db] }',
      ),
    );
    const [web] = serviceOf(specs, 'web').replicas;
    const port = serviceOf(specs, 'my-db').replicas[0]!.ports[0]!.published;
    expect(web!.environment).toEqual({
      WEB_HOST: '127.0.0.1',
      WEB_PORT: '3000',
      MY_DB_HOST: '127.0.0.1',
      MY_DB_PORT: String(port),
      PORT: '1',
      PORT_80: '3000',
      PORT_81: '3001',
      DB_HOST: 'here',
    });
    expect(web!.argv).toEqual(['web']);
  });

  it('should start services after those they depend on', async () => {
    const specs = await release(
      stack('a: { command: [a], depends_on: [b] }', 'b: { command: [b], depends_on: [c] }', 'c: { command: [c] }'),
    );
    expect(specs.services.map(({ name }) => name)).toEqual(['c', 'b', 'a']);
  });

  it('should be the same when nothing differs, also once it was stored', async () => {
    const first = await release(stack(WEB, 'db: { command: [db] }'));
    const stored = JSON.parse(JSON.stringify(first)) as ReleaseSpecs;
    expect(await release(stack(WEB, 'db: { command: [db] }'), stored)).toEqual(stored);
  });
});

describe('a release of containers', () => {
  const rendered = (image: string) => {
    const compose = stack(
      `vpn: { image: ${image} }`,
      'client: { image: client, network_mode: "service:vpn" }',
      'other: { image: other, volumes_from: [client] }',
      'alone: { image: alone }',
    );
    const { model, findings } = checkStack(compose, { runtime: 'DOCKER', variables: {} });
    if (!model) throw new Error(JSON.stringify(findings));
    const images = new Map(
      Object.values(model.services).map(({ name, image }) => [
        name,
        { name: image!, id: `sha256:${image}`, digest: null, platform: null, healthcheck: null },
      ]),
    );
    const ports = Object.fromEntries(Object.keys(model.services).map((name) => [name, [[]]]));
    const containers = { project: 'p', images };
    return renderRelease({ model, ports, former: null, containers, hash: (text) => text });
  };

  it('should have other containers in the container of another service when that is another one', () => {
    const [one, two] = [hashes(rendered('vpn:1')), hashes(rendered('vpn:2'))];
    expect(Object.keys(one).filter((name) => one[name] !== two[name])).toEqual(['vpn', 'client', 'other']);
    expect(hashes(rendered('vpn:1'))).toEqual(one);
  });
});

describe('what differs', () => {
  it('should be the service that was changed, in any way', async () => {
    const first = await release(stack(WEB, 'db: { command: [db] }'));
    for (const change of [WEB.replace('fast', 'slow'), WEB.replace('[web]', '[web, -v]'), WEB.replace(':80', ':81')]) {
      const second = await release(stack(change, 'db: { command: [db] }'), first);
      expect(hashes(second).web).not.toBe(hashes(first).web);
      expect(hashes(second).db).toBe(hashes(first).db);
    }
  });

  it('should be no replica that was there before when only their number changes', async () => {
    const web = (replicas: number) =>
      `web: { command: [web], ports: ["3000-3009:80"], deploy: { replicas: ${replicas} } }`;
    const db = 'db: { command: [db] }';
    const replicasOf = (specs: ReleaseSpecs) => serviceOf(specs, 'web').replicas;
    const two = await release(stack(web(2), db));
    const four = await release(stack(web(4), db), two);
    expect(replicasOf(four).slice(0, 2)).toEqual(replicasOf(two));
    expect(new Set(replicasOf(four).map(({ configHash }) => configHash)).size).toBe(4);
    const one = await release(stack(web(1), db), four);
    expect(replicasOf(one)).toEqual(replicasOf(two).slice(0, 1));
    expect([hashes(four).db, hashes(one).db]).toEqual([hashes(two).db, hashes(two).db]);
  });

  it('should be no replica that was there before when a peer comes while their number changes', async () => {
    const one = await release(stack(WEB.replace('"3000:80"', '"80"')));
    const two = await release(
      stack(WEB.replace('"3000:80"', '"80"').replace(' }', ' }, deploy: { replicas: 2 }'), 'db: { command: [db] }'),
      one,
    );
    expect(serviceOf(two, 'web').replicas).toHaveLength(2);
    expect(serviceOf(two, 'web').replicas[0]).toEqual(serviceOf(one, 'web').replicas[0]);
  });

  it('should not be those whose peers came or went', async () => {
    const one = await release(stack(WEB));
    const two = await release(stack(WEB, 'db: { command: [db] }'), one);
    expect(hashes(two).web).toBe(hashes(one).web);
    const three = await release(stack(WEB), two);
    const four = await release(stack(WEB), three);
    expect([hashes(three).web, hashes(four).web]).toEqual([hashes(one).web, hashes(one).web]);
  });

  it('should be those whose peers moved, and those that now depend on a new one', async () => {
    const one = await release(stack(WEB, 'db: { command: [db] }'));
    const moved = await release(stack(WEB, 'db: { command: [db], ports: ["4000"] }'), one, {
      ...portPlanOf(one),
      db: [[{ target: 4000, published: 4000, host: '0.0.0.0', protocol: 'tcp' }]],
    });
    expect(hashes(moved).web).not.toBe(hashes(one).web);
    expect(serviceOf(moved, 'web').replicas[0]!.environment.DB_PORT).toBe('4000');
    const alone = await release(stack(WEB));
    const needing = await release(
      stack(WEB.replace('{ command', '{ depends_on: [db], command'), 'db: { command: [db] }'),
      alone,
    );
    expect(serviceOf(needing, 'web').replicas[0]!.environment).toHaveProperty('DB_PORT');
  });
});
