import { describe, expect, it } from 'vitest';
import type { ContainerModel } from './container-model.ts';
import { check, said, service } from './testing.ts';

const container = (lines: string): ContainerModel =>
  service(lines, { runtime: 'DOCKER', variables: { SIZE: '64m' } }).container;
const problems = (lines: string) =>
  said(lines, { runtime: 'DOCKER', variables: {} }).filter((line) => !line.endsWith(' image-tag'));

describe('what a service says of its container', () => {
  it('should be nothing but defaults where it says nothing', () => {
    const { resources, ...others } = container('x-note: 1');
    expect(Object.values(resources).filter((value) => value !== null && value !== false)).toEqual([]);
    expect(others).toEqual({
      entrypoint: null,
      command: null,
      user: null,
      groupAdd: [],
      hostname: null,
      domainname: null,
      containerName: null,
      labels: {},
      annotations: {},
      stopSignal: null,
      noHealthcheck: false,
      tty: false,
      stdinOpen: false,
      init: null,
      readOnly: false,
      privileged: false,
      capAdd: [],
      capDrop: [],
      securityOpt: [],
      devices: [],
      deviceCgroupRules: [],
      sysctls: {},
      ulimits: {},
      storageOpt: {},
      networkMode: null,
      networks: [
        { network: 'default', aliases: [], ipv4Address: null, ipv6Address: null, linkLocalIps: [], driverOpts: {} },
      ],
      dns: [],
      dnsOpt: [],
      dnsSearch: [],
      extraHosts: [],
      macAddress: null,
      expose: [],
      appProtocols: {},
      links: [],
      ipc: null,
      pid: null,
      uts: null,
      userns: null,
      cgroup: null,
      cgroupParent: null,
      runtime: null,
      mounts: [],
      files: [],
      volumesFrom: [],
      logging: null,
      platform: null,
      pullPolicy: 'missing',
      build: null,
    });
  });

  it.each<[string, Partial<ContainerModel>]>([
    ['command: []', { command: [] }],
    ['entrypoint: /run.sh -v\ncommand: ["a b", c]', { entrypoint: ['/run.sh', '-v'], command: ['a b', 'c'] }],
    ['user: "1000:1000"', { user: '1000:1000' }],
    ['group_add: [mail, 44]', { groupAdd: ['mail', '44'] }],
    ['hostname: a\ndomainname: b.example', { hostname: 'a', domainname: 'b.example' }],
    ['container_name: my-web', { containerName: 'my-web' }],
    ['labels: [a=1, "b=x=y", c]', { labels: { a: '1', b: 'x=y', c: '' } }],
    ['labels: { a: 1, b: true, c: , d.e: "$$x" }', { labels: { a: '1', b: 'true', c: '', 'd.e': '$x' } }],
    ['labels: { x-a: 1 }', { labels: { 'x-a': '1' } }],
    ['annotations: [a=1]', { annotations: { a: '1' } }],
    ['annotations: { a: b }', { annotations: { a: 'b' } }],
    ['tty: true\nstdin_open: "yes"\nread_only: on', { tty: true, stdinOpen: true, readOnly: true }],
    ['init: true', { init: true }],
    ['init: false', { init: false }],
    ['privileged: "true"', { privileged: true }],
    ['cap_add: [CAP_SYS_ADMIN, net_admin]\ncap_drop: [ALL]', { capAdd: ['SYS_ADMIN', 'NET_ADMIN'], capDrop: ['ALL'] }],
    [
      'security_opt: ["no-new-privileges:true", label=disable]',
      { securityOpt: ['no-new-privileges=true', 'label=disable'] },
    ],
    [
      'security_opt: [no-new-privileges, "seccomp:unconfined"]',
      { securityOpt: ['no-new-privileges', 'seccomp=unconfined'] },
    ],
    ['devices: [/dev/snd]', { devices: [{ source: '/dev/snd', target: '/dev/snd', permissions: 'rwm' }] }],
    ['devices: ["/dev/a:/dev/b"]', { devices: [{ source: '/dev/a', target: '/dev/b', permissions: 'rwm' }] }],
    ['devices: ["/dev/a:/dev/b:r"]', { devices: [{ source: '/dev/a', target: '/dev/b', permissions: 'r' }] }],
    ['devices: ["/dev/a:rw"]', { devices: [{ source: '/dev/a', target: '/dev/a', permissions: 'rw' }] }],
    [
      'devices: ["vendor.com/gpu=all", { source: /dev/a, permissions: r }]',
      {
        devices: [
          { source: 'vendor.com/gpu=all', target: 'vendor.com/gpu=all', permissions: 'rwm' },
          { source: '/dev/a', target: '/dev/a', permissions: 'r' },
        ],
      },
    ],
    ['device_cgroup_rules: ["c 1:3 mr"]', { deviceCgroupRules: ['c 1:3 mr'] }],
    ['sysctls: [net.core.somaxconn=1024]', { sysctls: { 'net.core.somaxconn': '1024' } }],
    ['sysctls: { net.core.somaxconn: 1024 }', { sysctls: { 'net.core.somaxconn': '1024' } }],
    ['storage_opt: { size: 1G }', { storageOpt: { size: '1G' } }],
    ['stop_signal: INT', { stopSignal: 'SIGINT' }],
    ['healthcheck: { disable: true }', { noHealthcheck: true }],
    ['healthcheck: { test: [NONE] }', { noHealthcheck: true }],
    ['healthcheck: { test: x }', { noHealthcheck: false }],
    ['ipc: shareable\npid: host\nuts: host', { ipc: 'shareable', pid: 'host', uts: 'host' }],
    ['userns_mode: host\ncgroup: private', { userns: 'host', cgroup: 'private' }],
    ['cgroup_parent: m\nruntime: runsc', { cgroupParent: 'm', runtime: 'runsc' }],
    ['volumes_from: ["container:x:ro"]', { volumesFrom: ['container:x:ro'] }],
    [
      'logging: { driver: local, options: { max-size: 10m, max-file: 3, tag: } }',
      { logging: { driver: 'local', options: { 'max-size': '10m', 'max-file': '3' } } },
    ],
    ['logging: { options: { max-size: 1m } }', { logging: { driver: 'json-file', options: { 'max-size': '1m' } } }],
    ['platform: linux/arm64', { platform: 'linux/arm64' }],
    ['pull_policy: always', { pullPolicy: 'always' }],
    ['pull_policy: if_not_present', { pullPolicy: 'missing' }],
    ['pull_policy: never', { pullPolicy: 'never' }],
    ['pull_policy: daily', { pullPolicy: 'always' }],
    ['pull_policy: every_12h', { pullPolicy: 'always' }],
  ])('should be read of %s', (lines, expected) => {
    expect(container(lines)).toMatchObject(expected);
  });

  it.each([
    ['pull_policy: weekly', '4:5 WARNING pull-policy'],
    ['pull_policy: never-ever', '4:5 ERROR pull-policy'],
    ['pull_policy: build', '4:5 ERROR pull-policy'],
    ['devices: ["/dev/a:/dev/b:x"]', '4:15 ERROR device-invalid'],
    ['devices: ["/a:/b:r:w"]', '4:15 ERROR device-invalid'],
    ['security_opt: ["seccomp:./own.json"]', '4:5 ERROR file-missing'],
  ])('should be told of %s: %s', (lines, expected) => {
    expect(problems(lines)).toContain(expected);
  });

  it('should have the profile of seccomp that the stack brings along', () => {
    const text =
      'x-windflow: { files: { s.json: "{}" } }\nservices: { a: { image: "x:1", security_opt: ["seccomp:./s.json"] } }';
    expect(check(text, { runtime: 'DOCKER' }).model?.services.a?.container.securityOpt).toEqual(['seccomp={}']);
  });

  it('should be of no concern to other runtimes', () => {
    const lines = 'command: x\npull_policy: never-ever\ndns: nowhere\nbuild: /x\ntmpfs: a';
    const others = (runtime: 'PROCESS' | null) => said(lines, { runtime }).filter((line) => line.includes('ERROR'));
    expect(others(null)).toEqual([]);
    expect(others('PROCESS')).toEqual([]);
  });
});
