import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { checkStack } from './check.ts';
import { renderStack } from './render.ts';

const FILES = {
  Dockerfile: 'FROM $BASE\n',
  'app/Dockerfile': 'FROM a\n',
  'app/dev': 'FROM b$$\n',
  'conf/one': '$1',
  'conf/run.sh': '#!/bin/sh\necho "$$"',
  's.json': '{}',
  'one.env': 'A=1',
};
const labels = fc.constantFrom(['a=1', 'b'], { a: '$$x', b: null, c: 5 }, []);
const build = fc.constantFrom(
  '.',
  './app',
  'https://git.example/a/b.git#main:sub',
  {
    context: 'app',
    dockerfile: 'dev',
    args: ['REV', 'A=$$1'],
    labels: { a: 'b' },
    target: 't',
    platforms: ['linux/arm64'],
  },
  {
    dockerfile_inline: 'FROM x\nRUN echo $$A',
    args: { REV: null, B: true },
    extra_hosts: { h: '1.2.3.4' },
    shm_size: '1m',
  },
);
const volumes = fc.subarray([
  'v:/a',
  'v:/a2:ro,nocopy',
  '/anonymous',
  '/etc/x/:/b:ro,z',
  './conf:/c',
  './s.json:/d/s.json:ro',
  { type: 'volume', source: 'w', target: '/e', volume: { nocopy: true, subpath: 'sub' } },
  { type: 'volume', target: '/f' },
  {
    type: 'bind',
    source: '/etc/../srv',
    target: '/g',
    bind: { propagation: 'rslave', create_host_path: false, selinux: 'Z' },
  },
  { type: 'bind', source: 'app/dev', target: '/h' },
  { type: 'tmpfs', target: '/i', tmpfs: { size: '64m', mode: '01777' } },
  { type: 'tmpfs', target: '/j' },
]);
const networking = fc.constantFrom<object>(
  {},
  { networks: ['n', 'default'], links: ['last', 'last:z'] },
  {
    networks: {
      n: { aliases: ['x'], ipv4_address: '10.0.0.5', priority: 5 },
      m: { interface_name: 'eth5', mac_address: '02:00:00:00:00:01' },
    },
  },
  { network_mode: 'host' },
  { network_mode: 'service:last' },
);
const limits = fc.constantFrom<object>(
  {},
  { cpus: 0.5, mem_limit: '64m', memswap_limit: -1, pids_limit: 5, shm_size: '1m', oom_score_adj: -5 },
  {
    deploy: {
      replicas: 2,
      resources: { limits: { cpus: '1', memory: '64m', pids: 5 }, reservations: { memory: '32m' } },
    },
  },
  { ulimits: { nofile: { soft: 1, hard: 2 }, nproc: 5 }, cpu_shares: 5, cpuset: '0-1', mem_swappiness: 5 },
);
const others = fc.record(
  {
    labels,
    annotations: labels,
    user: fc.constant('1:1'),
    group_add: fc.constant(['a', 5]),
    hostname: fc.constant('h'),
    tty: fc.boolean(),
    stdin_open: fc.constantFrom('yes', 'no'),
    init: fc.boolean(),
    read_only: fc.boolean(),
    privileged: fc.boolean(),
    cap_add: fc.constant(['net_admin', 'CAP_KILL']),
    cap_drop: fc.constant(['ALL']),
    security_opt: fc.constantFrom(['no-new-privileges:true'], ['seccomp=s.json', 'label:disable']),
    devices: fc.constant(['/dev/a:/dev/b:r', { source: '/dev/c' }]),
    sysctls: fc.constantFrom(['net.core.somaxconn=5'], { 'net.core.somaxconn': 5 }),
    extra_hosts: fc.constantFrom(['a=1.2.3.4', 'b:::1'], { a: ['1.2.3.4', '::1'] }),
    dns: fc.constantFrom('1.1.1.1', ['1.1.1.1', '8.8.8.8']),
    expose: fc.constant([80, '5000-5002/udp']),
    tmpfs: fc.constantFrom('/run:size=5m,mode=755,ro', ['/run', '/var/tmp']),
    ipc: fc.constantFrom('shareable', 'service:last'),
    pid: fc.constant('host'),
    volumes_from: fc.constant(['last:ro']),
    logging: fc.constantFrom({ driver: 'local', options: { 'max-size': '1m' } }, { options: { a: 5 } }),
    platform: fc.constant('linux/arm64'),
    pull_policy: fc.constantFrom('always', 'if_not_present', 'daily'),
    stop_signal: fc.constantFrom('INT', 'SIGTERM'),
    healthcheck: fc.constantFrom({ disable: true }, { test: ['NONE'] }, { test: 'x $$1' }),
    env_file: fc.constant('one.env'),
  },
  { requiredKeys: [] },
);
const service = fc.tuple(others, volumes, fc.option(build, { nil: undefined }), networking, limits);
const stack = fc
  .tuple(fc.dictionary(fc.stringMatching(/^[a-k]{1,4}$/), service, { minKeys: 1, maxKeys: 3 }), fc.boolean())
  .map(([services, ingress]) => {
    const written = Object.entries(services).map(([name, [own, mounts, built, network, limited]]) => {
      const alone = 'network_mode' in network && network.network_mode !== 'host';
      const { dns, expose, extra_hosts, hostname, ...kept } = own;
      const free = alone ? {} : { dns, expose, extra_hosts, hostname };
      return [name, { image: 'x:1', build: built, volumes: mounts, ...network, ...limited, ...kept, ...free }];
    });
    return {
      services: { ...Object.fromEntries(written), last: { image: 'y:1' } },
      volumes: { v: null, w: { name: 'mine', driver_opts: { type: 'nfs' }, labels: ['a=1'] } },
      networks: {
        n: { driver: 'bridge', ipam: { config: [{ subnet: '10.0.0.0/8' }] } },
        m: { name: 'own', internal: true },
      },
      'x-windflow': { files: FILES, ingress },
    };
  });

describe('renderStack', () => {
  it('should keep all that a file says of its containers', () => {
    fc.assert(
      fc.property(stack, fc.constantFrom({ REV: '7' }, null), (file, variables) => {
        const { model, findings } = checkStack(stringify(file), { variables, runtime: 'DOCKER' });
        expect(findings.filter(({ severity }) => severity === 'ERROR')).toEqual([]);
        const rendered = renderStack(model!);
        const again = checkStack(JSON.stringify(rendered), { variables, runtime: 'DOCKER' });
        expect(again.model).toEqual(model);
        expect(JSON.stringify(renderStack(again.model!))).toBe(JSON.stringify(rendered));
      }),
      { numRuns: 40 },
    );
  });
});
